"""The cells: every fault at every step at which it is made. Pure data; the plan puts them in order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from loadtest.chaos.proxy.modes import ModeName


class FaultKind(StrEnum):
    """What is done."""

    KILL = "kill"
    FREEZE = "freeze"
    NETWORK = "network"
    DISK = "disk_full"
    PSP = "psp"
    POISON = "poison"
    DOUBLE_START = "double_start"
    CLOCK = "clock"


REDIS = "redis"
POSTGRES = "postgres"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One fault, at one target, at one step."""

    fault: FaultKind
    target: str
    step: str
    hold_s: float
    """How long it lasts; of a kill, about how long it takes until the process is back."""
    touches: frozenset[str] = frozenset()
    """The stores of which it takes away a copy, or the way to one: no two such at one time."""

    @property
    def name(self) -> str:
        """``<fault>/<target>/<step>``."""
        return f"{self.fault}/{self.target}/{self.step}"


UNDER_LOAD = "under_load"
"""The step of a fault that comes at any moment."""

# Longer than a lease (1.5 s), than call_timeout_ms, and than the servers' own timeouts of 10 s.
PAST_LEASE_S = 20.0
# Longer than the 5 s after which a request, a commit or a call counts as unanswered.
PAST_TIMEOUTS_S = 7.0

_BACK_S = 5.0

STORE_ROLES: Mapping[str, str] = {
    "redis_primary": REDIS,
    "redis_replica": REDIS,
    "postgres_primary": POSTGRES,
    "postgres_standby": POSTGRES,
}
PSPS = ("psp_a", "psp_b")

HOST_POINTS = (
    "before_intake_commit",
    "after_intake_commit",
    "before_psp_call",
    "after_psp_call",
    "flush_begun",
    "flush_before_commit",
    "flush_committed",
    "before_settle_commit",
    "after_settle_commit",
    "before_removal",
    "after_removal",
)
GATEWAY_POINTS = ("before_append", "after_append")
# Where a frozen owner holds something: locks, an answer, a request that was never sent.
FREEZE_POINTS = ("flush_before_commit", "before_psp_call", "after_psp_call")

EDGES: Mapping[str, frozenset[str]] = {
    "client->gateway": frozenset(),
    "gateway->redis": frozenset({REDIS}),
    "host->redis": frozenset({REDIS}),
    "gateway->postgres": frozenset({POSTGRES}),
    "host->postgres": frozenset({POSTGRES}),
    "host->psp_a": frozenset(),
    "host->psp_b": frozenset(),
}
"""What is made to fail by the proxy, and which store it is a way to."""

MODE_HOLDS_S: Mapping[ModeName, float] = {
    ModeName.DELAY: 2.0,
    ModeName.STALL: 5.5,
    ModeName.RESET: 2.0,
    ModeName.CUT: 2.0,
    ModeName.HALF_OPEN: 5.5,
    ModeName.BANDWIDTH: 2.0,
}
"""Past the timeouts, too, but short: with so many ways and modes, each comes within three minutes."""

PSP_STEPS = (
    "slow",
    "down",
    "refused",
    "charge_then_timeout",
    "charge_then_refuse",
    "stored_500",
    "concurrent_409",
    "lies",
    "webhook_duplicate",
    "webhook_reorder",
    "webhook_delay",
    "webhook_forge",
    "webhook_replay",
)

KILLS_HOST = "kills_host"
POISON_CLASSES = (
    "command_unknown",
    "version_unknown",
    "encryption_unknown",
    "field_twice",
    "merchant_unreadable",
    "order_unreadable",
    "fingerprint_short",
    "time_unreadable",
    "reply_unreadable",
    "payload_missing",
    "payload_too_large",
    "payload_garbage",
    "payload_nested",
    "amount_negative",
    KILLS_HOST,
)

HOST_KILLING_TEXT = "this-message-kills-hosts"
"""What the hosts of a stack under test die of when they decode it (``TALLY_CRASH_ON``)."""


def _kill() -> Iterator[Cell]:
    for target in ("gateway", "host", "dispatcher", "psp_a", "psp_b"):
        yield Cell(fault=FaultKind.KILL, target=target, step=UNDER_LOAD, hold_s=_BACK_S)
    yield from _stores(FaultKind.KILL, _BACK_S)
    for target, points in (("host", HOST_POINTS), ("gateway", GATEWAY_POINTS)):
        for point in points:
            yield Cell(fault=FaultKind.KILL, target=target, step=point, hold_s=_BACK_S)


