"""What every PSP connector promises, on the PSP in process and on a real simulator over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import aiohttp
import msgspec
import pytest

from payments.attempts import PspAnswer, ResultClass
from psp.http_simulator import SimulatorPsp
from psp.in_process import InProcessPsp
from psp.port import ChargeTerms, SettlementLine
from psp.simulator.behaviour import DENIES_AFTER_CHARGE_MS
from psp.simulator.wire import TOKEN_CHARACTERS_MAX, Faults, OracleRow, Scenario
from tests.contract.psp_harness import (
    Harness,
    InProcessHarness,
    SimulatedHarness,
    SimulatorHarness,
)
from tests.contract.psp_harness_stripe import StripeHarness
from tests.simulator_process import SimulatorProcess

TIMEOUT_S = 10.0
SHORT_S = 0.3
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatorProcess]:
    with SimulatorProcess(tmp_path_factory.mktemp("simulator")) as process:
        yield process


@pytest.fixture(params=["in_process", "simulated", "prepared", "simulator", "stripe"])
async def harness(request: pytest.FixtureRequest) -> AsyncIterator[Harness]:
    if request.param == "in_process":
        yield InProcessHarness()
        return
    if request.param in ("simulated", "prepared"):
        yield SimulatedHarness(prepares=request.param == "prepared")
        return
    process: SimulatorProcess = request.getfixturevalue("simulator")
    async with aiohttp.ClientSession() as http:
        kind = StripeHarness if request.param == "stripe" else SimulatorHarness
        simulated = kind(process.url, http)
        yield simulated
        await simulated.set_scenario(msgspec.json.encode(Scenario()))
        await simulated.set_faults(Faults())
        await simulated.psp.close()


@dataclass(frozen=True, kw_only=True)
class Order:
    """One charge to try: its own key and order, so that tests never meet."""

    key: str
    order_key: UUID
    request: bytes


def order(harness: Harness, token: str, *, amount: int = 1_999, capture: bool = True) -> Order:
    order_key = uuid4()
    terms = ChargeTerms(
        amount_minor=amount,
        currency="USD",
        token=token,
        merchant_id="m_contract",
        order_key=order_key,
        capture=capture,
        description="order 1001",
    )
    request = harness.psp.canonical_charge(terms)
    return Order(key=f"{order_key.hex}.1", order_key=order_key, request=request)


async def send(harness: Harness, one: Order, *, timeout_s: float = TIMEOUT_S) -> PspAnswer:
    """Send it as an owner does: the second half, where there is one, with the reference of the first."""
    known = harness.references.get(one.key)
    answer = await harness.psp.charge(one.key, one.request, reference=known, timeout_s=timeout_s)
    if answer.result is not ResultClass.PREPARED:
        return answer
    assert harness.psp.capabilities.prepares
    assert known is None
    assert answer.reference is not None
    harness.references[one.key] = answer.reference
    return await harness.psp.charge(
        one.key, one.request, reference=answer.reference, timeout_s=timeout_s
    )


async def ask(harness: Harness, key: str, reference: str | None = None) -> PspAnswer:
    known = reference or harness.references.get(key)
    return await harness.psp.query(psp_key=key, reference=known, timeout_s=TIMEOUT_S)


async def cancel(harness: Harness, one: Order) -> PspAnswer:
    known = harness.references.get(one.key)
    return await harness.psp.cancel(psp_key=one.key, reference=known, timeout_s=TIMEOUT_S)


async def rows_of(harness: Harness, one: Order) -> list[OracleRow]:
    return [row for row in await harness.oracle_rows() if row.key == one.key]


async def test_an_approved_charge_is_in_the_oracle_under_our_names(harness: Harness) -> None:
    """An approval carries the reference, amount and time that the oracle has."""
    one = order(harness, "tok_approve")
    answer = await send(harness, one)
    assert answer.result is ResultClass.APPROVED
    assert (answer.captured_minor, answer.currency) == (1_999, "USD")
    (row,) = await rows_of(harness, one)
    assert row.reference == answer.reference
    assert answer.effective_at is not None
    # Some tell whole seconds.
    assert timedelta() <= row.at - answer.effective_at < timedelta(seconds=1)
    assert (row.merchant, row.order_key) == ("m_contract", str(one.order_key))
    assert (row.status, row.amount, row.captured, row.refunded) == ("captured", 1_999, 1_999, 0)


async def test_a_replayed_key_charges_once(harness: Harness) -> None:
    """The same key with the same body gets the same answer, and one charge."""
    one = order(harness, "tok_approve")
    answers = [await send(harness, one) for _ in range(3)]
    assert answers[0].result is ResultClass.APPROVED
    assert answers[1:] == answers[:1] * 2
    assert len(await rows_of(harness, one)) == 1


async def test_a_key_with_another_body_proves_nothing(harness: Harness) -> None:
    """Another body under a used key is UNKNOWN and changes nothing."""
    one = order(harness, "tok_approve")
    await send(harness, one)
    other = replace(one, request=order(harness, "tok_approve", amount=1).request)
    answer = await harness.psp.charge(other.key, other.request, timeout_s=TIMEOUT_S)
    assert answer.result is ResultClass.UNKNOWN
    assert [row.amount for row in await rows_of(harness, one)] == [1_999]


@pytest.mark.parametrize("code", ["do_not_honor", "insufficient_funds", "expired_card"])
async def test_a_decline_is_final_and_replayed(harness: Harness, code: str) -> None:
    """A decline names its code, is replayed under its key, and moves no money."""
    one = order(harness, f"tok_decline_{code}")
    first, again = await send(harness, one), await send(harness, one)
    assert (first.result, first.decline_code) == (ResultClass.DECLINED_FINAL, code)
    assert again == first
    assert await ask(harness, one.key) == first
    assert [(row.status, row.captured) for row in await rows_of(harness, one)] == [("declined", 0)]


@pytest.mark.parametrize(
    "token", ["tok_nothing_like_it", "tok_" + "x" * (TOKEN_CHARACTERS_MAX - len("tok_"))]
)
async def test_an_unknown_token_is_declined(harness: Harness, token: str) -> None:
    """A token outside the table is a stored decline: a late copy of the request can't run."""
    one = order(harness, token)
    answer = await send(harness, one)
    assert (answer.result, answer.decline_code) == (ResultClass.DECLINED_FINAL, "invalid_token")


