"""The book: no mix of batches, answers, timers, duplicates and crashes creates or loses money."""

from __future__ import annotations

from collections import Counter, defaultdict

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from payments.attempts import PspAnswer, ResultClass
from payments.book import ACCOUNTS_CACHED_MAX, PartitionBook
from payments.decided import Batch
from payments.defects import InvariantViolation
from payments.identity import psp_key
from payments.lifecycle import TERMINAL_STATES, PaymentEvent, PaymentState, next_state
from payments.open_order import CallAnswer, OpenOrder
from payments.rows import TimerKind
from payments.state import PartitionState
from tests.scenario import START, BookWorld, Deed, Psps, an_order, play

ORDERS = [an_order(number, amount_minor=100 + number) for number in range(4)]
WAITS_S = (0.05, 5.0, 1_000.0, 40_000.0, 84_000.0)

numbers = st.integers(0, 20)
steps = st.one_of(
    st.tuples(st.just("post"), st.lists(st.integers(0, 3), min_size=1, max_size=4), st.booleans()),
    st.tuples(st.just("call"), numbers, st.sampled_from(Deed), st.booleans()),
    st.tuples(st.just("stray"), numbers, st.sampled_from(Deed), st.booleans()),
    st.tuples(st.just("repeat"), numbers),
    st.tuples(st.just("act"), st.integers(0, 3)),
    st.tuples(st.just("wait"), st.sampled_from(WAITS_S)),
    st.tuples(st.just("crash")),
)


class Run:
    """Plays random steps on a world, and looks at the books after each."""

    def __init__(self) -> None:
        self.world = BookWorld()
        self.world.post(*ORDERS[:2])
        self.heard: list[CallAnswer] = []

    def step(self, step: tuple[object, ...]) -> None:
        match step:
            case ("post", list(chosen), bool(is_lost)):
                self.world.take(commands=[ORDERS[n] for n in chosen], is_lost=is_lost)
            case ("call", int(n), Deed() as deed, bool(is_lost)) if self.world.calls:
                call = self.world.calls[n % len(self.world.calls)]
                self.heard.append(self.world.carry_out(call, deed, is_lost=is_lost))
            case ("stray", int(n), Deed() as deed, bool(is_heard)) if self.world.stray_calls:
                # A frozen owner's call reaches the PSP late; a host that claimed again may hear of it.
                call = self.world.stray_calls.pop(n % len(self.world.stray_calls))
                answer = self.world.psp.carry_out(call, deed, self.world.now)
                if is_heard:
                    self.world.take(answers=[self.world.answer(call, answer)])
            case ("repeat", int(n)) if self.heard:
                self.world.take(answers=[self.heard[n % len(self.heard)]])
            case ("act", int(n)):
                self.world.psp.buyer_acts(psp_key(ORDERS[n].order_uuid, 1), self.world.now)
            case ("wait", float(seconds)):
                self.world.wait(seconds)
            case ("crash",):
                self.world.claim()
            case _:
                pass
        self.check()

    def check(self) -> None:
        world = self.world
        assert all(count <= 1 for count in world.psp.charges.values()), "charged twice"
        _money_is_conserved(world)
        _events_are_a_path(world)
        for outcome, _ in world.books.outcomes.values():
            order = world.books.orders[outcome.partition_index, outcome.order_no]
            is_charged = world.psp.charges[order.order_uuid] == 1
            assert is_charged == (outcome.status == PaymentState.SUCCEEDED)
        _memory_is_what_the_books_say(world)


def _money_is_conserved(world: BookWorld) -> None:
    """Both halves of every transfer are in the slices, and nothing else is."""
    debits: Counter[int] = Counter()
    credited: Counter[int] = Counter()
    moves: Counter[int] = Counter()
    for transfer, _ in world.books.transfers.values():
        debits[transfer.debit_account_no] += transfer.amount_minor
        credited[transfer.credit_account_no] += transfer.amount_minor
        moves.update((transfer.debit_account_no, transfer.credit_account_no))
    assert debits.total() == credited.total()
    for (_, account_no), head in world.books.slices.items():
        assert head.debits_posted_minor == debits[account_no]
        assert head.credits_posted_minor == credited[account_no]
        assert head.version == moves[account_no]
    paid = [row for row, _ in world.books.outcomes.values() if row.status == 5]
    assert debits.total() == sum(row.amount_captured_minor + row.fee_minor for row in paid)


