"""An event loop without clock, threads or sockets: time is virtual, and one seed decides every choice.

Each simulated process is a ``Cell``. Within a cell callbacks run in their order, as asyncio promises;
which cell goes next is drawn. A cell can be killed (nothing of it runs any more, no ``finally`` either,
as after SIGKILL) and frozen (nothing runs until the thaw, while time goes on, as after SIGSTOP).
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
import heapq
import random
from array import array
from asyncio.futures import _set_result_unless_cancelled as _end_sleep  # type: ignore[attr-defined]
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from tests.simulation.ports import Time

CELL: contextvars.ContextVar[Cell] = contextvars.ContextVar("CELL")

# A run has some ten thousand steps a simulated minute; beyond this something turns in a circle.
STEPS_MAX = 3_000_000
# After a run: enough for every task to notice its cancellation, of virtual time.
CLEANING_S = 60.0
# Lines of the trace that a failure shows.
TRACE_TAIL_LINES = 400
# Lines of the trace that are hashed at a time.
TRACE_LINES_MAX = 4_000


class SimulationStuck(AssertionError):
    """The loop can't come to rest: a defect in what it runs, or in the simulation."""


class Step(asyncio.TimerHandle):
    """A callback of a cell. Made some ten thousand times a run, so it does without what a real loop's need."""

    __slots__ = ("cell",)

    def __init__(
        self,
        cell: Cell,
        when: float,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        context: contextvars.Context,
    ) -> None:
        self.cell = cell
        self._when = when
        self._callback: Callable[..., object] | None = callback
        self._args = args
        self._context = context
        self._cancelled = False

    def cancel(self) -> None:
        self._cancelled = True
        self._callback, self._args = None, ()

    def __repr__(self) -> str:
        return f"<Step of {self.cell.name} at {self._when}: {self._callback}>"