async def test_three_d_secure_charges_once_the_buyer_confirmed(harness: Harness) -> None:
    """A charge that needs its buyer moves money only once the buyer confirmed."""
    one = order(harness, "tok_3ds")
    answer = await send(harness, one)
    assert answer.result is ResultClass.REQUIRES_ACTION
    assert answer.reference is not None
    assert answer.next_action_url is not None
    assert answer.next_action_url.endswith(answer.reference.partition("_")[2])
    assert await rows_of(harness, one) == []
    await harness.act(answer.reference, is_approved=True)
    completed = await ask(harness, one.key, answer.reference)
    assert (completed.result, completed.captured_minor) == (ResultClass.APPROVED, 1_999)
    assert [row.status for row in await rows_of(harness, one)] == ["captured"]


async def test_three_d_secure_that_fails_is_a_decline(harness: Harness) -> None:
    """A buyer who does not confirm ends the charge as declined."""
    one = order(harness, "tok_3ds")
    answer = await send(harness, one)
    assert answer.reference is not None
    await harness.act(answer.reference, is_approved=False)
    failed = await ask(harness, one.key)
    expected = (ResultClass.DECLINED_FINAL, "authentication_failed")
    assert (failed.result, failed.decline_code) == expected
    assert [row.captured for row in await rows_of(harness, one)] == [0]


async def test_cancel_burns_a_key_that_was_never_seen(harness: Harness) -> None:
    """A canceled key never charges, also when its request arrives only afterwards."""
    one = order(harness, "tok_approve")
    canceled = await cancel(harness, one)
    if not harness.psp.capabilities.can_burn_key:
        assert canceled.result is ResultClass.UNKNOWN
        return
    assert canceled.result is ResultClass.CANCELED
    assert (await send(harness, one)).result is ResultClass.CANCELED
    assert (await ask(harness, one.key)).result is ResultClass.CANCELED
    assert await rows_of(harness, one) == []


