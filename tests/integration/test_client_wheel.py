"""The client's wheel: whole, typed, and at work where nothing else is installed."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tallystick import __version__
from tests.source_tree import ROOT

CLIENT = ROOT / "clients" / "python"

_USE = """
import sys
sys.path.insert(0, sys.argv[1])
import tallystick
client = tallystick.Tallystick("http://127.0.0.1:9", "sk_test_a")
client.payments.iterate()
client.close()
try:
    tallystick.AsyncTallystick
except ModuleNotFoundError as missing:
    print(tallystick.__version__, missing.name)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout's client."""
    directory = tmp_path_factory.mktemp("client-wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(directory)],
        cwd=CLIENT,
        check=True,
        capture_output=True,
        timeout=60,
    )
    (built,) = directory.glob("*.whl")
    return built


def test_the_wheel_is_whole_and_typed(wheel: Path) -> None:
    """Every module is in it, the marker of its types and its licence too, and nothing else."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    needed = {
        path.relative_to(CLIENT).as_posix()
        for path in (CLIENT / "tallystick").iterdir()
        if path.suffix in (".py", ".typed")
    }
    assert "tallystick/py.typed" in needed
    others = names - needed
    assert needed <= names
    assert all(name.startswith(f"tallystick-{__version__}.dist-info/") for name in others)
    assert any(name.endswith("/licenses/LICENSE") for name in others)


def test_the_blocking_client_needs_nothing_else(wheel: Path, tmp_path: Path) -> None:
    """Without any other package it imports and works; only the async client asks for aiohttp."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    # -I and -S: neither this checkout nor what is installed can be found.
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-W", "error", "-c", _USE, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.stdout.split() == [__version__, "aiohttp"], done.stderr