class Cell:
    """One process, or one server. ``context`` makes callbacks its own."""

    def __init__(self, loop: Time, name: str) -> None:
        self.loop = loop
        self.name = name
        self.is_dead = False
        self.is_frozen = False
        self.ready: deque[Step] = deque()
        """What it would do next. A dead process does nothing of it before the run is disposed of."""
        self.tasks: list[asyncio.Task[Any]] = []
        self.on_death: list[Callable[[], None]] = []
        """Called by whoever kills it: what the kernel does for a dead process, such as closing sockets."""
        self.context = contextvars.copy_context()
        self.context.run(CELL.set, self)

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Start a task in this process."""
        return self.loop.create_task(work, context=self.context.copy())

    def call_at(self, when: float, callback: Callable[..., object], *args: Any) -> None:
        """Have this process run a callback then, if it still lives."""
        self.loop.call_at(when, callback, *args, context=self.context)

    def kill(self) -> None:
        """End the process here and now."""
        if self.is_dead:
            return
        self.is_dead = True
        self.loop.effect(f"kill {self.name}")
        for hook in self.on_death:
            hook()

    def freeze(self) -> None:
        """Stop the process where it stands."""
        self.is_frozen = True
        self.loop.effect(f"freeze {self.name}")

    def thaw(self) -> None:
        """Let it go on."""
        if self.is_frozen:
            self.is_frozen = False
            self.loop.effect(f"thaw {self.name}")
            if self.ready:
                self.loop.activate(self)


class SimLoop(asyncio.BaseEventLoop):
    """Runs one cell's callback after the other; time jumps to the next timer when nobody has any."""

    def __init__(self, seed: object) -> None:
        super().__init__()
        self._now_s = 0.0
        self._draw = random.Random(f"{seed}:schedule").random
        self._timers: list[tuple[float, int, Step]] = []
        self._timer_count = 0
        self._active: list[Cell] = []
        self._is_tracing = True
        self._digest = blake2b(digest_size=16)
        self._times = array("d")
        self._lines: list[str] = []
        self.tail: deque[str] = deque(maxlen=TRACE_TAIL_LINES)
        """The last effects, for a failure's report."""
        self.step_count = 0
        self.is_over = False
        """The verdict is out: nobody's effects count any more."""
        self.watchers: list[tuple[str, Callable[[], None]]] = []
        """Called for every effect that begins so: a fault can wait for its moment."""
        self.cells: list[Cell] = []
        self.world = self.cell("world")

    def cell(self, name: str) -> Cell:
        """Return a new process."""
        cell = Cell(self, name)
        self.cells.append(cell)
        return cell

    # --- the trace ------------------------------------------------------------------------------------

    def effect(self, line: str) -> None:
        """Note what happened to the outside: part of the trace, and of a failure's report."""
        if self._is_tracing:
            for prefix, on_effect in self.watchers:
                if line.startswith(prefix):
                    on_effect()
            line = f"{self._now_s:.6f} {line}"
            self.tail.append(line)
            self._lines.append(line)

    def trace_hash(self) -> str:
        """Return what two runs of one seed must have in common: every step and every effect."""
        self._digest.update(self._times.tobytes())
        self._digest.update("\n".join(self._lines).encode())
        self._times = array("d")
        self._lines.clear()
        return self._digest.hexdigest()

    def _note_step(self, step: Step) -> None:
        self.step_count += 1
        self._times.append(self._now_s)
        lines = self._lines
        lines.append(step.cell.name)
        lines.append(_label(step))
        if len(lines) > TRACE_LINES_MAX:
            self.trace_hash()
        if self.step_count > STEPS_MAX:
            raise SimulationStuck(f"{STEPS_MAX} steps, at {_label(step)}")

    # --- what asyncio asks of a loop ------------------------------------------------------------------

    def time(self) -> float:
        return self._now_s

    def call_soon(  # type: ignore[override]  # of any callback
        self,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.Handle:
        if context is None:
            context = contextvars.copy_context()
        cell = context.get(CELL, self.world)
        step = Step(cell, self._now_s, callback, args, context)
        self._make_ready(cell, step)
        return step

    def call_at(  # type: ignore[override]  # of any callback
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        if context is None:
            context = contextvars.copy_context()
        step = Step(context.get(CELL, self.world), when, callback, args, context)
        self._timer_count += 1
        heapq.heappush(self._timers, (when, self._timer_count, step))
        return step

    def call_later(  # type: ignore[override]  # of any callback
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now_s + delay, callback, *args, context=context)

    def create_task(self, coro: Any, **options: Any) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = super().create_task(coro, **options)
        context = options.get("context")
        cell = (contextvars.copy_context() if context is None else context).get(CELL, self.world)
        cell.tasks.append(task)
        if len(cell.tasks) > 256:
            cell.tasks = [kept for kept in cell.tasks if not kept.done()]
        return task

    def call_soon_threadsafe(self, *_args: Any, **_options: Any) -> NoReturn:  # type: ignore[override]
        raise SimulationStuck("a thread was asked for")

    def run_in_executor(self, *_args: Any) -> NoReturn:  # type: ignore[override]
        raise SimulationStuck("a thread was asked for")

    def _run_once(self) -> None:
        while not self._stopping:  # type: ignore[attr-defined]
            if self._timers and self._timers[0][0] <= self._now_s:
                self._release_due()
            cell = self._choose()
            if cell is None:
                self._pass_time()
                continue
            step = self._next_step(cell)
            if not cell.ready:
                self._active.remove(cell)
            if step is not None:
                if self._is_tracing:
                    self._note_step(step)
                self._take(step)

    def _next_step(self, cell: Cell) -> Step | None:
        """Return what the cell does next. The ends of sleeps before it only make a task ready: no steps to draw."""
        ready = cell.ready
        while ready:
            step = ready.popleft()
            if step._cancelled:
                continue
            if step._callback is not _end_sleep:
                return step
            self._take(step)
        return None

    def _take(self, step: Step) -> None:
        callback = step._callback
        try:
            step._context.run(callback, *step._args)  # type: ignore[arg-type]
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            # As a real loop does: whoever called it is long gone.
            message = f"Exception in callback {callback!r}"
            self.call_exception_handler({"message": message, "exception": error, "handle": step})

    # --- how ------------------------------------------------------------------------------------------

    def activate(self, cell: Cell) -> None:
        """Let a cell with callbacks take part in the draw."""
        if cell not in self._active:
            self._active.append(cell)

    def _make_ready(self, cell: Cell, step: Step) -> None:
        cell.ready.append(step)
        if len(cell.ready) == 1 and not cell.is_frozen and not cell.is_dead:
            self.activate(cell)

    def _choose(self) -> Cell | None:
        """Draw among the cells that can run; None when there are none."""
        active = self._active
        while active:
            index = int(self._draw() * len(active)) if len(active) > 1 else 0
            cell = active[index]
            if not cell.is_frozen and not cell.is_dead and cell.ready:
                return cell
            active.remove(cell)
        return None

    def _release_due(self) -> None:
        timers = self._timers
        while timers and timers[0][0] <= self._now_s:
            step = heapq.heappop(timers)[2]
            if not step._cancelled and not step.cell.is_dead:
                self._make_ready(step.cell, step)

    def _pass_time(self) -> None:
        timers = self._timers
        while timers and timers[0][2]._cancelled:
            heapq.heappop(timers)
        if not timers:
            raise SimulationStuck("everybody waits for somebody, and no timer is set")
        self._now_s = max(self._now_s, timers[0][0])

    # --- the end --------------------------------------------------------------------------------------

    def dispose(self) -> None:
        """After the verdict: let every coroutine end, so that none ends later, in another run."""
        self.is_over, self._is_tracing = True, False
        for cell in self.cells:
            cell.is_dead = cell.is_frozen = False
            if cell.ready:
                self.activate(cell)
        pending = [task for cell in self.cells for task in cell.tasks if not task.done()]
        for task in pending:
            task.cancel()
        if pending:
            self.set_exception_handler(lambda _loop, _context: None)
            self.run_until_complete(asyncio.wait(pending, timeout=CLEANING_S))
        for task in pending:
            task._log_destroy_pending = False  # type: ignore[attr-defined]
        self.close()


@contextmanager
def running_loop(seed: object) -> Iterator[SimLoop]:
    """A loop for one run. Cyclic garbage is collected afterwards: a finalizer's moment is nobody's choice."""
    was_enabled = gc.isenabled()
    gc.disable()
    loop = SimLoop(seed)
    try:
        yield loop
    finally:
        loop.dispose()
        if was_enabled:
            gc.enable()


def _label(step: Step) -> str:
    callback: Any = step._callback
    owner = getattr(callback, "__self__", None)
    if type(owner) is asyncio.Task:
        coroutine = owner.get_coro()
        # One of the compiled form is an object of a class of its own.
        return getattr(coroutine, "__qualname__", type(coroutine).__name__)
    callback = getattr(callback, "func", callback)
    return getattr(callback, "__qualname__", type(callback).__name__)
