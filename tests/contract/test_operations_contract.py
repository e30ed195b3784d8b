"""Operations on the ledger's ports, kept by the fakes and by Postgres alike: by an owner's own decisions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

import pytest

from actors.flushing import flush_of
from actors.inbox import Work
from payments.attempts import PspAnswer, ResultClass
from payments.book import PartitionBook
from payments.commands import OperationCommand, PaymentCommand
from payments.decided import Batch, Decided
from payments.event_judging import answer_of
from payments.evidence import EvidenceSource
from payments.lifecycle import PaymentState
from payments.open_order import CallAnswer, PspCall
from payments.operation_kinds import OperationKind
from payments.psp_events import PspEvent, event_uuid
from payments.rows import DeadLetterRow, TimerKind
from payments.splits import Split
from payments.standing import PaymentStanding
from storage.evidence import AttemptKey, Saying
from storage.ports import OperationKey, SetAside
from tests.books import ACCEPTED_AT, PASSWORDS, copy_of_installed_books
from tests.contract.letters import a_letter
from tests.contract.shards import FakeShard, Host, PostgresShard, Shard, SimulatedShard
from tests.operated import an_operation
from tests.scenario import POLICY, Psps, an_order
from tests.servers import SharedServers

PARTITION = 3
MANUAL = an_order(1, amount_minor=1_000)._replace(captures_manually=True, fee_minor=30)
PLAIN = an_order(2, amount_minor=500)
SPLIT = an_order(3, amount_minor=1_000)._replace(
    captures_manually=True,
    fee_minor=35,
    splits=(Split(21, 550, 20), Split(22, 250, 10), Split(23, 200, 5)),
)


def an_event(operation: UUID) -> PspEvent:
    """What a PSP tells of a refund of 100 under its own key."""
    return PspEvent(
        event_uuid=event_uuid("psp", "evt_a"),
        psp="psp",
        event_id="evt_a",
        order_uuid=operation,
        attempt_no=1,
        result=ResultClass.APPROVED,
        reference="ch_contract",
        captured_minor=100,
        currency="USD",
        failure_code=None,
        decline_code=None,
        message="",
        effective_at=None,
        accepted_at=ACCEPTED_AT,
    )


# Time really passes at a real ledger.
BRIEF = replace(POLICY, authorization_s_max=1)


@pytest.fixture(
    params=["fake", "simulated", pytest.param("postgres", marks=pytest.mark.integration)]
)
async def shard(request: pytest.FixtureRequest) -> AsyncIterator[Shard]:
    """New books for each test."""
    if request.param != "postgres":
        yield FakeShard() if request.param == "fake" else SimulatedShard()
        return
    servers: SharedServers = request.getfixturevalue("servers")
    admin_dsn = await copy_of_installed_books(servers, "operations_contract")
    owner_dsn = servers.dsn("operations_contract", role="tally_owner", password=PASSWORDS.owner)
    postgres = PostgresShard(owner_dsn, admin_dsn)
    yield postgres
    await postgres.close()


@dataclass
class Owner:
    """One partition's owner: decides by the product's own book, writes and reads by the ports."""

    host: Host
    book: PartitionBook
    calls: list[PspCall]

    @classmethod
    async def claimed(cls, host: Host) -> Owner:
        """Claim the partition, and let what is open go on."""
        state = await host.claim(PARTITION)
        owner = cls(host, PartitionBook(state, Psps(), BRIEF), [])
        due = [(order.order_no, TimerKind.SEND) for order in state.open_orders]
        await owner.take(due=due)
        return owner

    async def take(
        self,
        *,
        commands: Sequence[PaymentCommand] = (),
        operations: Sequence[OperationCommand] = (),
        answers: Sequence[CallAnswer] = (),
        due: Sequence[tuple[int, TimerKind]] = (),
        psp_events: Sequence[PspEvent] = (),
    ) -> Decided:
        """Decide one batch on what the ledger says, write it, and make it the present."""
        ledger = self.host.ledger
        found = await ledger.operated_payments(
            [OperationKey(PARTITION, one.operation_uuid, one.payment_uuid) for one in operations],
            [(PARTITION, order_no) for order_no, step in due if step is TimerKind.EXPIRE],
        )
        missing = [(PARTITION, key) for key in sorted(self.book.accounts_missing(answers))]
        heads = await ledger.account_heads(missing)
        self.book.remember_accounts({key: head for (_, key), head in heads.items()})
        decided = self.book.decide(
            Batch(
                commands=commands,
                operations=operations,
                known=found.fingerprints,
                standings=list(found.standings.values()),
                answers=answers,
                due=due,
                psp_events=psp_events,
                now=ACCEPTED_AT,
            )
        )
        if decided.has_rows:
            await ledger.lanes[0].append(flush_of([decided], {}))
        self.book.apply(decided)
        answered = {answer.order_no for answer in answers}
        self.calls = [call for call in self.calls if call.order_no not in answered]
        self.calls += decided.calls
        return decided

    async def set_aside(self, letter: DeadLetterRow) -> None:
        """Write a letter, with a batch that does nothing else."""
        decided = self.book.decide(Batch(dead_letter_count=1, now=ACCEPTED_AT))
        flush = flush_of([decided], {PARTITION: Work()})
        flush.dead_letters.append(letter)
        await self.host.ledger.lanes[0].append(flush)
        self.book.apply(decided)

    async def answer(self, result: ResultClass = ResultClass.APPROVED) -> Decided:
        """Let the PSP answer the oldest call as it was asked."""
        call = self.calls[0]
        amount_minor = int.from_bytes(call.attempt.request[:8], "big")
        is_hold = bool(call.attempt.request[8:])
        said = PspAnswer(
            result=result,
            reference="ch_contract",
            captured_minor=0 if is_hold else amount_minor,
            authorized_minor=amount_minor if is_hold else 0,
            currency="USD",
            effective_at=ACCEPTED_AT,
        )
        if call.operation is not None:
            said = said._replace(captured_minor=call.operation.amount_minor)
        attempt_no = call.attempt.attempt_no
        answered = CallAnswer(PARTITION, call.order_no, call.step, attempt_no, said)
        return await self.take(answers=[answered])

    async def standing(self, order_no: int) -> PaymentStanding:
        """How a payment stands by the ledger."""
        found = await self.host.ledger.operated_payments((), [(PARTITION, order_no)])
        return found.standings[PARTITION, order_no]


async def paid(shard: Shard) -> Owner:
    """An owner with both payments: the first authorized, the second charged."""
    owner = await Owner.claimed(shard.host())
    await owner.take(commands=[MANUAL, PLAIN])
    await owner.answer()
    await owner.answer()
    return owner


async def test_an_authorized_payment_is_not_open_and_stands_held(shard: Shard) -> None:
    """Nothing of it is left to rebuild but its timer; what it holds is told by its standing."""
    owner = await paid(shard)
    stands = await owner.standing(1)
    assert (stands.status, stands.captured_minor) == (PaymentState.REQUIRES_CAPTURE, 0)
    assert (stands.psp, stands.psp_account, stands.psp_reference) == ("psp", "main", "ch_contract")
    assert (stands.captures_manually, stands.held_minor) == (True, 1_000)
    assert await shard.count("open_order") == 0
    assert await shard.count("timer") == 1
    plain = await owner.standing(2)
    assert (plain.status, plain.captured_minor, plain.fee_taken_minor) == (
        PaymentState.SUCCEEDED,
        500,
        88,
    )
    assert plain.operation_count == 0


async def test_an_open_operation_is_found_by_the_next_owner(shard: Shard) -> None:
    """It goes on under its own key, and one that waits for its turn waits."""
    owner = await paid(shard)
    capture = an_operation(OperationKind.CAPTURE, MANUAL, 1, 400)
    void = an_operation(OperationKind.VOID, MANUAL, 2)
    await owner.take(operations=[capture, void])
    key = owner.calls[0].attempt.psp_key
    successor = await Owner.claimed(shard.host())
    assert [call.attempt.psp_key for call in successor.calls] == [key]
    assert successor.calls[0].attempt.is_tainted
    assert [order.status for order in successor.book.open_orders()] == [
        PaymentState.PROCESSING,
        PaymentState.CREATED,
    ]
    decided = await successor.answer()
    assert [row.failure_code for row in decided.outcomes] == [None, "payment_not_authorized"]
    stands = await successor.standing(1)
    assert (stands.status, stands.captured_minor, stands.fee_taken_minor) == (
        PaymentState.PARTIALLY_CAPTURED,
        400,
        12,
    )
    assert (stands.operation_count, successor.book.open_count) == (2, 0)


async def test_an_operation_that_was_taken_in_is_known(shard: Shard) -> None:
    """A repetition is recognized by its identity, also one that the books refused."""
    owner = await paid(shard)
    refund = an_operation(OperationKind.REFUND, PLAIN, 1, 600)
    await owner.take(operations=[refund])
    found = await owner.host.ledger.operated_payments(
        [OperationKey(PARTITION, refund.operation_uuid, refund.payment_uuid)], ()
    )
    assert found.fingerprints == {refund.operation_uuid: refund.fingerprint}
    assert [stands.order_no for stands in found.standings.values()] == [2]
    again = await owner.take(operations=[refund])
    assert not again.has_rows
    assert await shard.count("open_order") == 0


async def test_what_is_held_no_more_has_no_timer(shard: Shard) -> None:
    """The timer of an authorization goes with what it would give back; an expiry moves it on."""
    owner = await paid(shard)
    await shard.pass_time(BRIEF.authorization_s_max * 1_000 + 100)
    (due,) = await owner.host.ledger.due_timers([PARTITION], count_max=10)
    assert (due.order_no, due.kind) == (1, TimerKind.EXPIRE)
    await owner.take(due=[(1, TimerKind.EXPIRE)])
    assert await owner.host.ledger.due_timers([PARTITION], count_max=10) == []
    await owner.answer()
    assert await shard.count("timer") == 0
    stands = await owner.standing(1)
    assert (stands.status, stands.held_minor) == (PaymentState.EXPIRED, 0)


async def test_a_parked_operation_counts_and_goes_on_when_it_is_wanted(shard: Shard) -> None:
    """Nobody works on it, what it may have moved is not moved again, and unparked it goes on under its own key."""
    owner = await paid(shard)
    capture = an_operation(OperationKind.CAPTURE, MANUAL, 1, 400)
    refund = an_operation(OperationKind.REFUND, PLAIN, 2, 100)
    await owner.take(operations=[capture, refund])
    keys = [call.attempt.psp_key for call in owner.calls]
    epoch = owner.book.head.epoch
    for number in (3, 4):
        await owner.host.ownership.park(PARTITION, epoch, number, reason="kills_host", detail="")
    successor = await Owner.claimed(shard.host())
    assert successor.calls == []
    authorized, charged = await successor.standing(1), await successor.standing(2)
    assert (authorized.parked_capture_minor, authorized.is_turn_parked) == (400, True)
    assert (charged.parked_refund_minor, charged.is_turn_parked) == (100, False)
    rest = an_operation(OperationKind.CAPTURE, MANUAL, 3)
    decided = await successor.take(operations=[rest])
    assert [(row.amount_minor, row.attempt_no) for row in decided.operations] == [(600, 0)]
    await shard.want_unparked(capture.operation_uuid)
    unparking = shard.unparking()
    assert await unparking.wanted([PARTITION]) == [(PARTITION, 3)]
    await unparking.unpark(PARTITION, successor.book.head.epoch, 3)
    third = await Owner.claimed(shard.host())
    assert [call.attempt.psp_key for call in third.calls] == keys[:1]


async def test_an_event_that_names_an_operations_key_finds_it(shard: Shard) -> None:
    """It comes with the operation's number, the PSP of its attempt, and how it ended once it has."""
    owner = await paid(shard)
    refund = an_operation(OperationKind.REFUND, PLAIN, 1, 100)
    decided = await owner.take(operations=[refund])
    assert decided.has_rows
    event = an_event(refund.operation_uuid)
    await owner.take(psp_events=[event])
    ledger = owner.host.ledger
    (open_yet,) = await ledger.due_psp_events([PARTITION], count_max=9, wait_s_max=600.0)
    assert (open_yet.order_no, open_yet.attempt_psp, open_yet.ended) == (3, "psp", None)
    await owner.answer()
    await shard.pass_time(1_100)
    (ended,) = await ledger.due_psp_events([PARTITION], count_max=9, wait_s_max=600.0)
    assert ended.ended is not None
    assert (ended.ended.status, ended.ended.captured_minor) == (PaymentState.SUCCEEDED, 100)
    await owner.take(answers=[answer_of(ended)])
    await shard.pass_time(5_000)
    assert await ledger.due_psp_events([PARTITION], count_max=9, wait_s_max=600.0) == []


