"""Violations planted into records that are right: each names the invariant that has to notice it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from typing import Any, NamedTuple, TypeVar

from loadtest.checker.records import (
    ClientEvent,
    DeadLetterRecord,
    EventRecord,
    EventType,
    FaultPhase,
    FaultRecord,
    LeakRecord,
    OpenOrderRecord,
    OpKind,
    PoisonRecord,
    Records,
    TransferRecord,
)

R = TypeVar("R", bound=tuple[Any, ...])

Plant = Callable[[Records], Records]
OTHER_KEY = "00000000-0000-4000-8000-00000000ffff"


class Planted(NamedTuple):
    """One violation."""

    invariant: str
    name: str
    plant: Plant


def changed(rows: list[R], place: int, **values: object) -> list[R]:
    """The rows with some members of one of them replaced."""
    row: R = rows[place]._replace(**values)  # type: ignore[attr-defined]  # all are NamedTuples
    place %= len(rows)
    return [*rows[:place], row, *rows[place + 1 :]]


def without(rows: list[R], place: int) -> list[R]:
    place %= len(rows)
    return [*rows[:place], *rows[place + 1 :]]


def swapped(records: Records, **tables: Any) -> Records:
    """The records with some of their tables replaced."""
    return replace(records, **tables)


def row_changed(table: str, place: int, **values: object) -> Plant:
    """Replace members of one row of a table."""
    return lambda records: swapped(
        records, **{table: changed(getattr(records, table), place, **values)}
    )


def webhook_lost(records: Records) -> Records:
    """Take one id out of what the first receiver got."""
    who, got = next(iter(records.webhooks.items()))
    return swapped(records, webhooks={**records.webhooks, who: got - {min(got)}})


def webhook_added(records: Records) -> Records:
    """Have the first receiver get an event that is in no books."""
    who, got = next(iter(records.webhooks.items()))
    return swapped(records, webhooks={**records.webhooks, who: got | {"evt_z_z_z"}})


def row_lost(table: str, place: int) -> Plant:
    """Take one row out of a table."""
    return lambda records: swapped(records, **{table: without(getattr(records, table), place)})


def both(*plants: Plant) -> Plant:
    """Plant one thing after the other."""

    def plant(records: Records) -> Records:
        for each in plants:
            records = each(records)
        return records

    return plant


def end_changed(status: int, nth: int, **values: object) -> Plant:
    """Replace members of the n-th end with that status; its body gets its own hash."""
    if "body" in values:
        values["body_sha256"] = sha256(str(values["body"]).encode()).hexdigest()

    def plant(records: Records) -> Records:
        places = [place for place, event in enumerate(records.history) if event.status == status]
        return replace(records, history=changed(records.history, places[nth], **values))

    return plant


def op_added(kind: OpKind, status: int, body: str, *, of: int = 0, **values: Any) -> Plant:
    """Add an operation at the run's end, of the same client as the history's event ``of``."""

    def plant(records: Records) -> Records:
        like, last = records.history[of], records.history[-1]
        begin = like._replace(
            op=last.op + 1,
            type=EventType.INVOKE,
            at_ns=last.at_ns + 1,
            kind=kind,
            status=0,
            body="",
            **values,
        )
        end = _ended(begin, status, body)
        return replace(records, history=[*records.history, begin, end])

    return plant


def _ended(begin: ClientEvent, status: int, body: str) -> ClientEvent:
    kind = EventType.OK if status < 300 or status == 402 else EventType.FAIL
    return begin._replace(
        type=kind,
        at_ns=begin.at_ns + 5,
        status=status,
        body=body,
        body_sha256=sha256(body.encode()).hexdigest(),
    )


def second_charge(records: Records) -> Records:
    """The order's second attempt was charged too: what falling back from an unclear one does."""
    first, attempt = records.charges[0], records.attempts[0]
    key = attempt.psp_key[:-1] + "d"  # attempt 2 of the same order
    return replace(
        records,
        attempts=[*records.attempts, attempt._replace(attempt_no=2, psp_key=key)],
        charges=[*records.charges, first._replace(psp_key=key, reference="ch_second")],
    )