async def test_cancel_ends_a_charge_that_waits_for_its_buyer(harness: Harness) -> None:
    """A canceled 3-D Secure charge stays canceled, whatever the buyer does later."""
    one = order(harness, "tok_3ds")
    reference = (await send(harness, one)).reference
    assert reference is not None
    canceled = await cancel(harness, one)
    assert canceled.result is ResultClass.CANCELED
    assert (await send(harness, one)).result is ResultClass.CANCELED
    assert await rows_of(harness, one) == []


async def test_cancel_after_the_charge_is_too_late(harness: Harness) -> None:
    """To cancel a key that charged says APPROVED and leaves the money where it is."""
    one = order(harness, "tok_approve")
    await send(harness, one)
    late = await cancel(harness, one)
    assert (late.result, late.captured_minor) == (ResultClass.APPROVED, 1_999)
    assert [row.status for row in await rows_of(harness, one)] == ["captured"]


async def test_cancel_voids_an_authorization(harness: Harness) -> None:
    """To cancel the key of a mere authorization releases the buyer's money."""
    one = order(harness, "tok_approve", capture=False)
    await send(harness, one)
    canceled = await cancel(harness, one)
    assert canceled.result is ResultClass.CANCELED
    assert [row.status for row in await rows_of(harness, one)] == ["voided"]


async def test_a_charge_whose_answer_was_lost_is_unknown_until_asked(harness: Harness) -> None:
    """A dropped answer after the charge is UNKNOWN; query and replay then tell the truth, once
    charged.
    """
    one = order(harness, "tok_charge_then_timeout")
    assert (await send(harness, one)).result is ResultClass.UNKNOWN
    asked, again = await ask(harness, one.key), await send(harness, one)
    assert asked.result is ResultClass.APPROVED
    assert again == asked
    assert len(await rows_of(harness, one)) == 1


async def test_a_request_that_hangs_is_unknown_and_can_be_sent_again(harness: Harness) -> None:
    """A try that is never answered is UNKNOWN, charges nothing, and the next one runs."""
    one = order(harness, "tok_timeout_before")
    assert (await send(harness, one, timeout_s=SHORT_S)).result is ResultClass.UNKNOWN
    assert (await ask(harness, one.key)).result is ResultClass.UNKNOWN
    assert await rows_of(harness, one) == []
    assert (await send(harness, one)).result is ResultClass.APPROVED
    assert len(await rows_of(harness, one)) == 1


async def test_an_answer_beyond_the_deadline_is_unknown_although_charged(harness: Harness) -> None:
    """A slow answer is UNKNOWN at our deadline, and the charge it announced is found by its key."""
    one = order(harness, "tok_slow_3000")
    assert (await send(harness, one, timeout_s=SHORT_S)).result is ResultClass.UNKNOWN
    assert (await ask(harness, one.key)).result is ResultClass.APPROVED
    assert len(await rows_of(harness, one)) == 1


async def test_an_answer_within_the_deadline_is_waited_for(harness: Harness) -> None:
    """A slow answer that comes in time is simply the answer."""
    one = order(harness, "tok_slow_50")
    assert (await send(harness, one)).result is ResultClass.APPROVED


async def test_a_psp_that_denies_its_own_charge_is_found_out_later(harness: Harness) -> None:
    """After a lost answer, "did not run" for a while; then the one charge shows."""
    one = order(harness, "tok_charge_then_refuse")
    assert (await send(harness, one)).result is ResultClass.UNKNOWN
    assert (await send(harness, one)).result is ResultClass.NOT_SENT
    assert (await ask(harness, one.key)).result is ResultClass.UNKNOWN
    canceled = await cancel(harness, one)
    assert canceled.result is ResultClass.UNKNOWN
    await harness.pass_time(DENIES_AFTER_CHARGE_MS / 1000 + 0.2)
    assert (await send(harness, one)).result is ResultClass.APPROVED
    assert (await ask(harness, one.key)).result is ResultClass.APPROVED
    assert len(await rows_of(harness, one)) == 1


