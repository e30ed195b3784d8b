"""The script that makes .venv: what it refuses, and that it does its work once."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The files that the script reads, and nothing else."""
    (tmp_path / "clients" / "python").mkdir(parents=True)
    for name in (
        "bootstrap.sh",
        "requirements.lock",
        "pyproject.toml",
        "clients/python/pyproject.toml",
    ):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def bootstrap(checkout: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", str(checkout / "bootstrap.sh")],
        env={"PATH": "/usr/bin:/bin", **environment},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_a_python_that_does_not_fit_is_refused(checkout: Path) -> None:
    """A named program that is no fitting Python is refused by name, before anything is made."""
    done = bootstrap(checkout, PYTHON="/bin/false")
    assert done.returncode == 1
    assert "/bin/false is no Python 3.11, 3.12 or 3.13" in done.stderr
    assert not (checkout / ".venv").exists()


def test_a_machine_without_python_is_told_what_to_do(checkout: Path) -> None:
    """Where no Python fits, the message says which are wanted and how to name one."""
    tools = checkout / "tools"
    tools.mkdir()
    for name in ("sh", "cat", "cksum", "dirname", "uname", "getconf"):
        found = shutil.which(name, path="/usr/bin:/bin")
        assert found is not None
        (tools / name).symlink_to(found)
    done = bootstrap(checkout, PATH=str(tools))
    assert done.returncode == 1
    assert "make PYTHON=" in done.stderr


def test_what_is_installed_is_left_alone(checkout: Path) -> None:
    """With the stamp of this very lock nothing is done, and another lock's stamp is not believed."""
    python = checkout / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    wanted = subprocess.run(
        "cat requirements.lock pyproject.toml clients/python/pyproject.toml | cksum; pwd -P",
        shell=True,
        cwd=checkout,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    stamp = checkout / ".venv" / ".tallystick-installed"
    stamp.write_text(wanted)
    assert bootstrap(checkout, PYTHON="/bin/false").returncode == 0
    stamp.write_text("0 0\n")
    assert bootstrap(checkout, PYTHON="/bin/false").returncode == 1
