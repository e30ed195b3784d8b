"""Operations in the book: no mix of captures, refunds, voids, duplicates and crashes moves money twice."""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from payments import operations
from payments.attempts import PspAnswer, ResultClass
from payments.disputes import DisputeState
from payments.event_judging import answer_of
from payments.event_rows import EventVerdict
from payments.lifecycle import PaymentEvent, PaymentState, next_state
from payments.next_step import KEY_LIFETIME_MARGIN
from payments.open_order import CallAnswer, PspCall
from payments.operation_kinds import OperationEvent, OperationKind
from payments.operations import OPERATIONS_EXHAUSTED, OPERATIONS_MAX
from payments.psp_events import PspEvent
from payments.rows import TimerKind, TransferKind
from payments.transfers import OF_HOLDS, Effect
from tests.fakes.fake_ledger import FakeLedger
from tests.operated import OperatedPsp, an_operation
from tests.scenario import KEY_LIFETIME_S, POLICY, BookWorld, Deed, an_order

AUTOMATIC = an_order(0, amount_minor=1_000)
MANUAL = an_order(1, amount_minor=1_000)._replace(captures_manually=True, fee_minor=33)
OTHER_MANUAL = an_order(2, amount_minor=7)._replace(captures_manually=True, fee_minor=5)
PAYMENTS = (AUTOMATIC, MANUAL, OTHER_MANUAL)
AMOUNTS = (None, 1, 3, 400, 700, 1_000, 5_000)
KINDS = (OperationKind.CAPTURE, OperationKind.VOID, OperationKind.REFUND)
KEY_SENT_FOR = timedelta(seconds=KEY_LIFETIME_S) - KEY_LIFETIME_MARGIN
AN_AUTHORIZATIONS_LIFE_S = float(POLICY.authorization_s_max + 1)

numbers = st.integers(0, 20)
steps = st.one_of(
    st.tuples(
        st.just("ask"),
        st.sampled_from(KINDS),
        st.sampled_from(PAYMENTS),
        st.integers(0, 3),
        st.sampled_from(AMOUNTS),
        st.booleans(),
    ),
    st.tuples(st.just("call"), numbers, st.sampled_from(Deed), st.booleans()),
    st.tuples(st.just("call"), numbers, st.just(Deed.CHARGE), st.just(False)),
    st.tuples(st.just("stray"), numbers, st.sampled_from(Deed), st.booleans()),
    st.tuples(st.just("repeat"), numbers),
    st.tuples(st.just("dispute"), st.sampled_from(PAYMENTS), st.sampled_from(DisputeState)),
    st.tuples(st.just("tell"), numbers, st.booleans()),
    st.tuples(st.just("wait"), st.sampled_from((1.0, 600.0, AN_AUTHORIZATIONS_LIFE_S))),
    st.tuples(st.just("crash")),
)


