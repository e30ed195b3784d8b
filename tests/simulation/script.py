"""What a run consists of: topology, weather, load and faults.

A script is complete: replayed, it gives the same run, step by step. It can be kept as JSON, and made
shorter by leaving operations and faults out.
"""

from __future__ import annotations

from typing import Literal

import msgspec

FaultKind = Literal[
    "host_kill",
    "host_freeze",
    "host_drain",
    "gateway_kill",
    "gateway_freeze",
    "clock_step",
    "redis_kill",
    "redis_promote",
    "redis_freeze",
    "redis_replica_freeze",
    "redis_stall",
    "postgres_kill",
    "postgres_promote",
    "postgres_freeze",
    "postgres_standby_freeze",
    "postgres_stall",
    "psp_down",
    "psp_stall",
]

ALL = -1

FAULT_KINDS: tuple[FaultKind, ...] = FaultKind.__args__  # type: ignore[attr-defined]


class Knobs(msgspec.Struct, frozen=True, kw_only=True):
    """Everything of a run that is neither an operation nor a fault. Times in seconds unless named otherwise."""

    host_count: int = 2
    gateway_count: int = 1
    partition_count: int = 4
    lane_count: int = 2
    open_orders_max: int = 50_000
    commands_per_flush_max: int = 1_024
    partitions_per_flush_max: int = 8
    calls_in_flight_max: int = 64
    unreported_orders_max: int = 50_000
    retry_ms_max: int = 2_000
    action_lifetime_s: int = 5
    record_ttl_s: float = 900.0
    stream_length_max: int = 10_000
    do_ids_stand_still: bool = False
    do_gateways_resend: bool = True
    """False: gateways forget what they acknowledged, so that the proven copies stand alone."""
    do_takeovers_terminate: bool = True
    """False: a takeover ends no connection of the former owner, so that the fence stands alone."""
    latency_s: float = 0.0004
    replica_lag_s: float = 0.0
    standby_lag_s: float = 0.0
    slow_share: float = 0.0
    slow_s: float = 0.1
    reset_before: float = 0.0
    reset_after: float = 0.0
    psp_slow_share: float = 0.0
    psp_reset_before: float = 0.0
    psp_reset_after: float = 0.0
    psp_stored_500: float = 0.0
    psp_query_lag_s: float = 0.0
    psp_count: int = 1
    breaker_calls_min: int = 20
    breaker_streak_s: float = 10.0
    breaker_open_ms: int = 1_000
    resume_per_s: int = 100
    fallback_tries: int = 2
    attempts_max: int = 6
    not_sent_age_s: int = 86_400
    authorization_s: int = 6 * 86_400
    safety_s: float = 8.0
    webhook_share: float = 0.0
    """Of what PSPs could tell of charges: 0, none; of disputes they tell in any case."""
    webhook_twice: float = 0.0
    webhook_forged: float = 0.0
    webhook_delay_s: float = 0.0


class Dispute(msgspec.Struct, frozen=True, kw_only=True):
    """What a buyer's bank does to a payment that was captured: ``part`` 2 disputes half of what is left."""

    after_s: float
    part: int
    ends: Literal["", "won", "lost"]
    ends_after_s: float


DeedKind = Literal["capture", "void", "refund"]


class LifeDeed(msgspec.Struct, frozen=True, kw_only=True):
    """What a storefront asks for once its payment's answer is frozen, and how long after that."""

    after_s: float
    kind: DeedKind
    key_no: int
    """Two of one kind and number are one operation, asked for twice; perhaps with another body."""
    amount_minor: int | None = None
    gateway_no: int = 0


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One request of a storefront, tried again until it has an answer."""

    at_s: float
    key_no: int
    gateway_no: int
    amount_minor: int
    token: str
    buyer: Literal["approves", "refuses", "leaves"] = "approves"
    tries_max: int = 6
    """A storefront that gives up at once leaves the order to its fate."""
    is_poison: bool = False
    """Instead of a request: a message in the stream that nobody can decode."""
    captures_manually: bool = False
    seller_count: int = 1
    """Several: one charge that is shared among them."""
    deeds: tuple[LifeDeed, ...] = ()
    """Only of the first request under its key."""
    dispute: Dispute | None = None
    """The same."""


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One fault; ``target_no`` counts hosts or gateways (ALL: every one), ``for_s`` is how long it lasts."""

    at_s: float
    kind: FaultKind
    target_no: int = 0
    for_s: float = 1.0
    after: str = ""
    """Not at once at ``at_s``, but ``lag_s`` after the next effect that begins so."""
    lag_s: float = 0.0


class Script(msgspec.Struct, frozen=True, kw_only=True):
    """One run."""

    seed: int
    knobs: Knobs
    operations: tuple[Operation, ...]
    faults: tuple[Fault, ...]

    def to_json(self) -> bytes:
        """Return the script as it is kept."""
        return msgspec.json.format(msgspec.json.encode(self), indent=1) + b"\n"

    @classmethod
    def from_json(cls, text: bytes) -> Script:
        """Read what ``to_json`` wrote."""
        return msgspec.json.decode(text, type=cls)