def second_attempt(**values: Any) -> Plant:
    """Another attempt after the first one, of which its PSP knows nothing."""

    def plant(records: Records) -> Records:
        attempt = records.attempts[0]
        key = attempt.psp_key[:-1] + "d"
        later = attempt._replace(attempt_no=2, psp_key=key, **values)
        return replace(
            records,
            attempts=[*records.attempts, later],
            charges=changed(records.charges, 0, psp_key=key),
        )

    return plant


def slice_everywhere(records: Records) -> Records:
    """A balance was written too small from the third snapshot on: written, not folded."""
    low = [row._replace(credits_minor=row.credits_minor - 1) for row in records.slices[1:2]]
    return replace(records, slices=[records.slices[0], *low, *records.slices[2:]])


def snapshot_changed(place: int, **values: object) -> Plant:
    return lambda records: replace(records, snapshots=changed(records.snapshots, place, **values))


def old_owner(records: Records) -> Records:
    """A snapshot shows another owner under the epoch of the one before it."""
    snapshot = records.snapshots[4]
    partitions = [row._replace(owner="somebody else") for row in snapshot.partitions]
    return replace(
        records,
        snapshots=[
            *records.snapshots[:5],
            snapshot._replace(partitions=tuple(partitions)),
            *records.snapshots[5:],
        ],
    )


def frozen_copy(target: str) -> Plant:
    """All of the run happened while a copy was frozen."""

    def plant(records: Records) -> Records:
        begin_ns, end_ns = records.history[0].at_ns, records.history[-1].at_ns
        cell = f"freeze/{target}/under_load"
        faults = [
            FaultRecord(begin_ns - 600_000_000, cell, FaultPhase.BEGIN),
            FaultRecord(end_ns + 1, cell, FaultPhase.END),
        ]
        return replace(records, faults=faults)

    return plant


def late_intake(records: Records) -> Records:
    """The first order was acknowledged long before an owner took it in, with a copy frozen."""
    orders = changed(
        records.orders, 0, taken_in_unix_ns=records.orders[0].taken_in_unix_ns + 50_000_000
    )
    return frozen_copy("redis_replica")(replace(records, orders=orders))


def poisoned(letters: int) -> Plant:
    """One poisoned message, and so many dead letters of it."""
    place = (0, "5-1")
    return lambda records: replace(
        records,
        poison=[PoisonRecord(1, *place, "poison/stream/garbage")],
        dead_letters=[
            DeadLetterRecord(*place, "", "undecodable", str(number)) for number in range(letters)
        ],
    )


def row_added(table: str, row: object) -> Plant:
    return lambda records: swapped(records, **{table: [*getattr(records, table), row]})


PROCESSING = '{"status":"processing","outcome":"known","amount":1000,"currency":"USD"}'