class Life:
    """Plays random steps on payments whose charges are done, and looks at the books after each."""

    def __init__(self) -> None:
        self.psp = OperatedPsp()
        self.world = BookWorld(psp=self.psp)
        self.world.post(*PAYMENTS)
        for call in list(self.world.calls):
            self.world.carry_out(call, Deed.CHARGE)
        self.heard: list[CallAnswer] = []
        self.told: list[PspEvent] = []
        """What the PSP tells of disputes: it may come late, again, and in any order."""

    def tell(self, event: PspEvent, *, is_lost: bool = False) -> None:
        """Let a gateway queue an event, and the owner's desk look at those that wait."""
        self.world.take(psp_events=[event])
        found = FakeLedger.due_events_in(self.world.books, [0], 100, 86_400.0)
        offered = [answer_of(each) for each in found if each.order_no is not None]
        self.world.take(answers=offered, is_lost=is_lost)

    def step(self, step: tuple[object, ...]) -> None:
        world = self.world
        match step:
            case ("ask", OperationKind() as kind, payment, int(n), amount_minor, bool(is_lost)):
                asked = an_operation(kind, payment, n, amount_minor)  # type: ignore[arg-type]  # a drawn value
                world.take(operations=[asked], is_lost=is_lost)
            case ("call", int(n), Deed() as deed, bool(is_lost)) if world.calls:
                call = world.calls[n % len(world.calls)]
                self.heard.append(world.carry_out(call, deed, is_lost=is_lost))
            case ("stray", int(n), Deed() as deed, bool(is_heard)) if world.stray_calls:
                call = world.stray_calls.pop(n % len(world.stray_calls))
                answer = world.psp.carry_out(call, deed, world.now)
                if is_heard:
                    world.take(answers=[world.answer(call, answer)])
            case ("repeat", int(n)) if self.heard:
                world.take(answers=[self.heard[n % len(self.heard)]])
            case ("dispute", payment, DisputeState() as state):
                event = self.psp.dispute(payment, state, world.now)  # type: ignore[arg-type]  # a drawn value
                self.told += [] if event is None else [event]
            case ("tell", int(n), bool(is_lost)) if self.told:
                self.tell(self.told[n % len(self.told)], is_lost=is_lost)
            case ("wait", float(seconds)):
                world.wait(seconds)
            case ("crash",):
                world.claim()
            case _:
                pass
        check(self)

    def settle(self) -> None:
        """Let the PSP do and tell everything that is asked, until nothing is open."""
        for _ in range(40 + 2 * self.world.book.open_count):
            if self.world.calls:
                self.world.carry_out(self.world.calls[0], Deed.CHARGE)
            elif self.world.book.open_count:
                self.world.wait(600.0)
            else:
                break
        for event in self.told:
            self.world.wait(10.0)
            self.tell(event)
        check(self)
        for order in self.world.book.open_orders():
            # Its key is too old to be sent, and nobody knows whether it ran: a person has to say.
            is_old = self.world.now - order.attempt.created_at > KEY_SENT_FOR
            waits = order.status is PaymentState.CREATED
            assert waits or (is_old and not order.is_outcome_known)
            assert order.attempt.psp_key not in self.psp.done


def check(life: Life) -> None:
    """The books fold, no rule of the PSP was ever needed, and nothing is above what it is a part of."""
    books = life.world.books
    assert life.psp.refused == 0, "the books let something through that the PSP had to refuse"
    debits: Counter[int] = Counter()
    credited: Counter[int] = Counter()
    pending: Counter[int] = Counter()
    for transfer, _ in books.transfers.values():
        effect = OF_HOLDS.get(TransferKind(transfer.kind), Effect(posted=1, pending=0))
        debits[transfer.debit_account_no] += effect.posted * transfer.amount_minor
        credited[transfer.credit_account_no] += effect.posted * transfer.amount_minor
        pending[transfer.debit_account_no] += effect.pending * transfer.amount_minor
        pending[-transfer.credit_account_no] += effect.pending * transfer.amount_minor
    for (_, account_no), head in books.slices.items():
        assert head.debits_posted_minor == debits[account_no]
        assert head.credits_posted_minor == credited[account_no]
        assert head.debits_pending_minor == pending[account_no] >= 0
        assert head.credits_pending_minor == pending[-account_no] >= 0
    for key, stands in books.standings.items():
        order = books.orders[key]
        assert 0 <= stands.refunded_minor <= stands.captured_minor <= order.amount_minor
        assert 0 <= stands.fee_taken_minor <= min(order.fee_minor, stands.captured_minor)
    _events_are_paths(life.world)


def _events_are_paths(world: BookWorld) -> None:
    """Each object's events are gapless from 1, and a payment's lead to where it stands."""
    books = world.books
    by_order: dict[int, list[int]] = defaultdict(list)
    for (_, order_no, sequence), event in sorted(books.events.items()):
        by_order[order_no].append(event.type)
        assert sequence == len(by_order[order_no])
    for key, (row, _) in books.operations.items():
        kind = OperationKind(row.kind)
        expected = [OperationEvent.created(kind)]
        if key in books.outcomes:
            is_done = books.outcomes[key][0].status == PaymentState.SUCCEEDED
            expected.append(OperationEvent.ended(kind, is_done=is_done))
        assert by_order[key[1]] == expected
    for key, stands in books.standings.items():
        status = PaymentState.CREATED
        for happened in by_order[key[1]]:
            status = next_state(status, PaymentEvent(happened))
        assert (status, len(by_order[key[1]])) == (stands.status, stands.event_sequence)