async def test_an_operation_that_was_set_aside_is_known_until_it_is_taken_in(shard: Shard) -> None:
    """As an order is: its letter stands for it, and a damaged copy of one in the books is a letter alone."""
    owner = await paid(shard)
    aside, taken_in = (an_operation(OperationKind.REFUND, PLAIN, n, 100) for n in (1, 2))
    await owner.take(operations=[taken_in])
    for number, operation in enumerate((aside, taken_in), 1):
        letter = a_letter(
            PARTITION,
            stream_id=f"{number}-0",
            order_uuid=operation.operation_uuid,
            raw=b"%d" % number,
            fingerprint=operation.fingerprint,
        )
        await owner.set_aside(letter)
    keys = [(PARTITION, each.operation_uuid) for each in (aside, taken_in)]
    known = await owner.host.ledger.known_orders(keys)
    assert known.set_aside == {aside.operation_uuid: SetAside(1, aside.fingerprint, False)}
    assert await shard.count("set_aside_order") == 1
    if isinstance(shard, PostgresShard):
        shown = await shard.queries().operations(keys)
        assert [shown[uuid].is_set_aside for _, uuid in keys] == [True, False]
        assert shown[aside.operation_uuid].view.status is PaymentState.PROCESSING
    await owner.take(operations=[aside])
    assert (await owner.host.ledger.known_orders(keys)).set_aside == {}
    if isinstance(shard, PostgresShard):
        again = await shard.queries().operations(keys)
        assert not again[aside.operation_uuid].is_set_aside