async def test_a_twin_that_never_ends_is_unknown_until_it_does(harness: Harness) -> None:
    """A 409 "still running" is UNKNOWN, whether sent again or asked; then the one charge shows."""
    one = order(harness, "tok_conflict_409")
    assert (await send(harness, one)).result is ResultClass.UNKNOWN
    assert (await send(harness, one)).result is ResultClass.UNKNOWN
    assert (await ask(harness, one.key)).result is ResultClass.UNKNOWN
    await harness.pass_time(DENIES_AFTER_CHARGE_MS / 1000 + 0.2)
    assert (await ask(harness, one.key)).result is ResultClass.APPROVED
    assert len(await rows_of(harness, one)) == 1


async def test_not_found_is_no_proof(harness: Harness) -> None:
    """A charge that the PSP does not find when asked for is there when its key is sent again."""
    one = order(harness, "tok_lie_not_found")
    assert (await send(harness, one)).result is ResultClass.UNKNOWN
    assert (await ask(harness, one.key)).result is ResultClass.UNKNOWN
    assert (await send(harness, one)).result is ResultClass.APPROVED
    assert len(await rows_of(harness, one)) == 1


async def test_a_stored_500_is_replayed_and_the_truth_is_asked_for(harness: Harness) -> None:
    """The same 500 as often as the key is sent, although it charged; a question finds the charge."""
    one = order(harness, "tok_stored_500")
    for _ in range(3):
        answer = await send(harness, one)
        assert (answer.result, answer.is_silent) == (ResultClass.UNKNOWN, False)
    assert (await ask(harness, one.key)).result is ResultClass.APPROVED
    assert len(await rows_of(harness, one)) == 1


async def test_a_whole_psp_breaks_and_heals_at_run_time(harness: Harness) -> None:
    """Down refuses everything, rates break a part of the charges, and switched off all is well."""
    await harness.set_faults(Faults(down=True))
    one = order(harness, "tok_approve")
    assert (await send(harness, one)).result is ResultClass.NOT_SENT
    assert (await ask(harness, one.key)).result is ResultClass.UNKNOWN
    # Where failures are kept under their key, one would never charge.
    rates = {"tok_charge_then_timeout": 0.5, "tok_error_500": 0.5}
    if harness.psp.capabilities.replays_5xx:
        rates = {"tok_charge_then_timeout": 0.5, "tok_timeout_before": 0.5}
    await harness.set_faults(Faults(rates=rates))
    others = [order(harness, "tok_approve") for _ in range(20)]
    for each in others:
        answer = await send(harness, each, timeout_s=SHORT_S)
        assert answer.result is ResultClass.UNKNOWN
    found = [len(await rows_of(harness, each)) for each in others]
    assert set(found) == {0, 1}
    await harness.set_faults(Faults())
    for each in (one, *others):
        assert (await send(harness, each)).result is ResultClass.APPROVED
        assert len(await rows_of(harness, each)) == 1


async def test_a_slow_psp_answers_late(harness: Harness) -> None:
    """Slower than the deadline is UNKNOWN, and the charge is found once it is fast again."""
    await harness.set_faults(Faults(slow_ms=400))
    one = order(harness, "tok_approve")
    late = await send(harness, one, timeout_s=SHORT_S)
    if isinstance(harness, SimulatorHarness):
        assert (late.result, late.is_silent) == (ResultClass.UNKNOWN, True)
    await harness.set_faults(Faults())
    await harness.pass_time(0.5)
    assert (await send(harness, one)).result is ResultClass.APPROVED
    assert len(await rows_of(harness, one)) == 1


async def test_a_rate_limit_says_that_nothing_was_sent(harness: Harness) -> None:
    """A 429 is NOT_SENT with the wait it asked for; the same key then charges once."""
    one = order(harness, "tok_rate_limited")
    limited = await send(harness, one)
    assert (limited.result, limited.retry_after_s) == (ResultClass.NOT_SENT, 1.0)
    assert (await send(harness, one)).result is ResultClass.APPROVED
    assert len(await rows_of(harness, one)) == 1


async def test_a_psp_that_is_down_took_nothing(harness: Harness) -> None:
    """While the scenario is on, 503 "did not run" is NOT_SENT; afterwards the key charges."""
    one = order(harness, "tok_down")
    await harness.set_scenario(b'{"down": true}')
    assert (await send(harness, one)).result is ResultClass.NOT_SENT
    assert (await send(harness, order(harness, "tok_approve"))).result is ResultClass.APPROVED
    assert await rows_of(harness, one) == []
    await harness.set_scenario(b'{"down": false}')
    assert (await send(harness, one)).result is ResultClass.APPROVED