@settings(max_examples=100)
@given(st.lists(steps, max_size=30))
def test_whatever_happens_the_ledger_is_what_the_psp_did(drawn: list[tuple[object, ...]]) -> None:
    """Captured less refunded at the PSP is what the ledger says it owes, for every life of a payment."""
    life = Life()
    for step in drawn:
        life.step(step)
    life.settle()
    books, psp = life.world.books, life.psp
    for payment in PAYMENTS:
        key = books.order_keys[payment.order_uuid]
        stands, truth = books.standings.get(key), psp.held[payment.order_uuid]
        if stands is None:
            assert truth.captured_minor == payment.amount_minor
            assert (truth.refunded_minor, payment.captures_manually) == (0, False)
            assert truth.taken_minor == 0
            continue
        assert stands.captured_minor == truth.captured_minor
        assert stands.refunded_minor == truth.refunded_minor
        assert stands.disputed_minor == truth.taken_minor
        assert stands.is_held == (
            payment.captures_manually
            and not truth.is_released
            and truth.captured_minor < truth.amount_minor
        )
    receivable = next(
        head
        for (_, account_no), head in books.slices.items()
        if any(
            number == account_no and named[1].kind.name == "PSP_RECEIVABLE"
            for named, number in books.accounts.items()
        )
    )
    owed_minor = sum(
        each.captured_minor
        - each.refunded_minor
        - (each.taken_minor if each.dispute is DisputeState.LOST else 0)
        for each in psp.held.values()
    )
    assert receivable.debits_posted_minor - receivable.credits_posted_minor == owed_minor
    held_minor = sum(
        books.orders[key].amount_minor - stands.captured_minor
        for key, stands in books.standings.items()
        if stands.is_held
    )
    assert receivable.debits_pending_minor == held_minor


def test_a_disputed_amount_is_held_and_goes_to_whoever_won() -> None:
    """Opened, won and lost move it once each, also told twice, late, or the end before the beginning."""
    for states, kinds, posted in (
        ((1, 2), [TransferKind.DISPUTE, TransferKind.DISPUTE_WON], 912),
        ((1, 3), [TransferKind.DISPUTE, TransferKind.DISPUTE_LOST], -88),
        ((3, 1), [TransferKind.DISPUTE, TransferKind.DISPUTE_LOST], -88),
    ):
        life = Life()
        events = {
            state: life.psp.dispute(AUTOMATIC, state, life.world.now)
            for state in (DisputeState.OPENED, DisputeState(max(states)))
        }
        for state in (*states, *states):
            event = events[DisputeState(state)]
            assert event is not None
            life.tell(event)
        (number,) = (key[1] for key in life.world.books.disputes)
        moved = sorted(key for key in life.world.books.transfers if key[1] == number)
        assert [life.world.books.transfers[key][0].kind for key in moved] == kinds
        wallet = next(
            head
            for (_, no), head in life.world.books.slices.items()
            if any(
                named.kind.name == "WALLET" and at == no
                for (_, named), at in life.world.books.accounts.items()
            )
        )
        assert wallet.credits_posted_minor - wallet.debits_posted_minor == posted
        results = [row.result for row in life.world.books.psp_events.results.values()]
        assert EventVerdict.APPLIED in results
        assert EventVerdict.CONTRADICTS not in results


def test_a_dispute_under_an_operations_key_changes_nothing() -> None:
    """A provider that names the refund where it means the charge contradicts itself, and stops no partition."""
    life = Life()
    refund = an_operation(OperationKind.REFUND, AUTOMATIC, 1, 400)
    life.world.take(operations=[refund])
    life.world.carry_out(life.world.calls[0], Deed.CHARGE)
    event = life.psp.dispute(AUTOMATIC, DisputeState.OPENED, life.world.now)
    assert event is not None
    life.tell(event._replace(order_uuid=refund.operation_uuid))
    (result,) = life.world.books.psp_events.results.values()
    assert (result.result, result.detail) == (EventVerdict.CONTRADICTS, "its key is no charge's")
    assert life.world.books.disputes == {}
    life.tell(event._replace(event_uuid=UUID(int=1)))
    assert len(life.world.books.disputes) == 1


