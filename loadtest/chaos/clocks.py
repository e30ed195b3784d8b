"""Wall clocks of single processes that can be shifted: by a small library, preloaded into them."""

from __future__ import annotations

import mmap
import shutil
import struct
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from loadtest.chaos.failures import NotPossible
from ops.local.faults import ToolFailed
from ops.local.process import run_tool

# As the library has it: pid and nanoseconds, so many times.
_ENTRY = struct.Struct("=qq")
ENTRIES_MAX = 16

COMPILERS = ("cc", "gcc", "clang")


class ShiftedClocks:
    """The table that the library looks into at every call, and the library."""

    def __init__(self, library: Path, table: Path) -> None:
        self._library = library
        self._path = table
        with table.open("r+b") as file:
            self._table = mmap.mmap(file.fileno(), ENTRIES_MAX * _ENTRY.size)

    @classmethod
    async def prepare(cls, directory: Path) -> ShiftedClocks:
        """Build the library. Raises NotPossible without a C compiler."""
        compiler = next((found for name in COMPILERS if (found := shutil.which(name))), None)
        if compiler is None:
            raise NotPossible(
                "the wall clock of one process can only be shifted by a library that is compiled"
                " here, and there is no C compiler"
            )
        source, library = directory / "clock_shim.c", directory / "clock_shim.so"
        own = resources.files("loadtest.chaos").joinpath("assets", source.name)
        source.write_bytes(own.read_bytes())
        try:
            await run_tool(
                [compiler, "-O2", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"]
            )
        except ToolFailed as failed:
            raise NotPossible(
                f"the library that shifts clocks can't be built: {failed}"
            ) from failed
        table = directory / "clock_table"
        table.write_bytes(bytes(ENTRIES_MAX * _ENTRY.size))
        return cls(library, table)

    def environment(self) -> Mapping[str, str]:
        """What a process needs to have its clock shifted later."""
        return {"LD_PRELOAD": str(self._library), "TALLY_CLOCK_TABLE": str(self._path)}

    def shift(self, pid: int, offset_ns: int) -> None:
        """Put a process' clock so far off, at once. Raises NotPossible when too many are off."""
        for index in range(ENTRIES_MAX):
            if self._read(index)[0] in (0, pid):
                self._write(index, pid, offset_ns)
                return
        raise NotPossible(f"{ENTRIES_MAX} clocks are off already")

    def right(self, pid: int) -> None:
        """Put a process' clock right again."""
        for index in range(ENTRIES_MAX):
            if self._read(index)[0] == pid:
                self._write(index, 0, 0)

    def close(self) -> None:
        """Let go of the table; the processes keep theirs."""
        self._table.close()

    def _read(self, index: int) -> tuple[int, int]:
        pid, offset_ns = _ENTRY.unpack_from(self._table, index * _ENTRY.size)
        return pid, offset_ns

    def _write(self, index: int, pid: int, offset_ns: int) -> None:
        # The offset first: a pid is never seen with another's.
        struct.pack_into("=q", self._table, index * _ENTRY.size + 8, offset_ns)
        struct.pack_into("=q", self._table, index * _ENTRY.size, pid)
