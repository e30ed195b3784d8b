"""What a seed means: its script, drawn once from parts that are drawn apart."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

import msgspec

from tests.simulation.script import (
    ALL,
    FAULT_KINDS,
    DeedKind,
    Dispute,
    Fault,
    FaultKind,
    Knobs,
    LifeDeed,
    Operation,
    Script,
)

# What each fault lasts at most, in seconds: a freeze outlasts the lease, an outage the gateways' patience.
FOR_S_MAX: dict[FaultKind, float] = {
    "host_kill": 2.0,
    "host_freeze": 4.0,
    "host_drain": 3.0,
    "gateway_kill": 2.0,
    "gateway_freeze": 4.0,
    "clock_step": 0.0,
    "redis_kill": 2.0,
    "redis_promote": 0.5,
    "redis_freeze": 4.0,
    "redis_replica_freeze": 4.0,
    "redis_stall": 3.0,
    "postgres_kill": 4.0,
    "postgres_promote": 0.5,
    "postgres_freeze": 6.0,
    "postgres_standby_freeze": 6.0,
    "postgres_stall": 4.0,
    "psp_down": 5.0,
    "psp_stall": 5.0,
}

# Effects that faults wait for: between them and what follows lies what can go wrong.
MOMENTS = (
    "redis append",
    "redis remove",
    "postgres commits",
    "postgres claims",
    "psp charge",
    "client hears",
)

# Not a mix but a plan: no owner lives, orders come, and the primary goes before the replica has them.
LOST_TAIL: tuple[FaultKind, ...] = ("redis_promote", "host_kill", "gateway_freeze")

# How many runs have a commit that a start in place shows and a promotion undoes, besides their other faults.
# Faults drawn one by one hardly ever meet in this order, and with somebody who asks in between.
UNDONE_SHARE = 0.25
# How long that commit can be seen, and around it, whose orders are asked for meanwhile.
SHOWN_S = (0.5, 2.0)
ASKED_BEFORE_S, ASKED_AFTER_S = 0.3, 0.5

# Faults that are worst together. Half of the seeds stay within one of these.
FOCI: tuple[tuple[FaultKind, ...], ...] = (
    # What was accepted, and nobody has taken in yet, is on the queue's copies alone.
    ("host_kill", "redis_promote", "redis_kill", "redis_replica_freeze", "gateway_kill"),
    # Two owners, both of them sure.
    ("host_freeze", "host_kill", "postgres_stall", "postgres_standby_freeze"),
    # Commits without an answer.
    ("postgres_kill", "postgres_promote", "postgres_standby_freeze", "host_kill"),
    # Charges without an answer.
    ("psp_down", "psp_stall", "host_kill", "host_freeze", "postgres_kill"),
    # Ids that come up twice, and removals that are late.
    ("redis_promote", "redis_stall", "host_freeze", "redis_freeze"),
    LOST_TAIL,
)

TOKENS = (
    *("tok_approve",) * 10,
    "tok_decline_insufficient_funds",
    "tok_charge_then_timeout",
    "tok_charge_then_timeout",
    "tok_charge_then_refuse",
    "tok_charge_then_refuse",
    "tok_decline_issuer_unavailable",
    "tok_lie_not_found",
    "tok_conflict_409",
    "tok_timeout_before",
    "tok_error_500",
    "tok_rate_limited",
    "tok_3ds",
    "tok_slow_300",
    "tok_slow_3000",
)


def draw(seed: int) -> Script:
    """Return the script of a seed: a swarm, in which each run has other faults switched on."""
    draws = random.Random(f"{seed}:script")
    focus = draws.choice(FOCI) if draws.random() < 0.5 else None
    knobs = _draw_knobs(draws, focus)
    operations = _draw_operations(draws, knobs, focus)
    faults = _draw_faults(draws, knobs, focus)
    # Draws of their own, so that what was drawn before them stays what it is.
    lives = random.Random(f"{seed}:lives")
    knobs = msgspec.structs.replace(knobs, authorization_s=lives.choice((6 * 86_400, 3, 8)))
    operations = list(_draw_lives(lives, operations))
    operations = list(_draw_sellers(random.Random(f"{seed}:sellers"), operations))
    telling = random.Random(f"{seed}:webhooks")
    script = Script(
        seed=seed,
        knobs=_draw_telling(telling, knobs),
        operations=tuple(_draw_disputes(telling, operations)),
        faults=tuple(faults),
    )
    undone = random.Random(f"{seed}:undone")
    return _with_undone_commit(undone, script) if undone.random() < UNDONE_SHARE else script


def _sometimes(draws: random.Random, value: float, share: float = 0.4) -> float:
    return draws.uniform(0, value) if draws.random() < share else 0.0


def _draw_knobs(draws: random.Random, focus: Sequence[FaultKind] | None) -> Knobs:
    is_about_copies = focus is not None and "redis_promote" in focus
    return Knobs(
        host_count=draws.randint(1, 3),
        gateway_count=draws.randint(1, 2),
        partition_count=draws.randint(2, 6),
        lane_count=draws.randint(1, 2),
        open_orders_max=draws.choice((50_000, 50_000, 8)),
        commands_per_flush_max=draws.choice((1_024, 4)),
        partitions_per_flush_max=draws.choice((8, 1)),
        calls_in_flight_max=draws.choice((64, 2)),
        unreported_orders_max=draws.choice((50_000, 50_000, 20)),
        retry_ms_max=draws.choice((500, 2_000, 4_000)),
        action_lifetime_s=draws.randint(2, 8),
        record_ttl_s=draws.choice((900.0, 8.0)),
        stream_length_max=draws.choice((10_000, 10_000, 6)),
        do_ids_stand_still=draws.random() < 0.5,
        do_gateways_resend=draws.random() < 0.5,
        do_takeovers_terminate=draws.random() < 0.7,
        latency_s=draws.choice((0.0002, 0.001, 0.005)),
        replica_lag_s=draws.choice((0.02, 0.3, 0.8) if is_about_copies else (0.0, 0.0, 0.01)),
        standby_lag_s=draws.choice((0.0, 0.0, 0.01, 0.1)),
        slow_share=_sometimes(draws, 0.1),
        slow_s=draws.choice((0.05, 0.3, 1.5)),
        reset_before=_sometimes(draws, 0.02),
        reset_after=_sometimes(draws, 0.1 if is_about_copies else 0.02),
        psp_slow_share=_sometimes(draws, 0.1),
        psp_reset_before=_sometimes(draws, 0.1),
        psp_reset_after=_sometimes(draws, 0.2),
        psp_stored_500=_sometimes(draws, 0.2),
        psp_query_lag_s=_sometimes(draws, 3.0),
        psp_count=draws.choice((1, 2, 2)),
        breaker_calls_min=draws.choice((3, 6, 20)),
        breaker_streak_s=draws.choice((0.5, 2.0, 10.0)),
        breaker_open_ms=draws.choice((300, 1_000, 3_000)),
        resume_per_s=draws.choice((100, 2)),
        fallback_tries=draws.choice((1, 2)),
        attempts_max=draws.choice((6, 2)),
        not_sent_age_s=draws.choice((86_400, 86_400, 4)),
        safety_s=draws.uniform(5.0, 11.0),
    )


def _draw_operations(
    draws: random.Random, knobs: Knobs, focus: Sequence[FaultKind] | None
) -> list[Operation]:
    key_count = draws.randint(8, 60)
    # Storefronts come in crowds as well as one by one.
    crowds_s = [draws.uniform(0.3, knobs.safety_s - 1.0) for _ in range(draws.randint(1, 3))]
    crowd_share = _sometimes(draws, 1.0, share=0.6)
    # Two bodies under one key are worst while the queue's copies differ.
    is_about_copies = focus is not None and "redis_promote" in focus
    twin_share = _sometimes(draws, 0.5)
    conflict_share = _sometimes(draws, 0.45, share=0.8 if is_about_copies else 0.3)
    operations: list[Operation] = []
    if _is_lost_tail(focus):
        # They come while the tail is being lost.
        crowds_s, crowd_share = list(_tails_s(knobs)), 0.9
    for key_no in range(key_count):
        first = Operation(
            at_s=draws.choice(crowds_s) + draws.uniform(0, 0.6)
            if draws.random() < crowd_share
            else draws.uniform(0.2, knobs.safety_s),
            key_no=key_no,
            gateway_no=draws.randrange(knobs.gateway_count),
            amount_minor=1_000 + 7 * key_no,
            token=draws.choice(TOKENS),
            buyer=draws.choice(("approves", "approves", "refuses", "leaves")),
            tries_max=draws.choice((1, 6, 6)),
        )
        operations.append(first)
        while draws.random() < twin_share + conflict_share:
            is_conflict = draws.random() * (twin_share + conflict_share) < conflict_share
            operations.append(
                msgspec.structs.replace(
                    first,
                    at_s=first.at_s + draws.choice((0.0, 0.0005, 0.05, draws.uniform(0, 3))),
                    gateway_no=draws.randrange(knobs.gateway_count),
                    amount_minor=first.amount_minor + (1 if is_conflict else 0),
                    tries_max=draws.choice((1, 6)),
                )
            )
    if draws.random() < 0.2:
        poison = Operation(
            at_s=draws.uniform(0.2, knobs.safety_s),
            key_no=key_count,
            gateway_no=0,
            amount_minor=1,
            token="tok_approve",
            is_poison=True,
        )
        operations.append(poison)
    return sorted(operations, key=lambda operation: operation.at_s)


def _draw_lives(draws: random.Random, operations: Sequence[Operation]) -> Iterator[Operation]:
    """Give some payments a life after their answer: captures, voids and refunds, also too many of them."""
    share = draws.choice((0.0, 0.3, 0.8))
    manual: dict[int, bool] = {}
    for operation in operations:
        is_first = operation.key_no not in manual
        is_manual = manual.setdefault(operation.key_no, draws.random() < share / 2)
        deeds: tuple[LifeDeed, ...] = ()
        if is_first and not operation.is_poison and draws.random() < share:
            kinds = _OF_HELD if is_manual else _OF_CAPTURED
            deeds = tuple(_draw_deeds(draws, kinds, operation.amount_minor))
        yield msgspec.structs.replace(
            operation, captures_manually=is_manual and not operation.is_poison, deeds=deeds
        )


# What storefronts mostly ask for, and sometimes what can't be.
_OF_HELD: tuple[DeedKind, ...] = ("capture", "capture", "capture", "void", "refund")
_OF_CAPTURED: tuple[DeedKind, ...] = ("refund", "refund", "refund", "refund", "capture")


def _draw_deeds(
    draws: random.Random, kinds: Sequence[DeedKind], amount_minor: int
) -> Iterator[LifeDeed]:
    for _ in range(draws.randint(1, 4)):
        deed = LifeDeed(
            after_s=draws.choice((0.0, 0.01, draws.uniform(0, 2))),
            kind=draws.choice(kinds),
            key_no=draws.randint(0, 3),
            amount_minor=draws.choice(
                (None, draws.randint(1, amount_minor), amount_minor, amount_minor // 2 + 1)
            ),
            gateway_no=draws.randint(0, 1),
        )
        yield deed
        if draws.random() < 0.3:
            yield msgspec.structs.replace(
                deed,
                after_s=deed.after_s + draws.choice((0.0, 0.05)),
                gateway_no=draws.randint(0, 1),
            )


def _draw_sellers(draws: random.Random, operations: Sequence[Operation]) -> Iterator[Operation]:
    """Have some charges be several sellers'; now and then a request under the same key shares otherwise."""
    share = draws.choice((0.0, 0.1, 0.4))
    counts: dict[int, int] = {}
    for operation in operations:
        is_drawn = operation.key_no not in counts or draws.random() < share / 4
        if is_drawn and not operation.is_poison:
            counts[operation.key_no] = draws.randint(2, 4) if draws.random() < share else 1
        yield msgspec.structs.replace(operation, seller_count=counts.get(operation.key_no, 1))


