"""The built wheel: complete, free of tests, and at work outside the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

_LOAD_ALL = """
import importlib, pkgutil, sys
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

from gateway.pages import page_of_package
from gateway.problem_page import problem_page
from storage.migrations import migrations_of_package
from storage.redis_script import RedisScript
from storage.sql_files import load_statements

here = Path(sys.prefix).resolve()
names = [entry.name for entry in files("storage").joinpath("sql").iterdir()]
for name in names:
    if name.endswith(".sql") and name != "schema.sql":
        assert load_statements(name), name
assert migrations_of_package()
assert b'id="declined"' in problem_page()
assert page_of_package("swagger-ui/swagger-ui-bundle.js.gz", "text/javascript").body
for script in ("append", "find"):
    assert RedisScript.from_package(script)
for package in {packages!r}:
    origin = Path(importlib.import_module(package).__file__).resolve()
    assert origin.is_relative_to(here), origin
print(version("tallystick-server"))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    directory = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(directory), cwd=ROOT)
    (built,) = directory.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh virtual environment that holds the wheel, and sees our dependencies but no checkout."""
    home = tmp_path_factory.mktemp("installed")
    environment = home / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", str(environment), cwd=home)
    python = environment / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check")
    run(*pip, "install", "--no-index", "--no-deps", "--no-compile", str(wheel), cwd=home)
    (site_packages,) = environment.glob("lib/python*/site-packages")
    # A plain path: the .pth files in that folder, which lead to the checkout, are not followed.
    dependencies = site_packages / "dependencies.pth"
    dependencies.write_text(sysconfig.get_paths()["purelib"] + "\n", encoding="utf-8")
    return home


def test_the_wheel_carries_what_the_processes_read(wheel: Path) -> None:
    """Every file of every package is in the wheel: modules, SQL, Lua and templates."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    needed = {
        path.relative_to(ROOT).as_posix()
        for package in packages()
        for path in (ROOT / package).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert {Path(name).suffix for name in needed} >= {".py", ".sql", ".lua", ".html"}
    assert needed <= names


def test_the_wheel_carries_every_package_and_nothing_else(wheel: Path) -> None:
    """Packages, their metadata and licences are all there is: no tests, no data of a local stack."""
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.partition("/")[0] for name in archive.namelist()}
        licences = {name for name in archive.namelist() if "/licenses/" in name}
    (metadata,) = (top for top in tops if top.endswith(".dist-info"))
    assert tops - {metadata} == set(packages())
    assert {Path(name).name for name in licences} == {"LICENSE", "NOTICE"}


def test_the_command_works_outside_the_checkout(installed: Path) -> None:
    """An installed `tally` starts and tells its version."""
    answer = run(str(installed / "venv" / "bin" / "tally"), "--version", cwd=installed)
    assert project()["version"] in answer


def test_the_installed_packages_find_their_files(installed: Path) -> None:
    """SQL, migrations and scripts are loaded from the installation, not from the checkout."""
    program = _LOAD_ALL.replace("{packages!r}", repr(packages()))
    python = str(installed / "venv" / "bin" / "python")
    assert run(python, "-c", program, cwd=installed).strip() == project()["version"]


def run(*argv: str, cwd: Path) -> str:
    """Run a program without our Python settings, and return what it printed."""
    hidden = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    done = subprocess.run(
        argv, cwd=cwd, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, f"{' '.join(argv)}\n{done.stdout}{done.stderr}"
    return done.stdout


def project() -> dict[str, str]:
    """The project's own table of pyproject.toml."""
    document = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    table: dict[str, str] = document["project"]
    return table


def packages() -> list[str]:
    """The import names that the wheel promises."""
    document = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    names: list[str] = document["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    return names
