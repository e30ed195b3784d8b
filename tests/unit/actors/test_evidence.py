"""A host on fakes is told what became of charges whose PSP does not tell."""

from __future__ import annotations

from dataclasses import replace

import pytest

from actors import letter_desk
from payments.attempts import ResultClass
from payments.lifecycle import PaymentState
from payments.retry_policy import RetryRule, Strategy
from payments.rows import EvidenceVerdict
from tests.fakes.fake_host import LIMITS, QUICK, World

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
    world = World()
    evidence = world.books.evidence
    host = world.host()
    async with world.running(host):
        order = await world.post(token="tok_slow_150")
        await world.until(lambda: host.calls.in_flight_count == 1)
        number = evidence.give(world.books.order_keys[order], result=ResultClass.DECLINED_FINAL)
        await world.until(lambda: number in evidence.results)
    assert evidence.results[number].result == EvidenceVerdict.REFUSED
    assert world.status_of(order) == PaymentState.SUCCEEDED
    assert LIMITS.charge_timeout_ms > 150