def _draw_telling(draws: random.Random, knobs: Knobs) -> Knobs:
    """Have PSPs send webhooks in some runs: late, twice, out of order, and forged ones among them."""
    share = draws.choice((0.0, 0.5, 1.0, 1.0))
    twice, forged = _sometimes(draws, 0.6), _sometimes(draws, 0.4)
    return msgspec.structs.replace(
        knobs,
        webhook_share=share,
        webhook_twice=twice,
        webhook_forged=forged,
        webhook_delay_s=draws.choice((0.0, 0.3, 3.0)),
    )


def _draw_disputes(draws: random.Random, operations: Sequence[Operation]) -> Iterator[Operation]:
    """Have some buyers dispute what they paid."""
    share = draws.choice((0.0, 0.0, 0.2, 0.5))
    seen: set[int] = set()
    for operation in operations:
        is_first = operation.key_no not in seen and not operation.is_poison
        seen.add(operation.key_no)
        if not is_first or draws.random() >= share:
            yield operation
            continue
        dispute = Dispute(
            after_s=draws.choice((0.0, 0.05, draws.uniform(0, 3))),
            part=draws.choice((1, 1, 2, 3)),
            ends=draws.choice(("", "won", "lost")),
            ends_after_s=draws.choice((0.0, draws.uniform(0, 2))),
        )
        yield msgspec.structs.replace(operation, dispute=dispute)


