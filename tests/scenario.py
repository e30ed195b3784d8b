"""A partition's book on fake books and a PSP of a few lines, played step by step.

``BookWorld`` decides, writes and applies as an owner does; it can crash at every point between. Its
PSP is as bad as PSPs are: it loses answers, denies what it did, and forgets keys after their lifetime.
``play`` reads such a scenario from a table.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from uuid import UUID

from actors.flushing import flush_of
from payments.attempts import PspAnswer, ResultClass
from payments.book import PartitionBook
from payments.commands import OperationCommand, PaymentCommand
from payments.decided import AttemptPlan, Batch, Decided
from payments.fingerprint import fingerprint
from payments.identity import parse_psp_key, psp_key
from payments.lifecycle import PaymentState
from payments.open_order import CallAnswer, PspCall, disputed_payments
from payments.parking import ParkReason
from payments.psp_events import PspEvent
from payments.psp_terms import PspTerms
from payments.retry_policy import RetryPolicy
from payments.routing import Availability
from payments.rows import TimerKind
from payments.state import PartitionState
from storage.ports import OperationKey
from tests.fakes.fake_books import FakeBooks
from tests.fakes.fake_operations import operated_payments_in, standings_of_open
from tests.queue_commands import a_command

START = datetime(2026, 11, 23, tzinfo=UTC)
KEY_LIFETIME_S = 24 * 3_600
PREPARING_TERMS = PspTerms(key_lifetime_s=KEY_LIFETIME_S, replays_declines=True, prepares=True)
TERMS = PspTerms(key_lifetime_s=KEY_LIFETIME_S, replays_declines=True, can_burn_key=True)
POLICY = RetryPolicy()
# What the request of a charge ends with that only authorizes.
HOLD = b"hold"


def an_order(number: int, *, amount_minor: int = 1999) -> PaymentCommand:
    """The number-th order; another amount is another body under the same key."""
    body = {"amount": amount_minor, "currency": "USD", "seller": "s", "payment_method": "tok"}
    return a_command(UUID(int=number + 1), amount_minor=amount_minor)._replace(
        fingerprint=fingerprint(body, bytes(32)),
    )


class Psps:
    """Plans attempts for PSPs that are all alike, in the order of their names."""

    def __init__(self, *names: str, preparing: frozenset[str] = frozenset()) -> None:
        self.names = names or ("psp",)
        self.preparing = preparing
        """Those where a charge takes two sends, as it does at Stripe."""

    def home(self, command: PaymentCommand) -> str:
        """See ``payments.decided.Planner``."""
        return self.names[0]

    def route(
        self,
        command: PaymentCommand,
        *,
        avoiding: Container[str],
        success_percents: Mapping[str, int] = {},  # never changed
    ) -> str | None:
        """See ``payments.decided.Planner``."""
        return next((name for name in self.names if name not in avoiding), None)

    def plan(self, command: PaymentCommand, attempt_no: int, psp: str) -> AttemptPlan:
        """See ``payments.decided.Planner``."""
        return AttemptPlan(
            psp=psp,
            psp_account="main",
            psp_key=psp_key(command.order_uuid, attempt_no),
            request=command.amount_minor.to_bytes(8, "big") + HOLD * command.captures_manually,
        )

    def terms(self, psp: str) -> PspTerms:
        """See ``payments.decided.Planner``."""
        return PREPARING_TERMS if psp in self.preparing else TERMS


class Deed(Enum):
    """What the PSP does with one call."""

    CHARGE = auto()
    CHARGE_SILENTLY = auto()
    """Charges, and the answer is lost."""
    DECLINE = auto()
    DECLINE_SOFTLY = auto()
    """Declines so that another PSP may be asked."""
    ASK_BUYER = auto()
    REFUSE = auto()
    """Says that it did not run, whether or not it once did."""
    VANISH = auto()
    """Does nothing and answers nothing."""


@dataclass(slots=True)
class ScriptedPsp:
    """Remembers a key for its lifetime. ``charges`` is the truth, by order."""

    keys: dict[str, tuple[ResultClass, datetime]] = field(default_factory=dict)
    charges: Counter[UUID] = field(default_factory=Counter)
    soft_keys: set[str] = field(default_factory=set)
    preparing: frozenset[str] = frozenset()
    """PSPs that run a charge only by a second send, with the reference of the first."""

    def carry_out(self, call: PspCall, deed: Deed, now: datetime) -> PspAnswer:
        """Run one call and return how its caller sees it; one that came too late never leaves."""
        if call.send_before is not None and now >= call.send_before:
            return PspAnswer(result=ResultClass.NOT_SENT)
        key = call.attempt.psp_key
        known, since = self.keys.get(key, (None, now))
        is_prepared = call.attempt.psp in self.preparing
        if is_prepared and call.psp_reference is None:
            return _first_half(call, deed)
        is_kept = is_prepared and known is not ResultClass.DECLINED_FINAL
        if now - since >= timedelta(seconds=KEY_LIFETIME_S) and not is_kept:
            known = None
        if call.step is TimerKind.CANCEL and known in (None, ResultClass.REQUIRES_ACTION):
            known = self._remember(key, ResultClass.CANCELED, now)
        elif call.step is TimerKind.SEND and known is None:
            known = self._first(call, deed, now)
        if deed is Deed.REFUSE and call.step is TimerKind.SEND:
            return PspAnswer(result=ResultClass.NOT_SENT)
        if known is None or deed in (Deed.CHARGE_SILENTLY, Deed.VANISH, Deed.REFUSE):
            return PspAnswer(result=ResultClass.UNKNOWN)
        amount_minor = int.from_bytes(call.attempt.request[:8], "big")
        is_hold = call.attempt.request.endswith(HOLD)
        is_charged = known is ResultClass.APPROVED
        return PspAnswer(
            result=known,
            reference=f"ch_{key}",
            captured_minor=amount_minor if is_charged and not is_hold else 0,
            authorized_minor=amount_minor if is_charged and is_hold else 0,
            currency="USD" if is_charged else None,
            effective_at=now,
            decline_code="try_again_later" if key in self.soft_keys else None,
        )

    def buyer_acts(self, key: str, now: datetime) -> None:
        """The buyer confirms a charge that waits for it."""
        if self.keys.get(key, (None,))[0] is ResultClass.REQUIRES_ACTION:
            self._charge(key, now)

    def _first(self, call: PspCall, deed: Deed, now: datetime) -> ResultClass | None:
        key = call.attempt.psp_key
        match deed:
            case Deed.CHARGE | Deed.CHARGE_SILENTLY:
                return self._charge(key, now)
            case Deed.DECLINE_SOFTLY:
                self.soft_keys.add(key)
                return self._remember(key, ResultClass.DECLINED_FINAL, now)
            case Deed.DECLINE:
                return self._remember(key, ResultClass.DECLINED_FINAL, now)
            case Deed.ASK_BUYER:
                return self._remember(key, ResultClass.REQUIRES_ACTION, now)
            case Deed.REFUSE | Deed.VANISH:
                return None

    def _charge(self, key: str, now: datetime) -> ResultClass:
        named = parse_psp_key(key)
        assert named is not None
        self.charges[named.order_uuid] += 1
        return self._remember(key, ResultClass.APPROVED, now)

    def _remember(self, key: str, result: ResultClass, now: datetime) -> ResultClass:
        self.keys[key] = (result, now)
        return result


def _first_half(call: PspCall, deed: Deed) -> PspAnswer:
    """What the send that charges nothing, or a question without a reference, is answered."""
    if call.step is not TimerKind.SEND:
        return PspAnswer(result=ResultClass.UNKNOWN)
    if deed in (Deed.CHARGE_SILENTLY, Deed.VANISH, Deed.REFUSE):
        return PspAnswer(result=ResultClass.NOT_SENT, is_silent=deed is not Deed.REFUSE)
    return PspAnswer(result=ResultClass.PREPARED, reference=f"ch_{call.attempt.psp_key}")


class BookWorld:
    """One partition, its owner's book, and the calls that owners have started."""

    def __init__(
        self,
        policy: RetryPolicy = POLICY,
        *,
        psps: Sequence[str] = ("psp",),
        preparing: frozenset[str] = frozenset(),
        psp: ScriptedPsp | None = None,
        planner: Psps | None = None,
    ) -> None:
        self.now = START
        self.policy = policy
        self.psps = planner or Psps(*psps, preparing=preparing)
        self.refusing: frozenset[str] = frozenset()
        """PSPs whose breaker is open at the present owner."""
        self.psp = psp or ScriptedPsp(preparing=preparing)
        self.books = FakeBooks.empty(1, lambda: self.now)
        self.calls: list[PspCall] = []
        """Started by the present owner, one an order."""
        self.stray_calls: list[PspCall] = []
        """Started by owners that are gone; they may still reach the PSP."""
        self.book = self.claim()

    # --- an owner's life ------------------------------------------------------------------------------

    def claim(self) -> PartitionBook:
        """Let a new owner rebuild everything from what was written."""
        held = self.books.partitions[0]
        held.head = held.head._replace(epoch=held.head.epoch + 1)
        self.stray_calls += self.calls
        self.calls = []
        records = self.books.open_order_records(0)
        state = PartitionState(
            head=held.head,
            open_orders=records,
            standings=standings_of_open(self.books, 0),
            recorded_at=self.books.now(),
        )
        self.book = PartitionBook(state, self.psps, self.policy)
        due = [(order.order_no, TimerKind.SEND) for order in records if not order.has_timer]
        self.take(due=due)
        return self.book

    def take(
        self,
        *,
        commands: Sequence[PaymentCommand] = (),
        operations: Sequence[OperationCommand] = (),
        answers: Sequence[CallAnswer] = (),
        due: Sequence[tuple[int, TimerKind]] = (),
        psp_events: Sequence[PspEvent] = (),
        is_lost: bool = False,
    ) -> Decided:
        """Decide one batch, write it and carry on; or crash just before it is written."""
        keys = [(c.order_uuid, self.books.order_keys.get(c.order_uuid)) for c in commands]
        known = {uuid: self.books.orders[key].fingerprint for uuid, key in keys if key is not None}
        found = operated_payments_in(
            self.books,
            [OperationKey(0, one.operation_uuid, one.payment_uuid) for one in operations],
            [
                *((0, order_no) for order_no, step in due if step is TimerKind.EXPIRE),
                *((0, order_no) for order_no in disputed_payments(answers)),
            ],
        )
        known |= found.fingerprints
        missing = self.book.accounts_missing(answers, found.standings.values())
        heads = {key: self.books.account_head(0, key) for key in missing}
        self.book.remember_accounts({key: head for key, head in heads.items() if head is not None})
        batch = Batch(commands=commands, known=known, answers=answers, due=due, now=self.now)
        batch = replace(batch, operations=operations, standings=list(found.standings.values()))
        batch = replace(batch, psp_events=psp_events, availability=Availability(self.refusing, {}))
        memory = deepcopy(self.book._open), self.book.head
        decided = self.book.decide(batch)
        assert decided == self.book.decide(batch), "the same decision twice"
        assert memory == (self.book._open, self.book.head), "deciding changes nothing"
        if is_lost:
            self.claim()
            return decided
        if decided.has_rows:
            self.books.write(flush_of([decided], {}))
        self.book.apply(decided)
        self._done(answers)
        self._start(decided.calls)
        return decided

    def post(self, *orders: PaymentCommand) -> Decided:
        """Take orders in."""
        return self.take(commands=orders)

    def answer(self, call: PspCall, answer: PspAnswer) -> CallAnswer:
        """What the owner hears of a call."""
        return CallAnswer(
            partition_index=0,
            order_no=call.order_no,
            step=call.step,
            attempt_no=call.attempt.attempt_no,
            answer=answer,
        )

    def carry_out(self, call: PspCall, deed: Deed, *, is_lost: bool = False) -> CallAnswer:
        """Have the PSP run a call, and the book hear of it."""
        answered = self.answer(call, self.psp.carry_out(call, deed, self.now))
        self.take(answers=[answered], is_lost=is_lost)
        return answered

    def refuse(self, call: PspCall) -> None:
        """Have the owner's breaker keep a call from being made."""
        is_send = call.step is TimerKind.SEND
        result = ResultClass.NOT_SENT if is_send else ResultClass.UNKNOWN
        answered = self.answer(call, PspAnswer(result=result, retry_after_s=1.0))
        self.take(answers=[answered._replace(parked=ParkReason.PSP_DOWN)])

    def wait(self, seconds: float) -> None:
        """Let time pass, and fire the timers that are due and whose order has no call on its way.

        Parked orders go on as soon as their PSP, or another one, takes orders.
        """
        self.now += timedelta(seconds=seconds)
        busy = {call.order_no for call in self.calls}
        if len(self.refusing) < len(self.psps.names):
            resumed = [order.order_no for order in self.book.parked_orders()]
            self.take(due=[(no, TimerKind.RESUME) for no in resumed if no not in busy])
            busy = {call.order_no for call in self.calls}
        due = [
            (order_no, TimerKind(timer.kind))
            for (_, order_no), timer in sorted(self.books.timers.items())
            if timer.due_at <= self.now and order_no not in busy and timer.kind != TimerKind.RESUME
        ]
        self.take(due=due)

    def status_of(self, order_uuid: UUID) -> PaymentState | None:
        """How an order ended, or None while it is open."""
        outcome = self.books.outcomes.get(self.books.order_keys[order_uuid])
        return None if outcome is None else PaymentState(outcome[0].status)

    def _done(self, answers: Iterable[CallAnswer]) -> None:
        answered = {(answer.order_no, answer.attempt_no) for answer in answers}
        self.calls = [
            call for call in self.calls if (call.order_no, call.attempt.attempt_no) not in answered
        ]

    def _start(self, calls: Iterable[PspCall]) -> None:
        busy = {call.order_no for call in self.calls}
        self.calls += [call for call in calls if call.order_no not in busy]


def play(table: str) -> BookWorld:
    """Play a scenario: one step a line, ``=>`` says what must be true afterwards.

    ``post O1``, ``charge O1`` (any deed of the PSP), ``wait 60`` (seconds), ``crash``, ``act O1`` (the
    buyer confirms). After ``=>`` the order's status: a terminal one, or ``open``.
    """
    world = BookWorld()
    orders = {f"O{number}": an_order(number) for number in range(10)}
    for line in filter(None, (line.strip() for line in table.splitlines())):
        step, _, expected = (part.strip() for part in line.partition("=>"))
        verb, _, name = step.partition(" ")
        match verb:
            case "post":
                world.post(orders[name])
            case "wait":
                world.wait(float(name))
            case "crash":
                world.claim()
            case "act":
                key = psp_key(orders[name].order_uuid, 1)
                world.psp.buyer_acts(key, world.now)
            case _:
                order_no = world.books.order_keys[orders[name].order_uuid][1]
                (call,) = (call for call in world.calls if call.order_no == order_no)
                world.carry_out(call, Deed[verb.upper()])
        if expected:
            status = world.status_of(orders[name].order_uuid)
            assert (status.wire if status else "open") == expected, line
    return world
