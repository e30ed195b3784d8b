"""Everything outside that a host uses."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any

from actors.measuring import HostMetrics
from actors.sacrificing import Sacrifice
from payments.decided import Planner
from psp.port import Psp
from runtime.clock import Clock
from runtime.crash_points import CrashPoints
from storage.ports import OwnerLedger, Ownership
from storage.queue_ports import OwnerQueue
from storage.unparking import Unparking


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPorts:
    """Everything outside that a host uses."""

    ledger: OwnerLedger
    ownership: Ownership
    reading_queue: OwnerQueue
    reply_queue: OwnerQueue
    """A second connection: the first may be blocked in a read."""
    psps: Mapping[str, Psp]
    planner: Planner
    read_draining: Callable[[], Coroutine[Any, Any, frozenset[str]]]
    """Names of hosts that the operator wants to own nothing."""
    clock: Clock
    crash_points: CrashPoints
    metrics: HostMetrics = field(default_factory=HostMetrics)
    sacrifice: Sacrifice | None = None
    """Where what may end a process is tried; None where nothing is."""
    unparking: Unparking | None = None
    """Where operators say which parked orders shall go on; None where nobody does."""
