"""How far a verification is: a bar on a terminal, else a plain line now and then."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

# What ends sooner needs no bar; one that only flashes up disturbs.
QUIET_S = 2.0

# Often enough to show that something happens, seldom enough for a log.
LINE_EVERY_S = 5.0


class VerifyProgress:
    """Counts steps, several of which may be made at once; knows how many there will be. Use as a context manager."""

    def __init__(self, console: Console, *, step_count: int) -> None:
        self._console = console
        self._step_count = step_count
        self._done_count = 0
        self._running: dict[str, str] = {}
        """The present steps, and how far each of them has come."""
        self._started_s = self._told_s = time.monotonic()
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> VerifyProgress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Count what is done within as a step."""
        self.tell(name)
        try:
            yield
        finally:
            del self._running[name]
            self._done_count += 1
            if self._bar is not None:
                self._draw()

    def tell(self, name: str, how_far: str = "") -> None:
        """A present step has come so far."""
        self._running[name] = f"{name} ({how_far})" if how_far else name
        now_s = time.monotonic()
        if now_s - self._started_s < QUIET_S:
            return
        if self._console.is_terminal:
            self._draw()
        elif now_s - self._told_s >= LINE_EVERY_S:
            self._told_s = now_s
            self._console.print(
                f"  {now_s - self._started_s:.0f} s: {self._done_count} of {self._step_count} done, {self._shown()}"
            )

    def _shown(self) -> str:
        return ", ".join(self._running.values())

    def _draw(self) -> None:
        if self._bar is None or self._task is None:
            self._bar = Progress(
                TextColumn("  {task.description}"),
                BarColumn(),
                TextColumn("{task.completed}/{task.total}"),
                TimeElapsedColumn(),
                console=self._console,
                transient=True,
            )
            self._task = self._bar.add_task(self._shown(), total=self._step_count)
            self._bar.start()
        self._bar.update(self._task, description=self._shown(), completed=self._done_count)
