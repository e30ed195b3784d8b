"""Lives of payments drawn at random: the books, the provider's record and a model of the API's promises agree.

The model (tests/life_model.py) is written from docs/API.md and decides every refusal, state and amount. What ends
is checked against the provider's own record: nothing ends there and not here, or here and not there.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from payments.accounts import AccountKind
from payments.answer import frozen_answer
from payments.commands import OperationCommand, PaymentCommand
from payments.event_judging import answer_of
from payments.event_rows import EventVerdict
from payments.event_types import event_type
from payments.evidence import NOT_CHARGED_CODE
from payments.identity import psp_key
from payments.lifecycle import PaymentState
from payments.next_step import KEY_LIFETIME_MARGIN
from payments.open_order import CallAnswer
from payments.operation_answer import STATUS_WIRES, frozen_operation_answer
from payments.operation_kinds import OperationKind
from payments.operation_rows import OperationRow
from payments.operation_taking import EXPIRY_LOOK_MS
from psp.simulator.charges import Change, Charge
from psp.simulator.wire import ChangeKind, ChargeStatus
from tests.fakes.fake_ledger import FakeLedger
from tests.fakes.fake_operations import stored_operations
from tests.life_model import ModelOperation, ModelPayment
from tests.life_psp import REFUSED_FOR_NO_RULE, SandboxDeeds, SandboxPsps, heard
from tests.operated import an_operation
from tests.scenario import KEY_LIFETIME_S, POLICY, BookWorld, Deed, an_order
from tests.simulation.sim_ledger import stored_order

PAYMENTS = (
    an_order(0, amount_minor=1_000),
    an_order(1, amount_minor=1_000)._replace(captures_manually=True, fee_minor=33),
    an_order(2, amount_minor=7)._replace(captures_manually=True, fee_minor=5),
)
AMOUNTS = (None, 1, 3, 400, 700, 1_000, 5_000)
KINDS = (OperationKind.CAPTURE, OperationKind.VOID, OperationKind.REFUND)
# Mostly well, as it is; nobody is asked to act here, and one PSP's soft declines are its last word.
DEEDS = (*(Deed.CHARGE,) * 3, Deed.CHARGE_SILENTLY, Deed.DECLINE, Deed.REFUSE, Deed.VANISH)
DISPUTES = (ChangeKind.DISPUTE, ChangeKind.DISPUTE_WON, ChangeKind.DISPUTE_LOST)
# No order or operation of a life has more.
ATTEMPT_NOS = range(1, 9)
# Two thousand lives of sixty steps.
LONG_S_MAX = 1_200
KEPT_FOR = timedelta(seconds=POLICY.authorization_s_max)
REACHED_WITHIN = timedelta(seconds=POLICY.not_sent.age_s_max or 0)
KEY_SENT_FOR = timedelta(seconds=KEY_LIFETIME_S) - KEY_LIFETIME_MARGIN
WAITS_S = (1.0, 600.0, 40_000.0, KEPT_FOR.total_seconds() + 1, 4_000.0)

_CHARGED = {
    ChargeStatus.CAPTURED: "succeeded",
    ChargeStatus.AUTHORIZED: "requires_capture",
    ChargeStatus.VOIDED: "requires_capture",
    ChargeStatus.DECLINED: "failed",
}
numbers = st.integers(0, 30)
wishes = st.tuples(st.sampled_from(KINDS), st.integers(0, 5), st.sampled_from(AMOUNTS))


class Lives(RuleBasedStateMachine):
    """An owner and its successors, a provider and its webhooks, storefronts that repeat, and the model."""

    def __init__(self) -> None:
        super().__init__()
        self.psp = SandboxDeeds()
        self.world = BookWorld(psp=self.psp, planner=SandboxPsps())
        self.models: dict[UUID, ModelPayment] = {}
        self.asked: dict[UUID, OperationCommand] = {}
        self.heard: list[CallAnswer] = []
        self.frozen: dict[UUID, object] = {}
        self.verdicts: dict[UUID, str] = {}
        """What the model says of disputes' events that were judged."""
        self.held_since: dict[UUID, datetime] = {}
        self.parked_until = self.world.now

    @initialize(is_paid=st.booleans())
    def begin(self, is_paid: bool) -> None:
        """Half of the lives begin where most of a life is: all payments are answered."""
        if is_paid:
            self.pay([0, 1, 2], is_lost=False, is_other=False)
            for _ in PAYMENTS:
                self.call(0, Deed.CHARGE, is_lost=False)

    # --- storefronts ------------------------------------------------------------------------------------

    @rule(
        chosen=st.lists(st.integers(0, 2), min_size=1),
        is_lost=st.booleans(),
        is_other=st.booleans(),
    )
    def pay(self, chosen: list[int], is_lost: bool, is_other: bool) -> None:
        """Also again; and perhaps with another body, which never runs in the first one's place."""
        orders = [PAYMENTS[n] for n in chosen]
        known = {order.order_uuid for order in orders} <= self.models.keys()
        if is_other and known:
            orders = [an_order(n, amount_minor=55) for n in chosen]
        decided = self.world.take(commands=orders, is_lost=is_lost)
        if is_other and known:
            assert len(decided.refused) == len(orders)
        self.follow()

    @precondition(lambda self: any(map(self._is_answered, PAYMENTS)))
    @rule(n=numbers, wanted=st.lists(wishes, min_size=1, max_size=4), is_lost=st.booleans())
    def ask(
        self, n: int, wanted: list[tuple[OperationKind, int, int | None]], is_lost: bool
    ) -> None:
        """Ask for things to be done to a payment that was answered, some under a key that was used before."""
        answered = [p for p in PAYMENTS if self._is_answered(p)]
        payment = answered[n % len(answered)]
        asked = [an_operation(kind, payment, number, amount) for kind, number, amount in wanted]
        first: dict[UUID, OperationCommand] = {}
        for operation in asked:
            first.setdefault(operation.operation_uuid, operation)
        known = self.asked.keys() & first.keys()
        decided = self.world.take(operations=asked, is_lost=is_lost)
        first |= {uuid: self.asked[uuid] for uuid in known}
        assert {row.operation_uuid for row in decided.operations} == first.keys() - known
        assert len(decided.refused) == sum(each != first[each.operation_uuid] for each in asked)
        if not is_lost:
            self.asked |= first
        self.follow()

    # --- the provider and the way to it -----------------------------------------------------------------

    @precondition(lambda self: self.world.calls)
    @rule(made=st.lists(st.tuples(numbers, st.sampled_from(DEEDS)), min_size=1, max_size=4))
    def calls(self, made: list[tuple[int, Deed]]) -> None:
        """Calls are made, and answers come back, or not."""
        for n, deed in made:
            if self.world.calls:
                self.call(n, deed, is_lost=False)

    @precondition(lambda self: self.world.calls)
    @rule(n=numbers, deed=st.sampled_from(DEEDS))
    def call_and_crash(self, n: int, deed: Deed) -> None:
        """An answer is lost together with its owner."""
        self.call(n, deed, is_lost=True)

    def call(self, n: int, deed: Deed, *, is_lost: bool) -> None:
        call = self.world.calls[n % len(self.world.calls)]
        answered = self.world.carry_out(call, deed, is_lost=is_lost)
        self.heard.append(answered)
        self.follow()
        if answered.answer.result.is_definitive and not is_lost:
            assert (0, call.order_no) in self.world.books.outcomes

    @precondition(lambda self: self.world.stray_calls)
    @rule(n=numbers, deed=st.sampled_from(DEEDS), is_heard=st.booleans())
    def stray(self, n: int, deed: Deed, is_heard: bool) -> None:
        """A call of an owner that is gone reaches the provider late; a frozen one even hears the answer."""
        call = self.world.stray_calls.pop(n % len(self.world.stray_calls))
        answer = self.psp.carry_out(call, deed, self.world.now)
        if is_heard:
            self.world.take(answers=[self.world.answer(call, answer)])
        self.follow()

    @precondition(lambda self: self.heard)
    @rule(n=numbers)
    def repeat(self, n: int) -> None:
        """An answer comes twice."""
        self.world.take(answers=[self.heard[n % len(self.heard)]])
        self.follow()

    @precondition(lambda self: self.psp.told)
    @rule(n=numbers, is_lost=st.booleans(), is_forged=st.booleans())
    def webhook(self, n: int, is_lost: bool, is_forged: bool) -> None:
        """A webhook comes: any of them, at any time, again; some are signed by somebody else."""
        self._webhook(-1 - n % len(self.psp.told), is_lost=is_lost, is_forged=is_forged)

    @precondition(lambda self: any(each.captured_minor for each in self.models.values()))
    @rule(
        n=numbers,
        kind=st.sampled_from(DISPUTES),
        part=st.sampled_from((1, 2, 3)),
        is_told=st.booleans(),
    )
    def bank(self, n: int, kind: ChangeKind, part: int, is_told: bool) -> None:
        """A buyer's bank opens a dispute of all that is left or a part of it, or ends it; we hear now, or later."""
        captured = [each for each in PAYMENTS if self._charge(each.order_uuid, captured=True)]
        charge = self._charge(captured[n % len(captured)].order_uuid, captured=True)
        assert charge is not None
        before = len(self.psp.told)
        self.psp.dispute(charge, kind, charge.refundable_minor // part, self.world.now)
        if is_told and len(self.psp.told) > before:
            self._webhook(before)

    # --- owners, time and people ------------------------------------------------------------------------

    @rule(seconds=st.sampled_from(WAITS_S))
    def wait(self, seconds: float) -> None:
        self.world.wait(seconds)
        self.follow()
        if self.world.books.parked:
            # Behind what is parked nothing would begin: it is looked at again each hour.
            self.parked_until = self.world.now
        for order, since in self.held_since.items():
            over_s = (self.world.now - max(since + KEPT_FOR, self.parked_until)).total_seconds()
            is_over = over_s > 2 * EXPIRY_LOOK_MS / 1_000
            if is_over and self.models[order].held_minor > 0:
                tried = self.models[order].operations.values()
                assert any(each.kind == "expiry" for each in tried), "it is held for too long"

    @rule()
    def crash(self) -> None:
        self.world.claim()
        self.follow()

    @precondition(lambda self: self.world.book.open_count)
    @rule(n=numbers)
    def park(self, n: int) -> None:
        """What was last seen with an operation ended its host: nobody touches it, though it may have run."""
        books = self.world.books
        open_ones = [
            key
            for key, row in sorted(books.open_orders.items())
            if key in books.operations and row.status != PaymentState.CREATED
        ]
        if open_ones:
            books.parked[open_ones[n % len(open_ones)]] = ("kills_host", "")
            self.world.claim()
            self.follow()

    @precondition(lambda self: self.world.books.parked)
    @rule()
    def unpark(self) -> None:
        self.world.books.parked.clear()
        self.world.claim()
        self.follow()

    @rule(n=numbers)
    def resolve(self, n: int) -> None:
        """Somebody looks at the provider's side, and says what became of one whose outcome is unknown."""
        unknown = [each for each in self.world.book.open_orders() if not each.is_outcome_known]
        if not unknown:
            return
        order = unknown[n % len(unknown)]
        said = self.psp.looked_up(order, self.world.now)
        self.world.take(answers=[said.answer()])
        self.follow()
        assert (0, order.order_no) in self.world.books.outcomes

    # --- the model follows ------------------------------------------------------------------------------

    def follow(self) -> None:
        """Tell the model what was taken in, and what ended; each end is held against the provider's record."""
        books = self.world.books
        for order in PAYMENTS:
            if order.order_uuid in books.order_keys:
                model = ModelPayment(order.amount_minor, order.fee_minor, order.captures_manually)
                self.models.setdefault(order.order_uuid, model)
        for order in PAYMENTS:
            self._follow_charge(order)
        for _ in range(len(books.operations) + 1):
            if not self._follow_operations():
                break
        for _, (row, _) in sorted(books.operations.items()):
            model = self.models[books.orders[0, row.payment_no].order_uuid]
            if row.operation_uuid not in model.operations:
                asked = self.asked.get(row.operation_uuid)
                amount_minor = None if asked is None else asked.amount_minor
                model.take_in(row.operation_uuid, OperationKind(row.kind).wire, amount_minor)
        self._keep_answers()

    def _follow_charge(self, order: PaymentCommand) -> None:
        key = self.world.books.order_keys.get(order.order_uuid)
        if key is None or key not in self.world.books.outcomes:
            return
        model = self.models[order.order_uuid]
        if model.status != "processing":
            return
        outcome, at = self.world.books.outcomes[key]
        charge = self.psp.charge_of(psp_key(order.order_uuid, outcome.attempt_no))
        status = "failed" if charge is None else _CHARGED[charge.status]
        if charge is None:
            self._never_ran(key, outcome.failure_code, at)
        model.charge_ended(status, outcome.failure_code)
        if status == "requires_capture":
            self.held_since[order.order_uuid] = at

    def _follow_operations(self) -> bool:
        """Whether one that ran ended since; those that the books refuse are the model's to tell."""
        books = self.world.books
        for key, (row, _) in sorted(books.operations.items()):
            model = self.models[books.orders[0, row.payment_no].order_uuid]
            known = model.operations.get(row.operation_uuid)
            if known is None or known.status != "processing" or key not in books.outcomes:
                continue
            outcome, at = books.outcomes[key]
            change = self.psp.change_of(psp_key(row.operation_uuid, outcome.attempt_no))
            if change is None:
                self._never_ran(key, outcome.failure_code, at)
            is_done = change is not None and change.refusal is None
            code = outcome.failure_code or ""
            model.operation_ended(row.operation_uuid, is_done=is_done, code=code)
            return True
        return False

    def _never_ran(self, key: tuple[int, int], code: str | None, at: datetime) -> None:
        """The provider knows nothing of it, so it failed for one of two reasons."""
        first = self.world.books.attempts[*key, 1][1]
        if code != NOT_CHARGED_CODE:
            assert code == "psp_unavailable"
            assert at - first >= REACHED_WITHIN, "it was given up too early"

    def _webhook(self, n: int, *, is_lost: bool = False, is_forged: bool = False) -> None:
        world, body = self.world, self.psp.told[n]
        event = heard(body, world.now, is_forged=is_forged)
        if event is None:
            return
        world.take(psp_events=[event])
        found = FakeLedger.due_events_in(world.books, [0], 100, 86_400.0)
        offered = [answer_of(each) for each in found if each.order_no is not None]
        world.take(answers=offered, is_lost=is_lost)
        if is_lost:
            offered = []
        # What was judged along with a dispute may have told of the capture that it disputes.
        self.follow()
        for each in offered:
            told = each.event.event if each.event else event
            is_judged = (0, told.event_uuid) in world.books.psp_events.results
            if told.dispute_id is None or not is_judged or told.event_uuid in self.verdicts:
                continue
            state = {1: "opened", 2: "won", 3: "lost"}[told.dispute_state]
            model = self.models[told.order_uuid]
            self.verdicts[told.event_uuid] = model.told_of_dispute(
                told.dispute_id,
                state,
                told.disputed_minor,
                is_overdue=each.event is not None and each.event.is_overdue,
            )
        self.follow()

    def _keep_answers(self) -> None:
        """An answer that froze is the same for ever, byte for byte."""
        books = self.world.books
        for order in PAYMENTS:
            key = books.order_keys.get(order.order_uuid)
            if key is not None and key in books.outcomes:
                answer = frozen_answer(stored_order(books, key).view)
                assert self.frozen.setdefault(order.order_uuid, answer) == answer
        keys = [(0, uuid) for uuid in books.operation_keys]
        for uuid, stored in stored_operations(books, keys).items():
            if stored.is_frozen:
                answer = frozen_operation_answer(stored.view)
                assert self.frozen.setdefault(uuid, answer) == answer
            assert (uuid in self.frozen) == stored.is_frozen

    def _is_answered(self, order: PaymentCommand) -> bool:
        model = self.models.get(order.order_uuid)
        return model is not None and model.status != "processing"

    # --- what must hold ---------------------------------------------------------------------------------

    @invariant()
    def states_are_the_models(self) -> None:
        books = self.world.books
        for order_uuid, model in self.models.items():
            key = books.order_keys[order_uuid]
            view = stored_order(books, key).shown
            assert (view.status, view.amount_captured_minor, view.amount_refunded_minor) == (
                model.status,
                model.captured_minor,
                model.refunded_minor,
            )
            stands = books.standings.get(key)
            if stands is not None:
                assert (stands.disputed_minor, stands.fee_taken_minor, stands.is_held) == (
                    model.disputed_minor,
                    model.fee_taken_minor,
                    model.held_minor > 0,
                )
            mine = [row for row, _ in books.operations.values() if row.payment_no == key[1]]
            assert {row.operation_uuid for row in mine} == model.operations.keys()
            for row in mine:
                self._is_as_modelled(row, model.operations[row.operation_uuid])

    def _is_as_modelled(self, row: OperationRow, model: ModelOperation) -> None:
        stored = stored_operations(self.world.books, [(0, row.operation_uuid)])[row.operation_uuid]
        view = stored.view
        assert (STATUS_WIRES[view.status], view.failure_code, view.amount_minor) == (
            model.status,
            model.code,
            model.amount_minor,
        ), row
        tries = [no for _, number, no in self.world.books.attempts if number == row.order_no]
        assert len(tries) <= 1 or row.kind, "an operation that may run keeps its key"

    @invariant()
    def the_ledger_is_the_models(self) -> None:
        """Balances by account, folded from transfers and kept in slices, are what the model adds up."""
        books = self.world.books
        kinds = {no: key.kind for (_, key), no in books.accounts.items()}
        found: Counter[str] = Counter()
        for (_, account_no), head in books.slices.items():
            name = AccountKind(kinds[account_no]).name.lower()
            found[name] += head.debits_posted_minor - head.credits_posted_minor
            found[f"{name} pending"] += head.debits_pending_minor - head.credits_pending_minor
        expected: Counter[str] = Counter()
        for model in self.models.values():
            expected.update(model.balances())
        assert {name: amount for name, amount in found.items() if amount} == {
            name: amount for name, amount in expected.items() if amount
        }
        assert sum(found.values()) == 0

    @invariant()
    def the_provider_did_what_the_model_has_and_what_is_open(self) -> None:
        """Captured less refunded at the provider is the ledger's, but for what runs there right now."""
        for order_uuid, model in self.models.items():
            charge = self._charge(order_uuid)
            if charge is None or model.status == "processing":
                assert model.captured_minor == 0
                continue
            running = self._running(model)
            assert charge.captured_minor == model.captured_minor + running["capture"]
            assert charge.refunded_minor == model.refunded_minor + running["refund"]
            if not running:
                assert charge.held_minor == model.held_minor
            for uuid in model.operations:
                assert isinstance(uuid, UUID)
                for change in self._changes(uuid):
                    if change.refusal not in (None, REFUSED_FOR_NO_RULE):
                        # What a bank took since is the only rule that the books can't know of yet.
                        assert charge.dispute is not None
                        assert change.kind is ChangeKind.REFUND

    def _charge(self, order_uuid: UUID, *, captured: bool = False) -> Charge | None:
        """The charge of a payment, at most one of whose attempts made any; None, too, where nothing is captured."""
        keys = (psp_key(order_uuid, number) for number in ATTEMPT_NOS)
        made = [charge for key in keys if (charge := self.psp.charge_of(key)) is not None]
        assert sum(charge.status is not ChargeStatus.DECLINED for charge in made) <= 1
        if not made or (captured and made[-1].captured_minor == 0):
            return None
        return made[-1]

    def _running(self, model: ModelPayment) -> Counter[str]:
        """What open operations did at the provider already, by kind."""
        ran: Counter[str] = Counter()
        for uuid, operation in model.operations.items():
            assert isinstance(uuid, UUID)
            done = [each for each in self._changes(uuid) if each.refusal is None]
            assert len(done) <= 1, "it was done under two keys"
            if operation.is_open and done:
                ran[operation.kind] += done[0].amount_minor
        return ran

    def _changes(self, uuid: UUID) -> list[Change]:
        """What the provider was told to do for an operation, also under the keys after a clean refusal."""
        keys = (psp_key(uuid, number) for number in ATTEMPT_NOS)
        return [change for key in keys if (change := self.psp.change_of(key)) is not None]

    @invariant()
    def events_tell_the_models_story(self) -> None:
        """Gapless, of each object, and in the model's words."""
        books = self.world.books
        told: dict[int, list[str]] = defaultdict(list)
        for (_, order_no, sequence), event in sorted(books.events.items()):
            told[order_no].append(event_type(event.type).wire)
            assert sequence == len(told[order_no])
        expected: dict[int, list[str]] = {}
        for order_uuid, model in self.models.items():
            expected[books.order_keys[order_uuid][1]] = model.events
            for uuid, operation in model.operations.items():
                assert isinstance(uuid, UUID)
                expected[books.operation_keys[uuid][1]] = operation.events
        disputes = {row.order_no: row for row in books.disputes.values()}
        for order_no, row in disputes.items():
            payment = books.orders[0, row.payment_no].order_uuid
            expected[order_no] = self.models[payment].disputes[row.reference].events
        assert told == expected, [(no, told.get(no), events) for no, events in expected.items()]

    @invariant()
    def disputes_were_judged_as_the_model_says(self) -> None:
        results = self.world.books.psp_events.results
        for event_uuid, said in self.verdicts.items():
            assert EventVerdict(results[0, event_uuid].result).name.lower() == said

    def teardown(self) -> None:
        """Let everything come to its end, and look once more: nothing is open that could have ended."""
        world = self.world
        world.books.parked.clear()
        world.claim()
        for n in range(80):
            if world.calls:
                self.call(0, Deed.CHARGE, is_lost=False)
            elif world.book.open_count:
                self.wait(600.0 if n < 40 else 40_000.0)
            else:
                break
        for n in range(len(self.psp.told)):
            world.wait(10.0)
            self.follow()
            self._webhook(n)
        for order in world.book.open_orders():
            # Its key is too old to be sent, and nobody knows whether it ran: a person has to say.
            is_old = world.now - order.attempt.created_at > KEY_SENT_FOR
            waits = order.status is PaymentState.CREATED
            assert waits or (is_old and not order.is_outcome_known)
        self.states_are_the_models()
        self.the_ledger_is_the_models()
        self.the_provider_did_what_the_model_has_and_what_is_open()
        self.events_tell_the_models_story()


def live(*, examples: int, steps: int) -> None:
    """Draw so many lives."""
    run_state_machine_as_test(
        Lives,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
        _min_steps=steps // 2,
    )


def test_books_provider_and_model_agree_whatever_happens() -> None:
    """Equal states, amounts, answers, balances and events, after each step and in the end."""
    live(examples=60, steps=40)


@pytest.mark.campaign
@pytest.mark.timeout(LONG_S_MAX)
def test_books_provider_and_model_agree_for_long() -> None:
    """The same, thirty times as many."""
    live(examples=2_000, steps=60)
