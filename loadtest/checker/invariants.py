"""The invariants, by number: what each promises, and which check looks after it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from loadtest.checker import (
    acceptance_checks,
    answer_checks,
    chain_checks,
    checkout_checks,
    delivery_checks,
    hold_checks,
    money_checks,
    operation_checks,
    psp_checks,
    queue_checks,
    session_checks,
    split_checks,
    state_checks,
)
from loadtest.checker.findings import Findings
from loadtest.checker.joined import Joined
from loadtest.checker.records import Input

Check = Callable[[Joined, Findings], None]


class Invariant(NamedTuple):
    """One promise. Without a check it says why there is none so far."""

    number: str
    title: str
    check: Check | None = None
    not_yet: str = ""
    needs: frozenset[Input] = frozenset()
    """The inputs without which nothing can be said."""
    may_be_empty: bool = False
    """Whether a run that met nothing of the kind can be valid all the same."""


def _not_yet(number: str, title: str, why: str) -> Invariant:
    return Invariant(number, title, None, why)


def _of(
    number: str, title: str, check: Check, *needs: Input, may_be_empty: bool = False
) -> Invariant:
    return Invariant(number, title, check, "", frozenset(needs), may_be_empty)


def _all(*checks: Check) -> Check:
    def check(joined: Joined, found: Findings) -> None:
        for each in checks:
            each(joined, found)

    return check


INVARIANTS: tuple[Invariant, ...] = (
    _of(
        "I1",
        "what was accepted is in the books",
        _all(
            acceptance_checks.acknowledged_orders_are_kept,
            operation_checks.acknowledged_operations_are_kept,
            checkout_checks.acknowledged_checkouts_are_kept,
        ),
        Input.HISTORY,
        Input.BOOKS,
    ),
    _of(
        "I2",
        "one end, by a path of the published states",
        state_checks.one_end_by_a_known_path,
        Input.BOOKS,
    ),
    _of(
        "I3",
        "no order without a request",
        _all(
            acceptance_checks.no_order_without_a_request,
            operation_checks.no_operation_without_a_request,
        ),
        Input.HISTORY,
        Input.BOOKS,
    ),
    _of(
        "I4",
        "at most one charge a merchant and key",
        psp_checks.at_most_one_charge,
        Input.BOOKS,
        Input.ORACLE,
        Input.HISTORY,
    ),
    _of(
        "I5",
        "receivables equal the PSPs' records",
        psp_checks.receivables_equal_the_records,
        Input.BOOKS,
        Input.ORACLE,
    ),
    _of(
        "I6",
        "each charge is booked, and the reverse",
        _all(
            psp_checks.charges_are_booked,
            hold_checks.charges_went_back_as_booked,
            split_checks.each_seller_has_its_share,
        ),
        Input.BOOKS,
        Input.ORACLE,
    ),
    _of(
        "I7",
        "debits equal credits after every batch",
        money_checks.debits_equal_credits,
        Input.BOOKS,
    ),
    _of(
        "I8",
        "slices are the sums of their transfers, always",
        money_checks.slices_are_their_transfers,
        Input.BOOKS,
        Input.SNAPSHOTS,
    ),
    _not_yet("I9", "floors hold at every version", "nothing spends a wallet"),
    _of(
        "I10",
        "each hold ends once",
        hold_checks.each_hold_ends_once,
        Input.BOOKS,
        may_be_empty=True,
    ),
    _of(
        "I11",
        "refunds never exceed captures",
        hold_checks.refunds_never_exceed_captures,
        Input.BOOKS,
        Input.ORACLE,
        may_be_empty=True,
    ),
    _of(
        "I12",
        "history is immutable",
        chain_checks.history_is_immutable,
        Input.BOOKS,
        Input.SNAPSHOTS,
    ),
    _of(
        "I13",
        "one key, one answer",
        _all(
            answer_checks.one_key_one_answer,
            operation_checks.one_operation_one_answer,
            checkout_checks.one_checkout_one_answer,
        ),
        Input.HISTORY,
        Input.BOOKS,
    ),
    _of(
        "I14",
        "merchants' keys never meet",
        _all(
            answer_checks.merchants_never_meet,
            operation_checks.operations_have_their_own_identity,
        ),
        Input.HISTORY,
        Input.BOOKS,
    ),
    _of(
        "I15",
        "sessions read their own writes",
        session_checks.own_writes_are_read,
        Input.HISTORY,
        Input.BOOKS,
    ),
    _of(
        "I16",
        "what began later sees no less",
        session_checks.real_time_is_kept,
        Input.HISTORY,
        Input.BOOKS,
    ),
    _of(
        "I17",
        "totals agree in every snapshot",
        money_checks.totals_agree_in_snapshots,
        Input.BOOKS,
        Input.SNAPSHOTS,
    ),
    _of(
        "I18",
        "every event is delivered",
        delivery_checks.every_event_is_delivered,
        Input.BOOKS,
        Input.WEBHOOKS,
    ),
    _of("I19", "one event a change, without gaps", state_checks.one_event_a_change, Input.BOOKS),
    _of(
        "I20",
        "epochs never go back",
        chain_checks.epochs_never_go_back,
        Input.BOOKS,
        Input.SNAPSHOTS,
    ),
    _of(
        "I21",
        "poison is set aside once",
        queue_checks.poison_is_set_aside_once,
        Input.BOOKS,
        Input.FAULTS,
        may_be_empty=True,
    ),
    _of(
        "I22",
        "what was produced was applied or set aside",
        queue_checks.nothing_is_left_over,
        Input.BOOKS,
        Input.QUEUE,
        Input.HISTORY,
    ),
    _of(
        "I23",
        "an acknowledged key is never new again",
        _all(
            answer_checks.keys_are_never_new_again,
            operation_checks.operations_are_never_new_again,
            checkout_checks.checkouts_are_never_new_again,
        ),
        Input.HISTORY,
    ),
    _of("I24", "no secret in a log or a dump", queue_checks.no_secret_leaks, Input.LEAKS),
    _not_yet("I25", "tampering with the audit is seen", "the audit has no chain"),
    _of("I26", "nothing stays open", state_checks.nothing_stays_open, Input.BOOKS, Input.HISTORY),
    _not_yet("I27", "resources return", "no record samples them"),
    _of(
        "I28",
        "documented answers, and copies first",
        acceptance_checks.answers_are_documented,
        Input.HISTORY,
        Input.BOOKS,
        Input.FAULTS,
    ),
)