def test_a_disputed_amount_is_not_refunded() -> None:
    """What a dispute holds is not the seller's to give back."""
    life = Life()
    event = life.psp.dispute(AUTOMATIC, DisputeState.OPENED, life.world.now)
    assert event is not None
    life.tell(event)
    decided = life.world.take(operations=[an_operation(OperationKind.REFUND, AUTOMATIC, 1, 1)])
    assert [outcome.failure_code for outcome in decided.outcomes] == ["refund_exceeds_captured"]


@pytest.mark.parametrize("kind", [OperationKind.REFUND, OperationKind.CAPTURE, OperationKind.VOID])
def test_an_operation_whose_key_is_canceled_has_failed(kind: OperationKind) -> None:
    """Nothing was done, so its answer is no 201, and what it was to move can be asked for again."""
    life = Life()
    payment = AUTOMATIC if kind is OperationKind.REFUND else MANUAL
    life.world.take(operations=[an_operation(kind, payment, 1)])
    (call,) = life.world.calls
    canceled = life.world.answer(call, PspAnswer(result=ResultClass.CANCELED))
    (outcome,) = life.world.take(answers=[canceled]).outcomes
    assert (outcome.status, outcome.failure_code) == (PaymentState.FAILED, "psp_unavailable")
    assert outcome.amount_captured_minor == 0
    life.world.take(operations=[an_operation(kind, payment, 2)])
    life.world.carry_out(life.world.calls[0], Deed.CHARGE)
    again = life.world.books.operation_keys[an_operation(kind, payment, 2).operation_uuid]
    assert life.world.books.outcomes[again][0].status == PaymentState.SUCCEEDED


def test_a_refund_in_flight_counts_against_the_next_one() -> None:
    """What is on its way back can't be given back twice, however the first one ends."""
    life = Life()
    first = an_operation(OperationKind.REFUND, AUTOMATIC, 1, 700)
    second = an_operation(OperationKind.REFUND, AUTOMATIC, 2, 400)
    life.world.take(operations=[first])
    decided = life.world.take(operations=[second])
    assert [outcome.failure_code for outcome in decided.outcomes] == ["refund_exceeds_captured"]
    assert [call.operation and call.operation.amount_minor for call in life.world.calls] == [700]


def test_captures_and_voids_take_turns_in_the_order_of_intake() -> None:
    """A void that comes behind a capture waits for it, and is refused once the capture is done."""
    life = Life()
    capture = an_operation(OperationKind.CAPTURE, MANUAL, 1, 400)
    void = an_operation(OperationKind.VOID, MANUAL, 2)
    life.world.take(operations=[capture, void])
    assert len(life.world.calls) == 1
    life.world.claim()
    (call,) = life.world.calls
    life.world.carry_out(call, Deed.CHARGE)
    books = life.world.books
    outcome = books.outcomes[books.operation_keys[void.operation_uuid]][0]
    assert outcome.failure_code == "payment_not_authorized"
    stands = books.standings[books.order_keys[MANUAL.order_uuid]]
    assert (stands.status, stands.captured_minor) == (PaymentState.PARTIALLY_CAPTURED, 400)
    assert life.world.book.open_count == 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_crowd_of_operations_is_bounded_by_their_owner(kind: OperationKind) -> None:
    """Two thousand at once, which no gateway could count: those above the limit are refused, and nothing else."""
    life = Life()
    payment = AUTOMATIC if kind is OperationKind.REFUND else MANUAL
    asked = [an_operation(kind, payment, number, 1) for number in range(2_000)]
    decided = life.world.take(operations=asked)
    refused = Counter(outcome.failure_code for outcome in decided.outcomes)
    assert refused == {OPERATIONS_EXHAUSTED: 2_000 - OPERATIONS_MAX}
    assert len(life.world.calls) == (OPERATIONS_MAX if kind is OperationKind.REFUND else 1)
    late = life.world.take(operations=[an_operation(kind, payment, 2_001, 1)])
    assert [outcome.failure_code for outcome in late.outcomes] == [OPERATIONS_EXHAUSTED]
    repeated = life.world.take(operations=[asked[0], asked[-1]])
    assert repeated.outcomes == []
    life.settle()
    ends = Counter(outcome.failure_code for outcome, _ in life.world.books.outcomes.values())
    assert ends[OPERATIONS_EXHAUSTED] == 2_001 - OPERATIONS_MAX
    truth = life.psp.held[payment.order_uuid]
    stands = life.world.books.standings[life.world.books.order_keys[payment.order_uuid]]
    assert (stands.captured_minor, stands.refunded_minor) == (
        truth.captured_minor,
        truth.refunded_minor,
    )


