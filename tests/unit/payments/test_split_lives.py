"""A charge of several sellers from its intake to its end, with a new owner between the steps."""

from __future__ import annotations

from payments.accounts import wallet
from payments.disputes import DisputeState
from payments.event_judging import answer_of
from payments.lifecycle import PaymentState
from payments.mode import Mode
from payments.operation_kinds import OperationKind
from payments.splits import Split
from tests.fakes.fake_ledger import FakeLedger
from tests.fakes.fake_operations import standing_of
from tests.operated import OperatedPsp, an_operation
from tests.scenario import BookWorld, Deed, an_order

SPLITS = (Split(21, 550, 20), Split(22, 250, 10), Split(23, 200, 5))
AUTOMATIC = an_order(0, amount_minor=1_000)._replace(fee_minor=35, splits=SPLITS)
MANUAL = AUTOMATIC._replace(captures_manually=True)


def _wallets(world: BookWorld) -> list[int]:
    """What each seller may have, in minor units."""
    found = [
        world.books.account_head(0, wallet(7, Mode.TEST, split.seller_no, "USD"))
        for split in SPLITS
    ]
    return [
        0 if head is None else head.credits_posted_minor - head.debits_posted_minor
        for head in found
    ]


def _operated(world: BookWorld, kind: OperationKind, number: int, amount_minor: int | None) -> None:
    """Have an operation done, and everything forgotten afterwards but what was written."""
    world.take(operations=[an_operation(kind, MANUAL, number, amount_minor)])
    outcome = world.carry_out(world.calls[0], Deed.CHARGE)
    assert outcome.answer.captured_minor
    world.claim()


def _told(world: BookWorld, psp: OperatedPsp, state: DisputeState) -> None:
    event = psp.dispute(MANUAL, state, world.now)
    assert event is not None
    world.take(psp_events=[event])
    found = FakeLedger.due_events_in(world.books, [0], 100, 86_400.0)
    world.take(answers=[answer_of(each) for each in found if each.order_no is not None])
    world.claim()


def test_a_new_owner_pays_all_sellers() -> None:
    """The splits are in the books before the first call, so whoever hears of the charge books each part."""
    world = BookWorld(psp=OperatedPsp())
    world.post(AUTOMATIC)
    world.claim()
    world.carry_out(world.calls[0], Deed.CHARGE)
    assert world.status_of(AUTOMATIC.order_uuid) is PaymentState.SUCCEEDED
    assert _wallets(world) == [530, 240, 195]


def test_each_share_is_of_what_its_seller_has_left() -> None:
    """Two captures, a refund and a dispute that is won, each decided by an owner that read the books anew."""
    psp = OperatedPsp()
    world = BookWorld(psp=psp)
    world.post(MANUAL)
    world.carry_out(world.calls[0], Deed.CHARGE)
    assert _wallets(world) == [0, 0, 0]
    _operated(world, OperationKind.CAPTURE, 1, 100)
    assert _wallets(world) == [53, 24, 20]
    _operated(world, OperationKind.CAPTURE, 2, None)
    assert _wallets(world) == [530, 240, 195]
    _operated(world, OperationKind.REFUND, 3, 10)
    assert _wallets(world) == [524, 238, 193]
    _told(world, psp, DisputeState.OPENED)
    assert _wallets(world) == [-20, -10, -5]
    _told(world, psp, DisputeState.WON)
    assert _wallets(world) == [524, 238, 193]
    stands = standing_of(world.books, world.books.order_keys[MANUAL.order_uuid])
    # Captured, refunded, disputed and the fee, by seller.
    assert [each[1:] for each in stands.splits] == [
        (550, 6, 0, 20),
        (250, 2, 0, 10),
        (200, 2, 0, 5),
    ]
    assert (stands.captured_minor, stands.refunded_minor) == (1_000, 10)
    assert (stands.disputed_minor, stands.fee_taken_minor) == (0, 35)


def test_what_is_not_captured_is_released_to_all() -> None:
    """A void leaves nothing pending on any seller's wallet."""
    world = BookWorld(psp=OperatedPsp())
    world.post(MANUAL)
    world.carry_out(world.calls[0], Deed.CHARGE)
    world.take(operations=[an_operation(OperationKind.VOID, MANUAL, 1)])
    world.carry_out(world.calls[0], Deed.CHARGE)
    for split in SPLITS:
        head = world.books.account_head(0, wallet(7, Mode.TEST, split.seller_no, "USD"))
        assert head is not None
        assert (head.credits_pending_minor, head.credits_posted_minor) == (0, 0)
        assert head.version == 2
