"""The load's history as the figures want it: each POST with its sending, its end, and how it ended."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from loadtest.chaos.figures import Request
from loadtest.chaos.steady import HISTORY_FILE

_POST = "post"
_INVOKE = "invoke"
# Too many requests, and everything that is the server's own fault.
_TOO_MANY = 429
_SERVER = 500
# The request itself was wrong; but a decline is what became of a payment.
_REFUSED = 400
_DECLINED = 402


class _Event(msgspec.Struct, frozen=True):
    """What is needed of a line, whoever wrote it. What a line leaves out has its default."""

    op: int = 0
    type: str = _INVOKE
    at_ns: int = 0
    kind: str | None = None
    """Ends need not repeat it."""
    status: int = 0
    wait_s: int = 0


def requests_of(directory: Path) -> list[Request]:
    """Read a run's history. Requests without an end, which an interrupted run leaves, are left out."""
    decoder = msgspec.json.Decoder(_Event)
    with (directory / HISTORY_FILE).open("rb") as file:
        return requests_from(decoder.decode(line) for line in file)


def requests_from(events: Iterable[_Event]) -> list[Request]:
    """Pair invocations with their ends, in the order of the sending."""
    sent: dict[int, tuple[int, bool]] = {}
    found: list[Request] = []
    for event in events:
        if event.kind not in (_POST, None):
            continue
        if event.type == _INVOKE:
            sent[event.op] = event.at_ns, event.wait_s > 0
        elif (begun := sent.pop(event.op, None)) is not None:
            is_served = 0 < event.status < _SERVER and event.status != _TOO_MANY
            is_refused = is_served and event.status >= _REFUSED and event.status != _DECLINED
            found.append(Request(begun[0], event.at_ns, is_served, begun[1], is_refused))
    return sorted(found)