def test_many_that_wait_are_refused_in_one_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many wait for their turn behind what takes it all, their ends are no nest of calls."""
    monkeypatch.setattr(operations, "OPERATIONS_MAX", 10_000)
    waiting = sys.getrecursionlimit()
    life = Life()
    capture_all = an_operation(OperationKind.CAPTURE, MANUAL, 0)
    many = [an_operation(OperationKind.CAPTURE, MANUAL, n, 1) for n in range(1, waiting + 1)]
    life.world.take(operations=[capture_all, *many])
    assert life.world.book.open_count == waiting + 1
    life.world.carry_out(life.world.calls[0], Deed.CHARGE)
    assert life.world.book.open_count == 0
    ends = Counter(outcome.failure_code for outcome, _ in life.world.books.outcomes.values())
    assert ends["payment_not_authorized"] == waiting
    assert life.world.calls == []


def test_an_authorization_is_given_back_however_much_was_done_to_it() -> None:
    """The limit is for what storefronts ask: it never keeps a buyer's money held."""
    life = Life()
    many = [an_operation(OperationKind.REFUND, MANUAL, n, 1) for n in range(OPERATIONS_MAX + 1)]
    life.world.take(operations=many)
    life.world.wait(AN_AUTHORIZATIONS_LIFE_S)
    life.settle()
    stands = life.world.books.standings[life.world.books.order_keys[MANUAL.order_uuid]]
    assert stands.status == PaymentState.EXPIRED
    assert life.psp.held[MANUAL.order_uuid].is_released


def test_the_whole_fee_is_taken_once_all_is_captured() -> None:
    """Each capture takes its part of the fee, rounded down, and the last one what is left of it."""
    life = Life()
    for number, amount_minor in enumerate((1, 3, None)):
        life.world.take(
            operations=[an_operation(OperationKind.CAPTURE, OTHER_MANUAL, number, amount_minor)]
        )
        life.world.carry_out(life.world.calls[0], Deed.CHARGE)
    fees = [
        transfer.amount_minor
        for (_, order_no, _), (transfer, _) in sorted(life.world.books.transfers.items())
        if transfer.kind == TransferKind.FEE and (0, order_no) in life.world.books.operations
    ]
    # 5 of 7: 0 of the first unit, 2 of four, 5 of all.
    assert fees == [2, 3]
    stands = life.world.books.standings[life.world.books.order_keys[OTHER_MANUAL.order_uuid]]
    assert (stands.status, stands.fee_taken_minor) == (PaymentState.SUCCEEDED, 5)


def test_an_authorization_is_given_back_when_its_time_is_over() -> None:
    """Nothing of it is in memory until then; what was captured stays captured."""
    life = Life()
    life.world.take(operations=[an_operation(OperationKind.CAPTURE, MANUAL, 1, 400)])
    life.world.carry_out(life.world.calls[0], Deed.CHARGE)
    assert life.world.book.open_count == 0
    life.world.claim()
    life.world.wait(AN_AUTHORIZATIONS_LIFE_S)
    assert sorted(call.operation.kind for call in life.world.calls if call.operation) == [
        OperationKind.EXPIRY,
        OperationKind.EXPIRY,
    ]
    life.settle()
    books = life.world.books
    of_part = books.standings[books.order_keys[MANUAL.order_uuid]]
    of_none = books.standings[books.order_keys[OTHER_MANUAL.order_uuid]]
    assert (of_part.status, of_part.captured_minor) == (PaymentState.SUCCEEDED, 400)
    assert (of_none.status, of_none.captured_minor) == (PaymentState.EXPIRED, 0)
    assert books.timers == {}


def test_an_operation_never_goes_to_another_psp() -> None:
    """It is bound to its payment's charge, also where a charge would fall back."""
    world = BookWorld(psps=("psp", "other"), psp=OperatedPsp())
    world.post(AUTOMATIC)
    world.carry_out(world.calls[0], Deed.CHARGE)
    world.take(operations=[an_operation(OperationKind.REFUND, AUTOMATIC, 1)])
    for _ in range(5):
        if not world.calls:
            world.wait(60.0)
        world.carry_out(world.calls[0], Deed.REFUSE)
    psps = {attempt.psp for attempt, _ in world.books.attempts.values()}
    assert psps == {"psp"}