def _freeze() -> Iterator[Cell]:
    yield Cell(fault=FaultKind.FREEZE, target="host", step="past_lease", hold_s=PAST_LEASE_S)
    for point in FREEZE_POINTS:
        yield Cell(fault=FaultKind.FREEZE, target="host", step=point, hold_s=PAST_LEASE_S)
    yield Cell(fault=FaultKind.FREEZE, target="gateway", step=UNDER_LOAD, hold_s=10.0)
    for target in PSPS:
        yield Cell(fault=FaultKind.FREEZE, target=target, step=UNDER_LOAD, hold_s=PAST_TIMEOUTS_S)
    yield from _stores(FaultKind.FREEZE, PAST_TIMEOUTS_S)


def _stores(fault: FaultKind, hold_s: float) -> Iterator[Cell]:
    for role, store in STORE_ROLES.items():
        yield Cell(
            fault=fault, target=role, step=UNDER_LOAD, hold_s=hold_s, touches=frozenset({store})
        )


def _network() -> Iterator[Cell]:
    for edge, touches in EDGES.items():
        for mode, hold_s in MODE_HOLDS_S.items():
            yield Cell(
                fault=FaultKind.NETWORK,
                target=edge,
                step=mode.value,
                hold_s=hold_s,
                touches=touches,
            )
    for target, store, steps in (
        ("postgres_standby->primary", POSTGRES, ("reset", "stall")),
        ("redis_replica->primary", REDIS, ("reset",)),
    ):
        for step in steps:
            hold_s = PAST_TIMEOUTS_S if step == "stall" else 2.0
            yield Cell(
                fault=FaultKind.NETWORK,
                target=target,
                step=step,
                hold_s=hold_s,
                touches=frozenset({store}),
            )
    yield Cell(
        fault=FaultKind.NETWORK, target="node", step="namespace_down", hold_s=PAST_TIMEOUTS_S
    )


def _disk() -> Iterator[Cell]:
    for role, store in STORE_ROLES.items():
        yield Cell(
            fault=FaultKind.DISK,
            target=role,
            step=UNDER_LOAD,
            hold_s=PAST_TIMEOUTS_S,
            touches=frozenset({store}),
        )


def _psp() -> Iterator[Cell]:
    for target in PSPS:
        for step in PSP_STEPS:
            # Webhooks of a second are dozens already, and no call waits for one.
            hold_s = 1.5 if step.startswith("webhook_") else PAST_TIMEOUTS_S
            yield Cell(fault=FaultKind.PSP, target=target, step=step, hold_s=hold_s)


def _poison() -> Iterator[Cell]:
    for name in POISON_CLASSES:
        # Hosts die of it one after the other until it is set aside: none of that is the next one's doing.
        hold_s = 12.0 if name == KILLS_HOST else 1.0
        yield Cell(fault=FaultKind.POISON, target="stream", step=name, hold_s=hold_s)


def _double_start() -> Iterator[Cell]:
    for target, hold_s in (("stack", 3.0), ("host", 8.0), ("gateway", 6.0)):
        yield Cell(fault=FaultKind.DOUBLE_START, target=target, step="same_name", hold_s=hold_s)


def _clock() -> Iterator[Cell]:
    for target in ("host", "gateway"):
        for step in ("hour_forward", "hour_back"):
            yield Cell(fault=FaultKind.CLOCK, target=target, step=step, hold_s=8.0)


def _ray() -> Iterator[Cell]:
    for target in ("gcs", "raylet"):
        yield Cell(fault=FaultKind.KILL, target=target, step=UNDER_LOAD, hold_s=30.0)
    yield Cell(fault=FaultKind.FREEZE, target="gcs", step=UNDER_LOAD, hold_s=10.0)
    yield Cell(fault=FaultKind.KILL, target="host", step=UNDER_LOAD, hold_s=_BACK_S)


_KINDS = {
    "kill": _kill,
    "freeze": _freeze,
    "network": _network,
    "disk": _disk,
    "psp": _psp,
    "poison": _poison,
    "double_start": _double_start,
    "clock": _clock,
}

NONE = "none"
ALL = "all"
RAY = "ray"
STORES = "stores"
MIXES = (NONE, *_KINDS, STORES, RAY, ALL)


def cells_of(mix: str) -> list[Cell]:
    """The cells of a mix, in a fixed order. Raises KeyError for an unknown mix."""
    if mix == NONE:
        return []
    if mix == RAY:
        return list(_ray())
    if mix == ALL:
        return [cell for make in _KINDS.values() for cell in make()]
    if mix == STORES:
        return [
            *_stores(FaultKind.KILL, _BACK_S),
            *_stores(FaultKind.FREEZE, PAST_TIMEOUTS_S),
            *_disk(),
        ]
    return list(_KINDS[mix]())