def _events_are_a_path(world: BookWorld) -> None:
    """An order's events are gapless from 1 and lead where its outcome says."""
    by_order: dict[int, list[PaymentEvent]] = defaultdict(list)
    for (_, order_no, sequence), event in sorted(world.books.events.items()):
        by_order[order_no].append(PaymentEvent(event.type))
        assert sequence == len(by_order[order_no])
    assert by_order.keys() == {order_no for _, order_no in world.books.orders}
    for order_no, events in by_order.items():
        status = PaymentState.CREATED
        for happened in events:
            status = next_state(status, happened)
        outcome = world.books.outcomes.get((0, order_no))
        assert (status in TERMINAL_STATES) == (outcome is not None)
        assert outcome is None or outcome[0].status == status
        assert (outcome is None) == ((0, order_no) in world.books.open_orders)


def _memory_is_what_the_books_say(world: BookWorld) -> None:
    """A new owner would find the same; and every open order has a call on its way or a timer."""
    state = PartitionState(
        head=world.books.partitions[0].head,
        open_orders=world.books.open_order_records(0),
        recorded_at=world.books.now(),
    )
    rebuilt = PartitionBook(state, Psps(), world.policy)
    assert rebuilt.head == world.book.head

    def shown(book: PartitionBook) -> dict[int, OpenOrder]:
        # What an owner saw itself makes an attempt clean; a new owner did not see it.
        return {
            order.order_no: order._replace(attempt=order.attempt._replace(is_tainted=True))
            for order in book.open_orders()
        }

    assert {n: _without_reply(o) for n, o in shown(rebuilt).items()} == {
        n: _without_reply(o) for n, o in shown(world.book).items()
    }
    calling = {call.order_no for call in world.calls}
    timed = {order_no for _, order_no in world.books.timers}
    assert {order.order_no for order in world.book.open_orders()} <= calling | timed


def _without_reply(order: OpenOrder) -> OpenOrder:
    return order._replace(command=order.command._replace(reply_to=""))


# A crash after the charge, and then a call that waits for over a day until the key is forgotten.
HELD_BACK = [
    *(("call", 0, Deed.CHARGE, True), ("wait", 40_000.0), ("wait", 84_000.0)),
    ("call", 0, Deed.CHARGE, False),
]


@given(st.lists(steps, max_size=25))
@example(HELD_BACK)
@settings(max_examples=100, deadline=None)
def test_no_mix_of_events_loses_or_doubles_money(played: list[tuple[object, ...]]) -> None:
    """Whatever comes in which order, each order is charged at most once and the books say so exactly."""
    run = Run()
    for step in played:
        run.step(step)


@given(st.lists(steps, max_size=20))
@example(HELD_BACK)
@example(HELD_BACK[:3])
@settings(max_examples=30, deadline=None)
def test_every_order_ends_once_the_psp_answers(played: list[tuple[object, ...]]) -> None:
    """After the last fault every order ends, except those whose key the PSP has forgotten."""
    run = Run()
    for step in played:
        run.step(step)
    world = run.world
    started = world.now
    for _ in range(60):
        for call in list(world.calls):
            world.carry_out(call, Deed.DECLINE)
        world.wait(60)
    left = list(world.book.open_orders())
    assert all((started - order.attempt.created_at).total_seconds() > 82_000 for order in left)
    run.check()


def test_the_ways_of_a_payment() -> None:
    """The scenarios of the handbook end as it says."""
    play("""
        post O1
        charge O1            => succeeded
        post O2
        charge_silently O2   => open
        wait 1
        charge O2            => succeeded
        post O3
        decline O3           => failed
        post O4
        ask_buyer O4         => open
        act O4
        wait 2
        charge O4            => succeeded
        post O5
        ask_buyer O5
        wait 1000
        vanish O5            => open
        wait 20
        vanish O5            => open
        wait 20
        charge O5            => expired
    """)


def test_a_new_owner_asks_under_the_same_key() -> None:
    """What an owner that died had sent is sent again under its own key, so it is charged once."""
    world = play("""
        post O1
        crash
        charge O1            => succeeded
    """)
    assert set(world.psp.keys) == {psp_key(an_order(1).order_uuid, 1)}


def test_a_clean_attempt_is_renewed_when_its_key_is_old() -> None:
    """An order that surely never ran gets a new key before the old one is forgotten, and runs once."""
    world = BookWorld()
    order = an_order(1)
    world.post(order)
    world.carry_out(world.calls[0], Deed.REFUSE)
    world.wait(23 * 3600 + 1)
    assert [call.attempt.attempt_no for call in world.calls] == [2]
    world.carry_out(world.calls[0], Deed.CHARGE)
    assert world.status_of(order.order_uuid) is PaymentState.SUCCEEDED
    assert world.psp.keys.keys() == {psp_key(order.order_uuid, 2)}


