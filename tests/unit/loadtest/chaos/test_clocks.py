"""Clocks of single processes shifted: the wall clock alone, of that process alone, and right again."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from loadtest.chaos.clocks import COMPILERS, ENTRIES_MAX, ShiftedClocks
from loadtest.chaos.failures import NotPossible

HOUR_NS = 3_600 * 1_000_000_000
PROGRAM = """
import sys, time
from datetime import datetime, UTC
for line in sys.stdin:
    print(time.time(), datetime.now(UTC).timestamp(), time.monotonic(), flush=True)
"""

needs_compiler = pytest.mark.skipif(
    not any(map(shutil.which, COMPILERS)), reason="there is no C compiler"
)


def started(clocks: ShiftedClocks) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, **clocks.environment()},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def asked(process: subprocess.Popen[str]) -> list[float]:
    """The clocks of a process, by itself: wall clock twice, monotonic."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("?\n")
    process.stdin.flush()
    return [float(word) for word in process.stdout.readline().split()]


@needs_compiler
async def test_a_clock_jumps_and_comes_back(tmp_path: Path) -> None:
    """An hour ahead, an hour back, right again: at once, and never for the neighbour or monotonic time."""
    clocks = await ShiftedClocks.prepare(tmp_path)
    with started(clocks) as shifted, started(clocks) as neighbour:
        for offset_ns in (0, HOUR_NS, -HOUR_NS):
            clocks.shift(shifted.pid, offset_ns)
            wall_s, datetime_s, monotonic_s = asked(shifted)
            assert wall_s == pytest.approx(time.time() + offset_ns / 1e9, abs=5)
            assert datetime_s == pytest.approx(wall_s, abs=5)
            assert monotonic_s == pytest.approx(time.monotonic(), abs=5)
            assert asked(neighbour)[0] == pytest.approx(time.time(), abs=5)
        clocks.right(shifted.pid)
        assert asked(shifted)[0] == pytest.approx(time.time(), abs=5)
        shifted.kill()
        neighbour.kill()
    clocks.close()


@needs_compiler
async def test_only_so_many_clocks_are_off(tmp_path: Path) -> None:
    """A full table is said, and has room again when one is put right."""
    clocks = await ShiftedClocks.prepare(tmp_path)
    for pid in range(1, ENTRIES_MAX + 1):
        clocks.shift(pid, HOUR_NS)
    with pytest.raises(NotPossible, match="already"):
        clocks.shift(ENTRIES_MAX + 1, HOUR_NS)
    clocks.right(5)
    clocks.shift(ENTRIES_MAX + 1, HOUR_NS)
    clocks.close()


async def test_without_a_compiler_it_is_not_possible(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cells are skipped with the reason, and the run goes on."""
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    with pytest.raises(NotPossible, match="no C compiler"):
        await ShiftedClocks.prepare(tmp_path)
