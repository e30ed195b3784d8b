"""The sandbox PSP's books: rules and replay, under any mix of requests."""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payments.defects import InvariantViolation
from psp.simulator.decisions import SandboxRules
from psp.simulator.fees import SettlementFee
from psp.simulator.pages import Pages
from psp.simulator.records import BurnRecord, Record
from psp.simulator.state import SandboxState
from psp.simulator.wire import ChangeKind, ChargeRequest, ChargeStatus, Metadata, Scenario, instant

KEYS = [f"key.{n}" for n in range(4)]
TOKENS = ["tok_approve", "tok_3ds", "tok_decline_x", "tok_error_500", "tok_charge_then_refuse"]

charges = st.tuples(
    st.just("charge"), st.sampled_from(KEYS), st.sampled_from(TOKENS), st.booleans()
)
changes = st.tuples(
    st.sampled_from([ChangeKind.CAPTURE, ChangeKind.REFUND, ChangeKind.VOID]),
    st.sampled_from([*KEYS, *(f"op.{n}" for n in range(8))]),
    st.sampled_from(KEYS),
    st.integers(min_value=1, max_value=130),
)
others = st.tuples(st.sampled_from(["complete", "fail", "cancel"]), st.sampled_from(KEYS))


@dataclass
class Desk:
    """A sandbox whose records become durable at once."""

    state: SandboxState = field(default_factory=lambda: SandboxState(seed=5))
    records: list[Record] = field(default_factory=list)
    now_ms: int = 1_000

    def __post_init__(self) -> None:
        self.rules = SandboxRules(self.state, public_url="")

    def take(self, record: Record | None) -> None:
        self.now_ms += 1_500
        if record is not None:
            self.records.append(record)
            self.state.apply(record)

    def charge(self, key: str, token: str, *, capture: bool = True, amount: int = 100) -> None:
        request = ChargeRequest(
            amount=amount,
            currency="USD",
            token=token,
            capture=capture,
            metadata=Metadata(merchant="m", order_key=UUID(int=1)),
        )
        decision = self.rules.decide_charge(
            key, request, token=request.token, scenario=Scenario(), now_ms=self.now_ms
        )
        self.take(decision.record)

    def change(self, kind: ChangeKind, key: str, charge_key: str, amount: int) -> None:
        charge = self.state.charge_of_key(charge_key)
        if charge is not None:
            decision = self.rules.decide_change(key, charge, kind, amount, now_ms=self.now_ms)
            self.take(decision.record)

    def other(self, what: str, key: str) -> None:
        if what == "cancel":
            self.take(self.rules.decide_cancel(key, now_ms=self.now_ms).record)
        elif (charge := self.state.charge_of_key(key)) is not None:
            decision = self.rules.decide_action(
                charge, is_approved=what == "complete", now_ms=self.now_ms
            )
            self.take(decision.record)

    def play(self, requests: list[tuple[object, ...]]) -> None:
        for request in requests:
            match request:
                case ("charge", str(key), str(token), bool(capture)):
                    self.charge(key, token, capture=capture)
                case (ChangeKind() as kind, str(key), str(charge_key), int(amount)):
                    self.change(kind, key, charge_key, amount)
                case (str(what), str(key)):
                    self.other(what, key)
                case _:
                    raise AssertionError(request)


def test_charges_wait_for_the_buyer_until_the_buyer_has_decided() -> None:
    """The page lists pending charges, newest first, and each leaves the list when it is decided."""
    desk = Desk()
    for key in ("a", "b", "c", "d"):
        desk.charge(key, "tok_3ds")
    desk.charge("e", "tok_approve")
    page = Pages("sandbox").charges(desk.state, Scenario())
    assert page.count('<td class="requires_action">requires_action</td>') == 4
    desk.other("complete", "b")
    desk.other("fail", "c")
    assert [charge.key for charge in desk.state.waiting()] == ["d", "a"]
    desk.other("cancel", "a")
    desk.other("complete", "d")
    assert list(desk.state.waiting()) == []
    assert "Waiting for the buyer" not in Pages("sandbox").charges(desk.state, Scenario())


