"""Defects of what is done to a payment after its answer: captures, refunds, and holds that are let go."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from loadtest.mutants.patching import Mutant, replace_attribute

if TYPE_CHECKING:
    from actors.inbox import Work
    from actors.lane_worker import LaneWorker
    from payments.operation_kinds import OperationKind
    from payments.operations import Operation
    from storage.ports import KnownOrders


def _refunds_in_flight_not_counted() -> None:
    from payments import operations
    from payments.operation_kinds import OperationKind

    sum_of = operations.sum_of

    def sum_of_captures(in_flight: Iterable[Operation], kind: OperationKind) -> int:
        return 0 if kind is OperationKind.REFUND else sum_of(in_flight, kind)

    replace_attribute(operations, "sum_of", sum_of_captures)


def _operation_runs_again() -> None:
    from actors.lane_worker import LaneWorker

    load = vars(LaneWorker)["_load_payments"]

    async def load_payments_alone(
        worker: LaneWorker, work: dict[int, Work], known: KnownOrders
    ) -> tuple[KnownOrders, Any]:
        """Load how payments stand, and forget which operations are there already."""
        _, standings = await load(worker, work, known)
        return known, standings

    replace_attribute(LaneWorker, "_load_payments", load_payments_alone)


def _release_leaves_it_pending() -> None:
    from payments import posting
    from payments.rows import TransferKind
    from payments.transfers import OF_HOLDS, Effect

    kept = {**OF_HOLDS, TransferKind.RELEASE: Effect(posted=0, pending=0)}
    replace_attribute(posting, "OF_HOLDS", kept)


def _first_sellers_pay() -> None:
    from payments import splits

    def shares_in_turn(amount_minor: int, left_minor: Sequence[int]) -> list[int]:
        shares: list[int] = []
        for left in left_minor:
            shares.append(min(left, amount_minor - sum(shares)))
        return shares

    replace_attribute(splits, "shares_minor", shares_in_turn)


IN_OPERATIONS = (
    Mutant(
        name="refunds_in_flight_not_counted",
        defect="a refund is held against what was refunded, without those that are under way",
        breaks=("I11",),
        mix="psp",
        put_in=_refunds_in_flight_not_counted,
    ),
    Mutant(
        name="operation_runs_again",
        defect="a capture, void or refund that comes again is not looked for in the books",
        breaks=("I14", "I22", "I26"),
        mix="none",
        put_in=_operation_runs_again,
    ),
    Mutant(
        name="release_leaves_it_pending",
        defect="what is given back of a hold stays pending on both of its slices",
        breaks=("I8",),
        mix="none",
        put_in=_release_leaves_it_pending,
    ),
    Mutant(
        name="first_sellers_pay",
        defect="a partial capture or refund of several sellers' charge is all the first one's, while it lasts",
        breaks=("I6",),
        mix="none",
        put_in=_first_sellers_pay,
    ),
)
