"""Named places where a test may have this process killed or frozen, as a power cut or a stall would.

``TALLY_CRASH_AT=<point>[:n]`` kills the process (SIGKILL) when it reaches the point for the n-th time;
``TALLY_FREEZE_AT=<point>[:n]`` stops it (SIGSTOP). With ``TALLY_CRASH_FILE=<path>`` points count only while
that file exists, and whoever fires removes it first: so a test chooses the moment, and one process dies
once, however many have the variables and are started again. ``TALLY_CRASH_ORDER=<path>`` leaves the point
open, too: once the file is there it says ``kill <point>`` or ``freeze <point>``, and the first process that
gets there removes it and obeys. ``TALLY_CRASH_ON=<text>`` kills every process that is about to decode an
entry holding that text, as a defect of a parser would; ``TALLY_RAISE_ON=<text>`` makes whoever decides an
order with that text raise, as a defect of a handler would. Only in sandbox deployments; elsewhere all of
them are refused.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterable, Mapping
from pathlib import Path

POINTS = frozenset(
    {
        "before_append",
        "after_append",
        "before_intake_commit",
        "after_intake_commit",
        "before_psp_call",
        "after_psp_call",
        "before_settle_commit",
        "after_settle_commit",
        "before_removal",
        "after_removal",
        # Inside the transaction of a flush:
        "flush_begun",
        "flush_before_commit",
        "flush_committed",
    }
)


_SIGNALS = {"kill": signal.SIGKILL, "freeze": signal.SIGSTOP}

# More digits than any test counts to; Python refuses to read numbers of thousands of them.
_COUNT = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)


class CrashPointError(ValueError):
    """The variable names no known point, or this is no sandbox."""


class CrashPoints:
    """Counts how often each armed point is reached. With nothing armed, ``reach`` is one dict look-up."""

    def __init__(
        self,
        armed: Mapping[str, tuple[int, signal.Signals]],
        *,
        file: Path | None = None,
        order: Path | None = None,
        mark: bytes = b"",
        stumbling_text: str = "",
    ) -> None:
        self._file = file
        self._order = order
        self._left = {point: count for point, (count, _) in armed.items()}
        self._signals = {point: signum for point, (_, signum) in armed.items()}
        self._mark = mark
        self.stumbling_text = stumbling_text
        """Whoever decides an order with this text raises; empty for nobody."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], *, is_sandbox: bool) -> CrashPoints:
        """Arm what the environment names. Raises CrashPointError for what can't be armed."""
        armed: dict[str, tuple[int, signal.Signals]] = {}
        for variable, signum in (
            ("TALLY_CRASH_AT", signal.SIGKILL),
            ("TALLY_FREEZE_AT", signal.SIGSTOP),
        ):
            spec = environment.get(variable, "")
            if not spec:
                continue
            if not is_sandbox:
                raise CrashPointError(f"{variable} is refused outside sandbox deployments")
            point, _, count = spec.partition(":")
            if point not in POINTS:
                raise CrashPointError(f"{variable}={spec}: known points are {sorted(POINTS)}")
            if count and _COUNT.fullmatch(count) is None:
                raise CrashPointError(f"{variable}={spec}: the count must be a whole number from 1")
            armed[point] = (int(count or "1"), signum)
        mark, text = (environment.get(name, "") for name in ("TALLY_CRASH_ON", "TALLY_RAISE_ON"))
        if (mark or text) and not is_sandbox:
            raise CrashPointError("TALLY_CRASH_ON and TALLY_RAISE_ON are for sandbox deployments")
        file = environment.get("TALLY_CRASH_FILE", "")
        path = Path(file) if file else None
        order = environment.get("TALLY_CRASH_ORDER", "")
        if order and not is_sandbox:
            raise CrashPointError("TALLY_CRASH_ORDER is refused outside sandbox deployments")
        return cls(
            armed,
            file=path,
            order=Path(order) if order else None,
            mark=mark.encode(),
            stumbling_text=text,
        )

    @property
    def has_mark(self) -> bool:
        """Whether some content ends this process."""
        return bool(self._mark)

    def meet(self, parts: Iterable[bytes]) -> None:
        """Look at what is about to be decoded; the process ends here when it holds the mark."""
        if self._mark and any(self._mark in part for part in parts):
            os.kill(os.getpid(), signal.SIGKILL)

    def reach(self, point: str) -> None:
        """Note that the point was reached; the process ends or stops here when its count is up."""
        left = self._left.get(point)
        if left is None:
            if self._order is not None:
                self._obey(self._order, point)
            return
        if self._file is not None and not self._file.exists():
            return
        self._left[point] = left - 1
        if left == 1 and (self._file is None or _is_taken(self._file)):
            os.kill(os.getpid(), self._signals[point])

    def _obey(self, order: Path, point: str) -> None:
        """Die or stop here if the order, should there be one, says so."""
        try:
            word, _, named = order.read_text(encoding="ascii").strip().partition(" ")
        except FileNotFoundError:
            return
        if named == point and word in _SIGNALS and _is_taken(order):
            os.kill(os.getpid(), _SIGNALS[word])


def _is_taken(file: Path) -> bool:
    """Whether this process is the one: a file can be removed once."""
    try:
        file.unlink()
    except FileNotFoundError:
        return False
    return True