async def test_a_question_that_was_refused_proves_nothing(harness: Harness) -> None:
    """In an outage a charge is NOT_SENT, a query or cancel UNKNOWN: the charge may exist."""
    one = order(harness, "tok_approve")
    await send(harness, one)
    await harness.set_scenario(b'{"outage": true}')
    assert (await send(harness, one)).result is ResultClass.NOT_SENT
    assert (await ask(harness, one.key)).result is ResultClass.UNKNOWN
    canceled = await cancel(harness, one)
    assert canceled.result is ResultClass.UNKNOWN


async def test_a_server_error_is_unknown_and_the_key_works_afterwards(harness: Harness) -> None:
    """A 500 is UNKNOWN although nothing ran; the same key then charges once, or is known to be spent."""
    one = order(harness, "tok_error_500")
    assert (await send(harness, one)).result is ResultClass.UNKNOWN
    assert await rows_of(harness, one) == []
    if harness.psp.capabilities.replays_5xx:
        again = await send(harness, one)
        assert (again.result, again.is_key_spent) == (ResultClass.UNKNOWN, True)
        assert (await cancel(harness, one)).result is ResultClass.CANCELED
        assert (await ask(harness, one.key)).result is ResultClass.CANCELED
        return
    assert (await send(harness, one)).result is ResultClass.APPROVED
    assert len(await rows_of(harness, one)) == 1


async def test_two_sends_at_once_under_a_key_charge_once(harness: Harness) -> None:
    """Concurrent twins charge once: one is approved, the others are UNKNOWN or its replay."""
    await harness.set_scenario(b'{"latency_ms_median": 40}')
    one = order(harness, "tok_approve")
    answers = await asyncio.gather(*(send(harness, one) for _ in range(4)))
    results = {answer.result for answer in answers}
    assert ResultClass.APPROVED in results
    assert results <= {ResultClass.APPROVED, ResultClass.UNKNOWN}
    assert len(await rows_of(harness, one)) == 1


async def test_not_found_is_unknown(harness: Harness) -> None:
    """A key that the PSP never saw is UNKNOWN: its request may still be on its way."""
    assert (await ask(harness, "never-sent")).result is ResultClass.UNKNOWN
    refunded = await harness.psp.refund("r.never", "ch_unheard_of", 1, timeout_s=TIMEOUT_S)
    assert refunded.result is ResultClass.UNKNOWN


async def test_an_authorization_is_captured_in_part(harness: Harness) -> None:
    """A capture moves the amount it names, once, and its key can be asked about."""
    one = order(harness, "tok_approve", capture=False)
    held = await send(harness, one)
    assert (held.result, held.captured_minor) == (ResultClass.APPROVED, 0)
    assert held.reference is not None
    key = f"{one.key}.capture"
    captured = await harness.psp.capture(key, held.reference, 1_200, timeout_s=TIMEOUT_S)
    assert (captured.result, captured.captured_minor) == (ResultClass.APPROVED, 1_200)
    again = await harness.psp.capture(key, held.reference, 1_200, timeout_s=TIMEOUT_S)
    assert again == captured
    assert await ask(harness, key, held.reference) == captured
    (row,) = await rows_of(harness, one)
    assert (row.status, row.amount, row.captured) == ("captured", 1_999, 1_200)


