"""What the rules decide of one request. Pure."""

from __future__ import annotations

from enum import Enum, auto

import msgspec

from psp.simulator.records import Record
from psp.simulator.replies import Reply


class Delivery(Enum):
    """What becomes of a reply on its way back."""

    ANSWER = auto()
    DROP = auto()
    """The connection is closed without a byte."""
    HANG = auto()
    """The client waits until it gives up."""


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What to make durable first, then what to answer."""

    record: Record | None = None
    reply: Reply | None = None
    """None: the state of the key, read after ``record`` was applied."""
    delivery: Delivery = Delivery.ANSWER
    answer_delay_ms: int = 0