def test_a_day_of_did_not_run_ends_the_order() -> None:
    """An order that no PSP ran for a day fails, although its key was renewed on the way."""
    world = BookWorld()
    order = an_order(1)
    world.post(order)
    for _ in range(26):
        if world.calls:
            world.carry_out(world.calls[0], Deed.REFUSE)
        world.wait(3600)
    assert world.status_of(order.order_uuid) is PaymentState.FAILED
    outcome, _ = world.books.outcomes[0, 1]
    assert outcome.failure_code == "psp_unavailable"
    assert not world.psp.charges


@pytest.mark.parametrize("is_inherited", [False, True])
def test_a_tainted_attempt_has_no_successor(is_inherited: bool) -> None:
    """An attempt with an unknown try, or of an earlier owner, gets no second key, however old it is."""
    world = BookWorld()
    world.post(an_order(1))
    world.carry_out(world.calls[0], Deed.REFUSE if is_inherited else Deed.VANISH)
    if is_inherited:
        world.claim()
    for _ in range(40):
        world.wait(3600)
        if world.calls:
            world.carry_out(world.calls[0], Deed.REFUSE)
    assert {attempt_no for _, _, attempt_no in world.books.attempts} == {1}
    assert world.status_of(an_order(1).order_uuid) is None
    # And the key is not sent when the PSP may have forgotten it.
    assert all(call.step is TimerKind.QUERY for call in world.calls)


def test_a_second_body_is_refused_and_the_same_is_dropped() -> None:
    """Within one batch and against the books: the first body under a key stands."""
    world = BookWorld()
    first, other = an_order(1), an_order(1, amount_minor=5)
    decided = world.post(first, first, other)
    assert (len(decided.orders), len(decided.refused)) == (1, 1)
    decided = world.post(first, other)
    assert (len(decided.orders), len(decided.refused)) == (0, 1)
    assert len(world.calls) == 1


def test_an_answer_to_another_attempt_is_dropped() -> None:
    """What is said of one key says nothing of another."""
    world = BookWorld()
    world.post(an_order(1))
    stale = world.answer(world.calls[0], PspAnswer(result=ResultClass.DECLINED_FINAL))
    decided = world.take(answers=[stale._replace(attempt_no=2), stale._replace(order_no=99)])
    assert not decided.has_rows


def test_an_answer_that_can_not_be_stored_is_cleaned() -> None:
    """What a PSP writes never makes a row that the ledger refuses."""
    world = BookWorld()
    world.post(an_order(1))
    answer = PspAnswer(
        result=ResultClass.DECLINED_FINAL,
        decline_code="no\0funds",
        message="so\ud800rry",
        effective_at=START.replace(tzinfo=None),
    )
    world.take(answers=[world.answer(world.calls[0], answer)])
    outcome, _ = world.books.outcomes[0, 1]
    assert (outcome.decline_code, outcome.failure_message) == ("nofunds", "sorry")
    assert outcome.effective_at is None


def test_a_decision_belongs_to_its_head() -> None:
    """A decision is applied once, and only on the head that it was made on."""
    world = BookWorld()
    decided = world.post(an_order(1))
    with pytest.raises(InvariantViolation):
        world.book.apply(decided)


def test_a_slice_in_memory_is_never_overwritten() -> None:
    """Loading a slice over the one in memory is a defect: the stored one may be older."""
    world = BookWorld()
    world.post(an_order(1))
    world.carry_out(world.calls[0], Deed.CHARGE)
    key = next(iter(key for _, key in world.books.accounts))
    head = world.books.account_head(0, key)
    assert head is not None
    with pytest.raises(InvariantViolation):
        world.book.remember_accounts({key: head})


def test_the_cache_of_slices_is_bounded() -> None:
    """However many sellers there are, memory holds the slices of the last ones; the rest are loaded."""
    world = BookWorld()
    accounts = world.book._accounts
    world.post(an_order(1))
    world.carry_out(world.calls[0], Deed.CHARGE)
    (first, *_), head = list(accounts), next(iter(accounts.values()))
    world.book.remember_accounts(
        {first._replace(holder=f"x{n}"): head for n in range(ACCOUNTS_CACHED_MAX)}
    )
    world.post(an_order(2))
    world.carry_out(world.calls[0], Deed.CHARGE)
    assert len(accounts) <= ACCOUNTS_CACHED_MAX
    _money_is_conserved(world)


def test_nothing_waiting_writes_nothing() -> None:
    """An empty batch has no rows and leaves the head as it is."""
    world = BookWorld()
    decided = world.book.decide(Batch(now=START))
    assert not decided.has_rows
    assert decided.chain_hash == world.book.head.chain_hash