async def test_an_authorization_is_captured_several_times_and_its_rest_given_back(
    harness: Harness,
) -> None:
    """Captures add up to the authorization at most; each key tells of its own; the rest can be released."""
    one = order(harness, "tok_approve", capture=False)
    held = await send(harness, one)
    assert held.reference is not None
    assert (held.captured_minor, held.authorized_minor) == (0, 1_999)
    reference = held.reference
    first = await harness.psp.capture(f"{one.key}.c1", reference, 500, timeout_s=TIMEOUT_S)
    second = await harness.psp.capture(f"{one.key}.c2", reference, 700, timeout_s=TIMEOUT_S)
    if harness.psp.capabilities.captures_once:
        # What the first one left is released: there is nothing to capture, nor to void.
        assert second.decline_code == "charge_not_authorized"
        voided = await harness.psp.void(f"{one.key}.v", reference, timeout_s=TIMEOUT_S)
        assert (voided.result, voided.currency) == (ResultClass.APPROVED, "USD")
        assert [row.captured for row in await rows_of(harness, one)] == [500]
        return
    assert [first.captured_minor, second.captured_minor] == [500, 700]
    assert await ask(harness, f"{one.key}.c1", reference) == first
    above = await harness.psp.capture(f"{one.key}.c3", reference, 800, timeout_s=TIMEOUT_S)
    assert above.decline_code == "amount_above_authorized"
    released = await harness.psp.void(f"{one.key}.v", reference, timeout_s=TIMEOUT_S)
    assert released.result is ResultClass.APPROVED
    late = await harness.psp.capture(f"{one.key}.c4", reference, 1, timeout_s=TIMEOUT_S)
    assert (late.result, late.decline_code) == (ResultClass.DECLINED_FINAL, "charge_not_authorized")
    (row,) = await rows_of(harness, one)
    assert (row.status, row.captured) == ("captured", 1_200)


async def test_a_capture_above_the_authorization_is_refused(harness: Harness) -> None:
    """Never more is captured than the buyer's bank promised; the refusal is final under its key."""
    one = order(harness, "tok_approve", capture=False)
    reference = (await send(harness, one)).reference
    assert reference is not None
    key = f"{one.key}.capture"
    refused = await harness.psp.capture(key, reference, 2_000, timeout_s=TIMEOUT_S)
    expected = (ResultClass.DECLINED_FINAL, "amount_above_authorized")
    assert (refused.result, refused.decline_code) == expected
    if "key" in harness.psp.capabilities.queries_by:
        assert await ask(harness, key) == refused
    assert [row.status for row in await rows_of(harness, one)] == ["authorized"]


async def test_a_void_releases_an_authorization_for_good(harness: Harness) -> None:
    """A voided authorization can't be captured any more, and its own key says canceled."""
    one = order(harness, "tok_approve", capture=False)
    reference = (await send(harness, one)).reference
    assert reference is not None
    voided = await harness.psp.void(f"{one.key}.void", reference, timeout_s=TIMEOUT_S)
    assert voided.result is ResultClass.APPROVED
    captured = await harness.psp.capture(f"{one.key}.c", reference, 1, timeout_s=TIMEOUT_S)
    assert captured.result is ResultClass.DECLINED_FINAL
    assert (await ask(harness, one.key)).result is ResultClass.CANCELED
    assert [(row.status, row.captured) for row in await rows_of(harness, one)] == [("voided", 0)]


async def test_refunds_never_exceed_what_was_captured(harness: Harness) -> None:
    """Refunds add up to the captured amount at most, also when sent at once."""
    one = order(harness, "tok_approve", amount=1_000)
    reference = (await send(harness, one)).reference
    assert reference is not None
    first = await harness.psp.refund(f"{one.key}.r1", reference, 600, timeout_s=TIMEOUT_S)
    again = await harness.psp.refund(f"{one.key}.r1", reference, 600, timeout_s=TIMEOUT_S)
    assert first.result is ResultClass.APPROVED
    assert again == first
    above = await harness.psp.refund(f"{one.key}.r2", reference, 401, timeout_s=TIMEOUT_S)
    expected = (ResultClass.DECLINED_FINAL, "amount_above_captured")
    assert (above.result, above.decline_code) == expected
    await harness.set_scenario(b'{"latency_ms_median": 20}')
    await asyncio.gather(
        *(
            harness.psp.refund(f"{one.key}.r{n}", reference, 300, timeout_s=TIMEOUT_S)
            for n in range(3, 7)
        )
    )
    (row,) = await rows_of(harness, one)
    assert row.refunded in (600, 900)


async def test_a_refunds_key_is_never_answered_with_its_charge(harness: Harness) -> None:
    """A refund that was never sent is UNKNOWN, although its charge, known by reference, was
    approved.
    """
    one = order(harness, "tok_approve")
    reference = (await send(harness, one)).reference
    assert (await ask(harness, f"{one.key}.refund", reference)).result is ResultClass.UNKNOWN


