"""Orders among several PSPs: whatever happens in which order, no second key follows one that may charge."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from payments.attempts import ResultClass
from payments.identity import psp_key
from payments.lifecycle import PaymentState
from payments.open_order import CallAnswer, PspCall
from payments.retry_policy import RetryPolicy, RetryRule, Strategy
from payments.rows import TimerKind
from tests.scenario import POLICY, BookWorld, Deed, an_order

PSPS = ("a", "b", "c")
ORDERS = [an_order(number, amount_minor=100 + number) for number in range(3)]
WAITS_S = (0.05, 1.0, 6.0, 40.0, 1_000.0, 40_000.0, 84_000.0)

# Where a charge takes two sends.
PREPARING = (frozenset[str](), frozenset({"a"}), frozenset(PSPS))

POLICIES = (
    POLICY,
    replace(POLICY, fallback_tries=1, attempts_max=3),
    replace(
        POLICY,
        unknown=RetryRule(strategy=Strategy.CANCEL),
        not_sent=RetryRule(strategy=Strategy.INCREMENTAL, first_ms=50, count_max=4),
        soft_decline=RetryRule(strategy=Strategy.CANCEL),
    ),
    replace(POLICY, psp_down=RetryRule(strategy=Strategy.FIXED, first_ms=10, age_s_max=30)),
)

numbers = st.integers(0, 20)


class Outcomes(RuleBasedStateMachine):
    """An owner and its successors, three PSPs that fail in every way, and the books."""

    def __init__(self) -> None:
        super().__init__()
        self.begin(POLICY)

    def begin(self, policy: RetryPolicy, preparing: frozenset[str] = frozenset()) -> None:
        self.world = BookWorld(policy, psps=PSPS, preparing=preparing)
        self.heard: list[CallAnswer] = []
        self.doubtful: set[str] = set()
        """Keys of sends that nobody heard the end of."""

    @precondition(lambda self: not self.world.books.orders)
    @rule(policy=st.sampled_from(POLICIES), preparing=st.sampled_from(PREPARING))
    def choose(self, policy: RetryPolicy, preparing: frozenset[str]) -> None:
        self.begin(policy, preparing)

    @rule(chosen=st.lists(st.integers(0, 2), min_size=1), is_lost=st.booleans())
    def post(self, chosen: list[int], is_lost: bool) -> None:
        self.world.take(commands=[ORDERS[n] for n in chosen], is_lost=is_lost)

    @precondition(lambda self: self.world.calls)
    @rule(n=numbers, deed=st.sampled_from(Deed), is_lost=st.booleans())
    def call(self, n: int, deed: Deed, is_lost: bool) -> None:
        call = self.world.calls[n % len(self.world.calls)]
        self._note_doubt(call, deed)
        self.heard.append(self.world.carry_out(call, deed, is_lost=is_lost))

    @precondition(lambda self: self.world.stray_calls)
    @rule(n=numbers, deed=st.sampled_from(Deed))
    def stray(self, n: int, deed: Deed) -> None:
        """A frozen owner's call reaches its PSP late, and nobody hears of it."""
        call = self.world.stray_calls.pop(n % len(self.world.stray_calls))
        self.world.psp.carry_out(call, deed, self.world.now)

    @precondition(lambda self: self.world.calls)
    @rule(n=numbers)
    def breaker_refuses(self, n: int) -> None:
        self.world.refuse(self.world.calls[n % len(self.world.calls)])

    @rule(refusing=st.frozensets(st.sampled_from(PSPS)))
    def breakers(self, refusing: frozenset[str]) -> None:
        self.world.refusing = refusing

    @precondition(lambda self: self.heard)
    @rule(n=numbers)
    def repeat(self, n: int) -> None:
        self.world.take(answers=[self.heard[n % len(self.heard)]])

    @rule(seconds=st.sampled_from(WAITS_S))
    def wait(self, seconds: float) -> None:
        self.world.wait(seconds)

    @rule()
    def take_over(self) -> None:
        self.world.claim()

    def _note_doubt(self, call: PspCall, deed: Deed) -> None:
        is_proof = deed in (Deed.REFUSE, Deed.DECLINE, Deed.DECLINE_SOFTLY)
        if call.step is TimerKind.SEND and not is_proof and self._may_charge(call):
            self.doubtful.add(call.attempt.psp_key)

    def _may_charge(self, call: PspCall) -> bool:
        """Whether a send runs anything: the first half of one that takes two does not."""
        return call.psp_reference is not None or call.attempt.psp not in self.world.psps.preparing

    # --- what must hold ------------------------------------------------------------------------------

    @invariant()
    def nobody_is_charged_twice(self) -> None:
        assert all(count <= 1 for count in self.world.psp.charges.values())

    @invariant()
    def no_key_follows_one_that_may_charge(self) -> None:
        """A second attempt exists only where the first was declined or canceled for good, or never left."""
        world = self.world
        sent_by_others = {
            call.attempt.psp_key
            for call in world.stray_calls
            if call.step is TimerKind.SEND and self._may_charge(call)
        }
        for _, order_no, attempt_no in world.books.attempts:
            if attempt_no == 1:
                continue
            order_uuid = world.books.orders[0, order_no].order_uuid
            before = psp_key(order_uuid, attempt_no - 1)
            known, _ = world.psp.keys.get(before, (None, None))
            is_over = known in (ResultClass.DECLINED_FINAL, ResultClass.CANCELED)
            is_unsent = known is None and before not in self.doubtful | sent_by_others
            assert is_over or is_unsent, f"{order_no}: attempt {attempt_no} after {known}"

    @invariant()
    def no_charge_runs_under_a_reference_that_is_not_in_the_books(self) -> None:
        """A second half has left, or is about to, only once what it names was written."""
        written = {
            row.order_no: row.psp_reference for row in self.world.books.open_order_records(0)
        }
        for call in self.world.calls:
            if call.psp_reference is not None:
                assert written[call.order_no] == call.psp_reference

    @invariant()
    def outcomes_are_the_truth(self) -> None:
        world = self.world
        for outcome, _ in world.books.outcomes.values():
            order = world.books.orders[outcome.partition_index, outcome.order_no]
            is_charged = world.psp.charges[order.order_uuid] == 1
            assert is_charged == (outcome.status == PaymentState.SUCCEEDED)

    @invariant()
    def every_open_order_has_a_next_step(self) -> None:
        world = self.world
        calling = {call.order_no for call in world.calls}
        for order in world.book.open_orders():
            timer = world.books.timers.get((0, order.order_no))
            # Only parked orders are resumed: such a timer of another one would never be looked at.
            is_timed = timer is not None and (
                timer.kind != TimerKind.RESUME or order.parked is not None
            )
            assert is_timed or order.order_no in calling
            assert (order.parked is None) or order.next_retry_at is not None

    @invariant()
    def limits_are_kept(self) -> None:
        world = self.world
        counts = Counter(order_no for _, order_no, _ in world.books.attempts)
        # A key that grew too old is replaced at its own PSP as well, once in a key's lifetime.
        assert all(count <= world.policy.attempts_max + 8 for count in counts.values())
        parked = {order.order_no for order in world.book.parked_orders()}
        assert parked == {order.order_no for order in world.book.open_orders() if order.parked}


Outcomes.TestCase.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
TestOutcomes = Outcomes.TestCase