def _draw_faults(
    draws: random.Random, knobs: Knobs, focus: Sequence[FaultKind] | None
) -> list[Fault]:
    share = draws.choice((0.1, 0.3, 0.6))
    if _is_lost_tail(focus):
        return _draw_lost_tails(draws, knobs)
    kinds = focus or [kind for kind in FAULT_KINDS if draws.random() < share]
    if not kinds:
        return []
    count = draws.randint(1, 20)
    moment_share = draws.random()
    faults = [
        Fault(
            at_s=draws.uniform(0.1, knobs.safety_s),
            kind=(kind := draws.choice(kinds)),
            target_no=draws.choice((ALL, 0, 1, 2)),
            for_s=draws.uniform(0.05, 1.0) * FOR_S_MAX[kind],
            after=draws.choice(MOMENTS) if draws.random() < moment_share else "",
            lag_s=draws.choice((0.0, draws.uniform(0, 0.003))),
        )
        for _ in range(count)
    ]
    return sorted(faults, key=lambda fault: fault.at_s)


def _is_lost_tail(focus: Sequence[FaultKind] | None) -> bool:
    """Whether the seed follows that plan."""
    return focus is LOST_TAIL


def _tails_s(knobs: Knobs) -> Iterator[float]:
    """When the queue loses its tail: now and then, with time to recover in between."""
    at_s = 1.0
    while at_s < knobs.safety_s - 1.0:
        yield at_s
        at_s += 3.0