def test_what_is_parked_counts_as_in_flight() -> None:
    """An operation that ends its host is in nobody's memory, and may have run all the same."""
    life = Life()
    stuck = an_operation(OperationKind.REFUND, AUTOMATIC, 1, 700)
    capture = an_operation(OperationKind.CAPTURE, MANUAL, 1, 400)
    life.world.take(operations=[stuck, capture])
    books = life.world.books
    for operation in (stuck, capture):
        books.parked[books.operation_keys[operation.operation_uuid]] = ("kills_host", "")
    life.world.claim()
    assert life.world.book.open_count == 0
    refund = an_operation(OperationKind.REFUND, AUTOMATIC, 2, 400)
    void = an_operation(OperationKind.VOID, MANUAL, 2)
    decided = life.world.take(operations=[refund, void])
    assert [outcome.failure_code for outcome in decided.outcomes] == ["refund_exceeds_captured"]
    assert life.world.calls == []


def test_a_tainted_operation_keeps_its_key() -> None:
    """An operation that may have run ends by an answer to its own key alone."""
    life = Life()
    life.world.take(operations=[an_operation(OperationKind.REFUND, AUTOMATIC, 1, 300)])
    life.world.carry_out(life.world.calls[0], Deed.CHARGE_SILENTLY)
    life.world.claim()
    life.settle()
    keys = {key for key, (answer, _) in life.psp.done.items() if answer.result}
    assert len(keys) == 1
    assert life.psp.held[AUTOMATIC.order_uuid].refunded_minor == 300


def test_a_key_names_one_operation() -> None:
    """A repetition is dropped; the same key with another body is kept as refused, and does nothing."""
    life = Life()
    asked = an_operation(OperationKind.REFUND, AUTOMATIC, 1, 300)
    other = an_operation(OperationKind.REFUND, AUTOMATIC, 1, 200)
    life.world.take(operations=[asked, asked])
    decided = life.world.take(operations=[other])
    assert [row.fingerprint for row in decided.refused] == [other.fingerprint]
    assert len(life.world.books.operations) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_payment_that_never_succeeded_is_refused(kind: OperationKind) -> None:
    """There is nothing to capture, void or refund of a declined payment, and no PSP is asked."""
    world = BookWorld(psp=OperatedPsp())
    world.post(MANUAL)
    world.carry_out(world.calls[0], Deed.DECLINE)
    decided = world.take(operations=[an_operation(kind, MANUAL, 1)])
    assert [row.status for row in decided.outcomes] == [PaymentState.FAILED]
    assert world.calls == []


def test_an_approval_of_another_amount_is_booked_nowhere() -> None:
    """It stays unknown, is asked again, and is left to a person."""
    life = Life()
    life.world.take(operations=[an_operation(OperationKind.REFUND, AUTOMATIC, 1, 300)])
    call: PspCall = life.world.calls[0]
    answer = life.psp.carry_out(call, Deed.CHARGE, life.world.now)
    wrong = replace_amount(life.world.answer(call, answer), 299)
    decided = life.world.take(answers=[wrong])
    assert decided.outcomes == []
    assert [row.is_outcome_known for row in decided.progress] == [False]
    assert [row.kind for row in decided.timers] == [TimerKind.QUERY]


def replace_amount(answered: CallAnswer, amount_minor: int) -> CallAnswer:
    """The same answer, with another amount."""
    assert answered.answer.result is ResultClass.APPROVED
    return answered._replace(answer=answered.answer._replace(captured_minor=amount_minor))


def test_the_policy_says_how_long_an_authorization_is_kept() -> None:
    """The timer of an authorization comes when the policy says."""
    world = BookWorld(replace(POLICY, authorization_s_max=60), psp=OperatedPsp())
    world.post(MANUAL)
    world.carry_out(world.calls[0], Deed.CHARGE)
    (timer,) = world.books.timers.values()
    assert timer.kind == TimerKind.EXPIRE
    assert (timer.due_at - world.now).total_seconds() == 60
