"""A host on fakes is told what became of charges whose PSP does not tell."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from actors import letter_desk
from payments.attempts import ResultClass
from payments.lifecycle import PaymentState
from payments.retry_policy import RetryRule, Strategy
from payments.rows import EvidenceVerdict
from tests.fakes.fake_host import QUICK, World

# Nobody asks for what is unknown while a test runs.
SILENT = replace(QUICK, unknown=RetryRule(strategy=Strategy.FIXED, first_ms=600_000))


@pytest.fixture(autouse=True)
def quick_desk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Evidence is looked for at once."""
    monkeypatch.setattr(letter_desk, "LOOK_EVERY_S", 0.01)


def unknown_count(world: World) -> int:
    return sum(not row.is_outcome_known for row in world.books.open_orders.values())


async def test_evidence_ends_what_no_psp_tells() -> None:
    """Charged settles, not charged fails, a lie about the amount is refused; none is charged again."""
    world = World(policy=SILENT)
    evidence = world.books.evidence
    async with world.running(world.host()):
        charged = await world.post(token="tok_charge_then_timeout")
        vanished = await world.post(token="tok_timeout_before")
        await world.until(lambda: unknown_count(world) == 2)
        lie = evidence.give(
            world.books.order_keys[charged],
            result=ResultClass.APPROVED,
            captured_minor=1,
            currency="USD",
        )
        await world.until(lambda: lie in evidence.results)
        assert evidence.results[lie].result == EvidenceVerdict.REFUSED
        assert world.status_of(charged) is None
        evidence.give(
            world.books.order_keys[charged],
            result=ResultClass.APPROVED,
            reference="ch_1",
            captured_minor=1999,
            currency="USD",
        )
        evidence.give(world.books.order_keys[vanished], result=ResultClass.DECLINED_FINAL)
        await world.until(lambda: len(evidence.results) == 3)
    assert world.status_of(charged) == PaymentState.SUCCEEDED
    assert world.status_of(vanished) == PaymentState.FAILED
    assert len(world.books.attempts) == 2


async def test_evidence_waits_for_a_call_on_its_way() -> None:
    """While a call could still charge, nobody's word that nothing was charged ends the order."""
    world = World(policy=SILENT)
    evidence = world.books.evidence
    host = world.host()
    async with world.running(host):
        order = await world.post(token="tok_timeout_before")
        await world.until(lambda: unknown_count(world) == 1)
        key = world.books.order_keys[order]
        host.calls._busy.add(key)
        number = evidence.give(key, result=ResultClass.DECLINED_FINAL)
        await asyncio.sleep(0.1)
        assert number not in evidence.results
        host.calls.done(*key)
        await world.until(lambda: number in evidence.results)
    assert evidence.results[number].result == EvidenceVerdict.ACCEPTED
    assert world.status_of(order) == PaymentState.FAILED


async def test_a_call_that_began_after_the_offer_is_waited_for() -> None:
    """Evidence that waits to be decided is dropped when its order has a call by then: it comes again."""
    world = World(policy=SILENT)
    host = world.host()
    async with world.running(host):
        order = await world.post(token="tok_timeout_before")
        await world.until(lambda: unknown_count(world) == 1)
        key = world.books.order_keys[order]
    partitions = host.parts.lanes[key[0] % 2].partitions
    world.books.evidence.give(key, result=ResultClass.DECLINED_FINAL)
    (given,) = world.books.evidence.pending([key[0]])
    assert partitions.admits_evidence(given.answer())
    partitions.offer_answer(given.answer())
    host.calls._busy.add(key)
    assert not partitions.take([key[0]], count_max=9)[key[0]].answers
