"""A real PSP simulator in a process of its own, for tests that need one."""

from __future__ import annotations

import select
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

START_S_MAX = 20.0
"""Imports take about a second on an idle machine; tests share theirs with others."""

STOP_S_MAX = 10.0


class SimulatorProcess:
    """Starts on entry, on a free port unless one is given; killed on exit if it still runs."""

    def __init__(self, data: Path, *, port: int = 0, options: tuple[str, ...] = ()) -> None:
        self._start("psp.simulator", "--port", str(port), "--data", str(data), *options)

    def _start(self, module: str, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        if self._process.stdout is None:
            raise RuntimeError("no pipe")
        readable, _, _ = select.select([self._process.stdout], [], [], START_S_MAX)
        line = self._process.stdout.readline() if readable else b""
        if not line:
            self.kill()
            errors = self.errors()
            self.__exit__(None, None, None)
            raise RuntimeError(f"it did not start: {errors}")
        self.port = msgspec.json.decode(line)["port"]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kill()
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()

    def kill(self) -> None:
        """End it without a chance to tidy up."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(STOP_S_MAX)

    def stop(self) -> int:
        """Ask it to end, and return its exit code."""
        self._process.terminate()
        return self._process.wait(STOP_S_MAX)

    def wait(self) -> int:
        """Return the exit code of one that ends by itself."""
        return self._process.wait(STOP_S_MAX)

    def errors(self) -> str:
        """What it wrote to its error stream; only once it has ended."""
        return "" if self._process.stderr is None else self._process.stderr.read().decode()


class LocalstripeProcess(SimulatorProcess):
    """localstripe, which is somebody else's imitation of Stripe (``tests/localstripe_server.py``)."""

    def __init__(self) -> None:
        self._start("tests.localstripe_server", "0")
