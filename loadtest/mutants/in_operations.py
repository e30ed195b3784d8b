"""Defects of what is done to a payment after its answer: captures, refunds, and holds that are let go."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from loadtest.mutants.at_the_owner import key_apart
from loadtest.mutants.patching import Mutant, replace_attribute

if TYPE_CHECKING:
    from payments.attempts import PspAnswer
    from payments.operation_kinds import OperationKind
    from payments.operations import Operation
    from psp.http_simulator import SimulatorPsp


def _refunds_in_flight_not_counted() -> None:
    from payments import operations
    from payments.operation_kinds import OperationKind

    sum_of = operations.sum_of

    def sum_of_captures(in_flight: Iterable[Operation], kind: OperationKind) -> int:
        return 0 if kind is OperationKind.REFUND else sum_of(in_flight, kind)

    replace_attribute(operations, "sum_of", sum_of_captures)


def _refund_again_under_a_new_key() -> None:
    from payments.attempts import ResultClass
    from psp.http_simulator import SimulatorPsp

    send = vars(SimulatorPsp)["_send"]

    async def send_refunds_twice(
        psp: SimulatorPsp, psp_key: str, path: str, body: bytes, timeout_s: float
    ) -> PspAnswer:
        answer: PspAnswer = await send(psp, psp_key, path, body, timeout_s)
        if answer.result is not ResultClass.UNKNOWN or not path.endswith("/refund"):
            return answer
        again: PspAnswer = await send(psp, key_apart(psp_key), path, body, timeout_s)
        return again

    replace_attribute(SimulatorPsp, "_send", send_refunds_twice)


def _release_leaves_it_pending() -> None:
    from payments import posting
    from payments.rows import TransferKind
    from payments.transfers import OF_HOLDS, Effect

    kept = {**OF_HOLDS, TransferKind.RELEASE: Effect(posted=0, pending=0)}
    replace_attribute(posting, "OF_HOLDS", kept)


IN_OPERATIONS = (
    Mutant(
        name="refunds_in_flight_not_counted",
        defect="a refund is held against what was refunded, without those that are under way",
        breaks=("I11",),
        mix="psp",
        put_in=_refunds_in_flight_not_counted,
    ),
    Mutant(
        name="refund_again_under_a_new_key",
        defect="a refund that timed out is sent again under a new PSP key",
        breaks=("I5", "I6"),
        mix="psp",
        put_in=_refund_again_under_a_new_key,
    ),
    Mutant(
        name="release_leaves_it_pending",
        defect="what is given back of a hold stays pending on both of its slices",
        breaks=("I8",),
        mix="none",
        put_in=_release_leaves_it_pending,
    ),
)