def _draw_lost_tails(draws: random.Random, knobs: Knobs) -> list[Fault]:
    faults: list[Fault] = []
    for at_s in _tails_s(knobs):
        promoted_s = at_s + draws.uniform(0.02, 0.9)
        faults.append(Fault(at_s=promoted_s, kind="redis_promote", for_s=draws.uniform(0.01, 0.3)))
        if draws.random() < 0.8:
            faults.append(
                Fault(
                    at_s=at_s - 0.01, kind="host_kill", target_no=ALL, for_s=draws.uniform(0.3, 2)
                )
            )
        if draws.random() < 0.4:
            frozen_s = promoted_s - draws.uniform(0, 0.2)
            faults.append(
                Fault(
                    at_s=frozen_s, kind="gateway_freeze", target_no=0, for_s=draws.uniform(0.2, 1)
                )
            )
    return sorted(faults, key=lambda fault: fault.at_s)


def _with_undone_commit(draws: random.Random, script: Script) -> Script:
    """Have the books show for a while what they will not have been.

    A charge is answered while the standby hears nothing, so that its outcome is in the primary's log alone.
    The primary dies, starts in place and shows it; storefronts ask again. Then it dies for good, and the
    standby is promoted without the outcome. Whoever believed it has told what never was.
    """
    ends_s = script.knobs.safety_s - SHOWN_S[1] - 0.5
    asked = [each for each in script.operations if not each.is_poison and each.at_s < ends_s]
    if not asked:
        return script
    at_s = draws.choice(asked).at_s
    killed_s = draws.uniform(0.02, 0.5)
    away_s = draws.uniform(0.01, 0.3)
    promoted_s = killed_s + away_s + draws.uniform(*SHOWN_S)
    in_turn: tuple[tuple[FaultKind, float, float], ...] = (
        ("postgres_standby_freeze", 0.0, promoted_s + 1.0),
        ("postgres_kill", killed_s, away_s),
        ("postgres_promote", promoted_s, draws.uniform(0.01, 0.3)),
    )
    faults = [
        Fault(at_s=at_s, kind=kind, for_s=for_s, after="psp charge", lag_s=lag_s)
        for kind, lag_s, for_s in in_turn
    ]
    repeated = [
        msgspec.structs.replace(
            each, at_s=at_s + draws.uniform(killed_s, promoted_s), deeds=(), dispute=None
        )
        for each in asked
        if -ASKED_BEFORE_S <= each.at_s - at_s <= ASKED_AFTER_S
        for _ in range(2)
    ]
    return msgspec.structs.replace(
        script,
        operations=tuple(sorted((*script.operations, *repeated), key=lambda each: each.at_s)),
        faults=tuple(sorted((*script.faults, *faults), key=lambda each: each.at_s)),
    )