async def test_an_operations_key_is_no_charges_key(harness: Harness) -> None:
    """A key names one request for ever: as a charge or as a refund, never both."""
    one, other = order(harness, "tok_approve"), order(harness, "tok_approve")
    reference = (await send(harness, one)).reference
    assert reference is not None
    crossed = await harness.psp.refund(one.key, reference, 1, timeout_s=TIMEOUT_S)
    assert crossed.result is ResultClass.UNKNOWN
    await harness.psp.refund(other.key, reference, 1, timeout_s=TIMEOUT_S)
    assert (await send(harness, other)).result is ResultClass.UNKNOWN
    assert await rows_of(harness, other) == []


async def test_totals_are_the_sum_of_what_was_approved(harness: Harness) -> None:
    """The oracle's totals grow by exactly the approved charges and refunds."""
    before = (await harness.totals()).by_currency.get("USD")
    captured_before = before.captured if before else 0
    refunded_before = before.refunded if before else 0
    answers = [
        await send(harness, order(harness, token, amount=amount))
        for token, amount in [("tok_approve", 700), ("tok_decline_x", 5), ("tok_approve", 31)]
    ]
    reference = answers[0].reference
    assert reference is not None
    await harness.psp.refund(f"{uuid4()}", reference, 50, timeout_s=TIMEOUT_S)
    totals = await harness.totals()
    usd = totals.by_currency["USD"]
    assert usd.captured - captured_before == sum(answer.captured_minor for answer in answers) == 731
    assert usd.refunded - refunded_before == 50
    rows = await harness.oracle_rows()
    assert totals.charges == len(rows)
    assert [row.n for row in rows] == list(range(1, len(rows) + 1))
    assert usd.captured == sum(row.captured for row in rows if row.currency == "USD")


async def test_the_settlement_report_has_what_moved_oldest_first(harness: Harness) -> None:
    """Captured charges come with their fee; one refunded later comes as it stands, at that later
    time.
    """
    one, other = order(harness, "tok_approve", amount=1_000), order(harness, "tok_approve")
    declined = order(harness, "tok_decline_x")
    first = await send(harness, one)
    await harness.pass_time(0.01)
    await send(harness, other)
    await send(harness, declined)
    await harness.pass_time(0.01)
    assert first.reference is not None
    await harness.psp.refund(f"{one.key}.r", first.reference, 400, timeout_s=TIMEOUT_S)
    lines: list[SettlementLine] = [
        line async for line in harness.psp.settlement_report(since=EPOCH)
    ]
    assert [line.at for line in lines] == sorted(line.at for line in lines)
    ours = [line for line in lines if line.psp_key in (one.key, other.key, declined.key)]
    assert [line.psp_key for line in ours] == [other.key, one.key]
    refunded = ours[1]
    assert (refunded.reference, refunded.order_key) == (first.reference, one.order_key)
    assert (refunded.captured_minor, refunded.refunded_minor, refunded.fee_minor) == (
        1_000,
        400,
        15,
    )
    later = [line async for line in harness.psp.settlement_report(since=refunded.at)]
    assert later[-1].psp_key == one.key
    if refunded.at.microsecond:
        # Times in whole seconds have others beside it.
        assert len(later) == 1


@pytest.mark.parametrize("seed", [1, 2])
async def test_a_simulator_is_reproducible_by_its_seed(tmp_path: Path, seed: int) -> None:
    """The same seed and keys give the same references, in process and over HTTP."""
    local = InProcessHarness()
    local.psp = InProcessPsp(name="x", account="a", seed=seed, clock=local.clock)
    one = order(local, "tok_approve")
    with SimulatorProcess(tmp_path, options=("--seed", str(seed))) as process:
        remote = SimulatorPsp(name="x", account="a", url=process.url)
        here = await local.psp.charge(one.key, one.request, timeout_s=TIMEOUT_S)
        there = await remote.charge(one.key, one.request, timeout_s=TIMEOUT_S)
        await remote.close()
    assert here.reference == there.reference