@pytest.mark.integration
async def test_people_give_evidence_of_an_operation(servers: SharedServers) -> None:
    """By its id, audited under that; its owner ends it as it would end a charge."""
    admin_dsn = await copy_of_installed_books(servers, "operations_contract")
    owner_dsn = servers.dsn("operations_contract", role="tally_owner", password=PASSWORDS.owner)
    shard = PostgresShard(owner_dsn, admin_dsn)
    try:
        owner = await paid(shard)
        refund = an_operation(OperationKind.REFUND, PLAIN, 1, 100)
        await owner.take(operations=[refund])
        await owner.answer(ResultClass.UNKNOWN)
        store = shard.evidence()
        key = AttemptKey(PARTITION, refund.operation_uuid, None)
        found = (await store.attempts([key]))[0]
        assert (found.order_no, found.amount_minor, found.is_unknown) == (3, 100, True)
        done = (EvidenceSource.OPERATOR, ResultClass.APPROVED, "ch_contract", 100, "USD", None)
        said = Saying(PARTITION, 3, found.attempt_no, *done)
        await store.give([said], actor="somebody", text="seen at the PSP")
        (audited,) = await shard.ask("SELECT action, subject FROM audit")
        assert tuple(audited) == ("payment.evidence", str(refund.operation_uuid))
        (evidence,) = await owner.host.ledger.pending_evidence([PARTITION], count_max=9)
        await owner.take(answers=[evidence.answer()])
        ended = (await store.attempts([key]))[0]
        assert (ended.ended_status, ended.amount_captured_minor) == (PaymentState.SUCCEEDED, 100)
        assert (await owner.standing(2)).refunded_minor == 100
    finally:
        await shard.close()