@given(requests=st.lists(charges | changes | others, max_size=60))
def test_no_mix_of_requests_moves_more_money_than_was_authorized(
    requests: list[tuple[object, ...]],
) -> None:
    """Refunded <= captured <= amount for every charge, and the totals are the sums of the rows."""
    desk = Desk()
    desk.play(requests)
    rows = list(desk.state.oracle_rows())
    assert all(0 <= row.refunded <= row.captured <= row.amount for row in rows)
    assert all(row.captured == 0 for row in rows if row.status != ChargeStatus.CAPTURED)
    assert len({row.key for row in rows}) == len(rows)
    totals = desk.state.totals()
    usd = totals.by_currency.get("USD")
    assert (usd.captured if usd else 0) == sum(row.captured for row in rows)
    assert (usd.refunded if usd else 0) == sum(row.refunded for row in rows)
    for status in ("captured", "authorized", "declined", "voided"):
        assert totals.by_status[status] == sum(row.status == status for row in rows)


@given(requests=st.lists(charges | changes | others, max_size=60))
def test_a_replay_of_the_log_gives_the_same_books(requests: list[tuple[object, ...]]) -> None:
    """The records alone rebuild the oracle, the settlement report and every key's answer."""
    desk = Desk()
    desk.play(requests)
    again = SandboxState(seed=5)
    for record in desk.records:
        again.apply(record)
    assert list(again.oracle_rows()) == list(desk.state.oracle_rows())
    assert list(again.settlement_rows(0)) == list(desk.state.settlement_rows(0))
    assert again.totals() == desk.state.totals()
    replayed = SandboxRules(again, public_url="")
    for key in [*KEYS, *(f"op.{n}" for n in range(8))]:
        now_ms = desk.now_ms
        assert replayed.answer_of_key(key, now_ms=now_ms) == desk.rules.answer_of_key(
            key, now_ms=now_ms
        )


@given(requests=st.lists(charges | changes | others, max_size=60))
def test_settlement_lines_come_oldest_movement_first(requests: list[tuple[object, ...]]) -> None:
    """Each charge that moved money has one line, in the order of the last movements."""
    desk = Desk()
    desk.play(requests)
    lines = list(desk.state.settlement_rows(0))
    assert [line.at for line in lines] == sorted(line.at for line in lines)
    moved = {row.key for row in desk.state.oracle_rows() if row.captured > 0}
    assert sorted(line.key for line in lines) == sorted(moved)


def test_the_oracle_is_read_from_any_row_on() -> None:
    """``after`` skips exactly the rows already seen."""
    desk = Desk()
    for key in KEYS:
        desk.charge(key, "tok_approve")
    assert [row.n for row in desk.state.oracle_rows(after=2)] == [3, 4]
    assert list(desk.state.oracle_rows(after=9)) == []


def test_a_second_charge_under_a_key_is_a_defect() -> None:
    """A record that contradicts the books stops the simulator instead of changing them."""
    desk = Desk()
    desk.charge("key.0", "tok_approve")
    with pytest.raises(InvariantViolation):
        desk.state.apply(desk.records[0])
    with pytest.raises(InvariantViolation):
        desk.state.apply(BurnRecord(key="key.0", at_ms=1))
    assert desk.state.totals().by_currency["USD"].captured == 100


@pytest.mark.parametrize(
    ("amount_minor", "fee"),
    [(0, 0), (33, 0), (34, 1), (100, 2), (300, 4), (1_000, 15), (2**53 - 1, 135_107_988_821_115)],
)
def test_the_psps_fee_is_exact_and_rounded_half_to_even(amount_minor: int, fee: int) -> None:
    """1.5 % in whole minor units: 1.5 becomes 2, 4.5 becomes 4."""
    assert SettlementFee().of(amount_minor) == fee


def test_times_are_exact_to_the_millisecond() -> None:
    """A stored time comes back as it was, without a float in between."""
    assert instant(1_767_323_045_678).isoformat() == "2026-01-02T03:04:05.678000+00:00"
