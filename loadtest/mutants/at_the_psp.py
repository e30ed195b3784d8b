"""Defects in what is sent to a PSP, and in what its answer or its silence is taken for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from loadtest.mutants.at_the_owner import key_apart
from loadtest.mutants.patching import Mutant, replace_attribute

if TYPE_CHECKING:
    from payments.attempts import PspAnswer
    from psp.http_simulator import SimulatorPsp

_NOT_FOUND = 404


def _unknown_is_declined() -> None:
    from payments.attempts import PspAnswer, ResultClass
    from psp import http_client

    def declined(message: str, **_more: Any) -> PspAnswer:
        return PspAnswer(
            result=ResultClass.DECLINED_FINAL, decline_code="no_answer", message=message[:200]
        )

    replace_attribute(http_client, "unknown", declined)


def _not_found_is_proof() -> None:
    from payments.attempts import PspAnswer, ResultClass
    from psp import http_simulator

    classify_query = vars(http_simulator)["classify_query"]

    def classify(psp_key: str, http_status: int, body: bytes) -> PspAnswer:
        answer: PspAnswer = classify_query(psp_key, http_status, body)
        if http_status != _NOT_FOUND:
            return answer
        return PspAnswer(result=ResultClass.CANCELED, message="the PSP has no such key")

    replace_attribute(http_simulator, "classify_query", classify)


def _time_out_under_a_new_key() -> None:
    from payments.attempts import ResultClass
    from psp.http_simulator import SimulatorPsp

    send = vars(SimulatorPsp)["_send"]

    async def send_twice(
        psp: SimulatorPsp, psp_key: str, path: str, body: bytes, timeout_s: float
    ) -> PspAnswer:
        answer: PspAnswer = await send(psp, psp_key, path, body, timeout_s)
        if answer.result is not ResultClass.UNKNOWN:
            return answer
        again: PspAnswer = await send(psp, key_apart(psp_key), path, body, timeout_s)
        return again

    replace_attribute(SimulatorPsp, "_send", send_twice)


AT_THE_PSP = (
    Mutant(
        name="unknown_is_declined",
        defect="a charge that timed out, or whose connection broke, counts as declined",
        breaks=("I5", "I6"),
        mix="psp",
        cells=("psp/psp_?/charge_then_timeout",),
        put_in=_unknown_is_declined,
    ),
    Mutant(
        name="not_found_is_proof",
        defect="a PSP that does not find a key is taken at its word: the order ends, uncharged",
        breaks=("I5", "I6"),
        mix="psp",
        cells=("psp/psp_?/lies",),
        put_in=_not_found_is_proof,
    ),
    Mutant(
        name="time_out_under_a_new_key",
        defect="a charge without an answer is sent once more under a new key",
        breaks=("I4", "I6"),
        mix="psp",
        cells=("psp/psp_?/charge_then_timeout",),
        put_in=_time_out_under_a_new_key,
    ),
)