async def test_a_payment_that_is_not_there_is_left_out(shard: Shard) -> None:
    """Nothing is made up of a payment that the books don't hold."""
    owner = await paid(shard)
    stranger = an_operation(OperationKind.REFUND, an_order(9), 1)
    found = await owner.host.ledger.operated_payments(
        [OperationKey(PARTITION, stranger.operation_uuid, stranger.payment_uuid)],
        [(PARTITION, 77)],
    )
    assert (found.fingerprints, found.standings) == ({}, {})


async def test_slices_keep_what_is_pending_apart(shard: Shard) -> None:
    """A hold is pending on both sides, a capture posts its part, and a release ends the rest."""
    owner = await paid(shard)
    await owner.take(operations=[an_operation(OperationKind.CAPTURE, MANUAL, 1, 400)])
    await owner.answer()
    successor = await Owner.claimed(shard.host())
    await successor.take(operations=[an_operation(OperationKind.REFUND, MANUAL, 2, 100)])
    await successor.answer()
    key = next(key for key in successor.book._accounts if key.kind.name == "WALLET")
    heads = await successor.host.ledger.account_heads([(PARTITION, key)])
    head = heads[PARTITION, key]
    assert head.credits_pending_minor == 600
    assert head.credits_posted_minor == 500 + 400
    assert head.debits_posted_minor == 88 + 12 + 100


async def test_splits_are_found_by_the_next_owner_and_stand_by_their_transfers(
    shard: Shard,
) -> None:
    """What became of each seller's part is summed from the rows that moved it, and nothing else is kept."""
    owner = await Owner.claimed(shard.host())
    await owner.take(commands=[SPLIT])
    assert await shard.count("payment_split") == 3
    successor = await Owner.claimed(shard.host())
    assert [order.payment.splits for order in successor.book.open_orders()] == [SPLIT.splits]
    await successor.answer()
    for kind, amount_minor in ((OperationKind.CAPTURE, 100), (OperationKind.REFUND, 10)):
        await successor.take(operations=[an_operation(kind, SPLIT, 1, amount_minor)])
        await successor.answer()
    stands = await successor.standing(1)
    assert tuple(each.split for each in stands.splits) == SPLIT.splits
    # Captured, refunded, disputed and the fee, by seller.
    assert [each[1:] for each in stands.splits] == [(55, 6, 0, 2), (25, 2, 0, 1), (20, 2, 0, 0)]
    assert (stands.captured_minor, stands.refunded_minor, stands.fee_taken_minor) == (100, 10, 3)