PLANTED: tuple[Planted, ...] = (
    Planted("I1", "an accepted order is lost", row_lost("orders", 0)),
    Planted(
        "I1",
        "an order is there twice",
        lambda records: row_added("orders", records.orders[3])(records),
    ),
    Planted("I1", "another amount is kept", row_changed("orders", 2, amount_minor=5)),
    Planted("I1", "another seller is kept", row_changed("orders", 2, seller="mrc_x")),
    Planted("I1", "another request is kept", row_changed("orders", 2, fingerprint="zz")),
    Planted(
        "I1",
        "a deferred request is neither kept nor refused",
        op_added(OpKind.POST, 202, PROCESSING, fingerprint="late", is_deferred=True),
    ),
    Planted(
        "I2",
        "an order has ended and is open",
        row_added("open_orders", OpenOrderRecord(0, 1, "processing", True, 1, True, "reason")),
    ),
    Planted("I2", "an order is neither open nor ended", row_lost("outcomes", 1)),
    Planted(
        "I2",
        "an order ends twice",
        lambda records: row_added("outcomes", records.outcomes[0])(records),
    ),
    Planted(
        "I2",
        "something follows the end",
        row_added("events", EventRecord(0, 1, 3, 9, "payment_order.failed")),
    ),
    Planted(
        "I3",
        "an order that nobody asked for",
        lambda records: row_added("orders", records.orders[0]._replace(order_no=99, key=OTHER_KEY))(
            records
        ),
    ),
    Planted("I4", "two charges of one order", second_charge),
    Planted("I4", "a charge without an attempt", row_changed("charges", 0, psp_key="tly_new")),
    Planted("I4", "a charge at another PSP", row_changed("charges", 0, psp="psp_b")),
    Planted(
        "I4",
        "two results of one PSP key",
        lambda records: row_added("charges", records.charges[4])(records),
    ),
    Planted(
        "I4",
        "a key that depends on its owner",
        both(
            row_changed("attempts", 0, psp_key="tly_owner"),
            row_changed("charges", 0, psp_key="tly_owner"),
        ),
    ),
    Planted("I4", "an inherited attempt was left for another", second_attempt(epoch=2)),
    Planted(
        "I4",
        "an unclear attempt was left for another",
        both(
            second_attempt(),
            op_added(
                OpKind.GET,
                200,
                '{"status":"processing","outcome":"unknown","attempts":1,"amount":1000,"currency":"USD"}',
            ),
        ),
    ),
    Planted("I5", "a PSP took more than it owes", row_changed("charges", 0, captured_minor=1_001)),
    Planted(
        "I6",
        "a charge is not booked",
        lambda records: row_added("charges", records.charges[0]._replace(reference="ch_new"))(
            records
        ),
    ),
    Planted("I6", "a success without a charge", row_lost("charges", 0)),
    Planted(
        "I6",
        "two amounts that cancel in the sum",
        both(
            row_changed("charges", 0, captured_minor=1_001),
            row_changed("charges", 1, captured_minor=1_000),
        ),
    ),
    Planted("I6", "a fee was not taken", row_lost("transfers", 1)),
    Planted("I7", "a batch lost a transfer", row_lost("transfers", 0)),
    Planted("I7", "a transfer between currencies", row_changed("accounts", 0, currency="EUR")),
    Planted(
        "I7",
        "money without an outcome",
        row_added("transfers", TransferRecord(0, 77, 1, 2, "charge", 1, 2, 5, "USD")),
    ),
    Planted("I7", "rows of a batch without a line", row_lost("batches", -1)),
    Planted("I8", "a balance was written, not folded", slice_everywhere),
    Planted("I8", "a version was left out", row_changed("slices", 0, version=99)),
    Planted(
        "I8",
        "a slice was wrong for a while",
        lambda records: snapshot_changed(
            5, slices=tuple(changed(list(records.snapshots[5].slices), 0, debits_minor=1))
        )(records),
    ),
    Planted("I8", "a slice is missing", row_lost("slices", 0)),
    Planted(
        "I12", "an outcome was changed afterwards", row_changed("outcomes", 0, psp_reference="ch_x")
    ),
    Planted(
        "I12", "a transfer was changed afterwards", row_changed("transfers", 3, amount_minor=31)
    ),
    Planted(
        "I12",
        "a head is not that of the last batch",
        row_changed("partitions", 0, chain_hash="00" * 32),
    ),
    Planted(
        "I12",
        "a promotion lost the last batches",
        lambda records: snapshot_changed(
            -1,
            partitions=tuple(
                row._replace(batch_seq=row.batch_seq + 2, chain_hash="ab" * 32)
                for row in records.partitions
            ),
        )(records),
    ),
    Planted("I13", "two frozen answers", end_changed(201, 1, body='{"status":"succeeded"}')),
    Planted(
        "I13",
        "another request was accepted",
        op_added(OpKind.POST, 202, PROCESSING, fingerprint="other"),
    ),
    Planted(
        "I13",
        "the same request was refused as another",
        op_added(OpKind.POST, 422, '{"code":"idempotency_key_reused"}'),
    ),
    Planted(
        "I13",
        "a frozen answer shows another amount",
        op_added(OpKind.POST, 201, '{"status":"succeeded","amount":7}'),
    ),
    Planted(
        "I14",
        "a merchant sees another's order",
        end_changed(200, 0, body='{"status":"processing","amount":1001,"currency":"USD"}'),
    ),
    Planted(
        "I14", "an identity without its merchant", row_changed("orders", 0, order_uuid=OTHER_KEY)
    ),
    Planted(
        "I14",
        "a list shows another's order",
        op_added(OpKind.LIST, 200, f'{{"data":[{{"id":"{OTHER_KEY}"}}]}}'),
    ),
    Planted(
        "I6",
        "another seller was credited",
        row_changed("accounts", 1, holder="mrc_two"),
    ),
    Planted(
        "I15",
        "an accepted order is not found",
        op_added(OpKind.GET, 404, '{"code":"payment_not_found"}'),
    ),
    Planted(
        "I15",
        "a wallet lacks what had been shown",
        op_added(OpKind.WALLET, 200, '{"balances":[]}', key="mrc_one"),
    ),
    Planted("I16", "an end is followed by processing", op_added(OpKind.GET, 200, PROCESSING)),
    Planted("I16", "a stale answer to a POST", op_added(OpKind.POST, 202, PROCESSING)),
    Planted(
        "I16",
        "an end is followed by another one",
        op_added(OpKind.GET, 200, PROCESSING.replace("processing", "failed")),
    ),
    Planted(
        "I16",
        "a wallet falls",
        op_added(OpKind.WALLET, 200, '{"balances":[{"currency":"USD","posted":1}]}', key="mrc_one"),
    ),
    Planted(
        "I17",
        "wallets and entries differ for a moment",
        snapshot_changed(3, wallets_minor={"USD": 1}),
    ),
    Planted("I18", "an event never came", webhook_lost),
    Planted("I18", "a webhook of nothing", webhook_added),
    Planted("I19", "an event is missing", row_lost("events", 1)),
    Planted("I19", "an event of another transaction", row_changed("events", 1, batch_seq=9)),
    Planted("I20", "an older epoch after a newer one", row_changed("batches", -1, epoch=0)),
    Planted("I20", "an intake under an older epoch", row_changed("attempts", -1, epoch=0)),
    Planted("I20", "two owners of one epoch", old_owner),
    Planted(
        "I20",
        "a batch was written twice",
        lambda records: row_added("batches", records.batches[-1])(records),
    ),
    Planted("I21", "poison vanished", poisoned(0)),
    Planted("I21", "poison was set aside twice", poisoned(2)),
    Planted(
        "I21",
        "a good message was set aside",
        row_added("dead_letters", DeadLetterRecord(0, "9-9", "", "undecodable", "ab")),
    ),
    Planted("I22", "a message is left", row_changed("queue", 0, message_count=1)),
    Planted("I22", "an accepted order is nowhere", row_lost("orders", 0)),
    Planted(
        "I22", "more was taken in than was ever added", row_changed("queue", 0, entries_added=2)
    ),
    Planted("I23", "a key was forgotten", end_changed(201, 0, is_replayed=False)),
    Planted(
        "I24", "a secret in a log", row_added("leaks", LeakRecord("logs/gateway.log", "canary 0"))
    ),
    Planted(
        "I26",
        "an order stays open",
        both(
            row_lost("outcomes", -1),
            row_added("open_orders", OpenOrderRecord(1, 6, "processing", False, 1, True)),
        ),
    ),
    Planted(
        "I26",
        "an operation that never ended",
        lambda records: replace(records, history=records.history[:-1]),
    ),
    Planted(
        "I28", "a code that is not documented", end_changed(422, 0, body='{"code":"surprise"}')
    ),
    Planted(
        "I28",
        "a status that is not its code's",
        end_changed(422, 0, body='{"code":"payment_not_found"}'),
    ),
    Planted("I28", "accepted on one copy", late_intake),
    Planted("I28", "an end shown on one copy", frozen_copy("postgres_standby")),
)
