"""A small run in which everything is right, told by all records: what planted violations start from."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from uuid import UUID

import msgspec

from loadtest.checker.records import (
    AccountRecord,
    AttemptRecord,
    BatchRecord,
    ChargeRecord,
    ClientEvent,
    EventRecord,
    EventType,
    OpKind,
    OrderRecord,
    OutcomeRecord,
    PartitionRecord,
    QueueLeft,
    Records,
    RunRecord,
    SliceRecord,
    SnapshotRecord,
    TransferRecord,
)
from payments import chain, fingerprint, identity
from payments.feed import EventKey, event_id
from payments.mode import Mode
from payments.rows import OutcomeRow, TransferRow

MERCHANTS = ("mrc_one", "mrc_two")
FINGERPRINT_KEY = b"k" * 16
PSP = "psp_a"
FEE_MINOR = 30
RECEIVABLE, WALLET, FEE_INCOME = 1, 2, 3
UNIX_NS = 1_800_000_000_000_000_000
MS = 1_000_000


class World:
    """Tells of orders one by one; ``records`` is everything that was told."""

    def __init__(self) -> None:
        self.history: list[ClientEvent] = []
        self.rows: dict[str, list[object]] = defaultdict(list)
        self._orders: defaultdict[int, int] = defaultdict(int)
        self._batches: defaultdict[int, int] = defaultdict(int)
        self._heads: defaultdict[int, bytes] = defaultdict(lambda: chain.GENESIS)
        self._slices: dict[tuple[int, int], list[int]] = {}
        self._sent = 0
        self.now_ns = 1_000 * MS
        for place, merchant in enumerate(MERCHANTS):
            for number, kind, holder in (
                (RECEIVABLE, "psp_receivable", PSP),
                (WALLET, "wallet", merchant),
                (FEE_INCOME, "fee_income", ""),
            ):
                self.rows["accounts"].append(
                    AccountRecord(place, number, merchant, "test", kind, holder, "USD")
                )
                self._slices[place, number] = [0, 0, 0]

    # --- what clients do ------------------------------------------------------------------------

    def op(
        self, kind: OpKind, merchant: str, status: int, document: object, **said: object
    ) -> ClientEvent:
        """One operation, from its begin to its end 5 ms later. Returns its end."""
        self._sent += 1
        said = {"mode": "test", "currency": "USD", "token": "tok_approve", **said}
        begin = ClientEvent(
            op=self._sent,
            type=EventType.INVOKE,
            at_ns=self.now_ns,
            kind=kind,
            merchant=merchant,
            **said,  # type: ignore[arg-type]  # the test's own names of its fields
        )
        self.now_ns += 5 * MS
        body = msgspec.json.encode(document).decode()
        ended = EventType.OK if status < 300 or status == 402 else EventType.FAIL
        end = begin._replace(
            type=ended,
            at_ns=self.now_ns,
            status=status,
            body=body,
            body_sha256=sha256(body.encode()).hexdigest(),
        )
        self.now_ns += MS
        self.history += [begin, end]
        return end

    def order(self, place: int, key: str, amount_minor: int, *, is_declined: bool) -> None:
        """One order of a merchant: posted, read, settled, posted again, read again."""
        merchant = MERCHANTS[place]
        made = fingerprint.fingerprint(
            {
                "amount": amount_minor,
                "currency": "USD",
                "seller": merchant,
                "payment_method": "tok_approve",
            },
            FINGERPRINT_KEY,
        ).hex()
        said = {
            "key": key,
            "fingerprint": made,
            "amount_minor": amount_minor,
            "seller": merchant,
        }
        shown = {
            "id": key,
            "status": "processing",
            "outcome": "known",
            "amount": amount_minor,
            "currency": "USD",
            "attempts": 1,
        }
        self.op(OpKind.POST, merchant, 202, shown, **said)
        self._take_in(place, key, amount_minor, made)
        self.op(OpKind.GET, merchant, 200, shown, key=key)
        outcome = self._settle(place, key, amount_minor, is_declined=is_declined)
        ended = {
            **shown,
            "status": outcome.status,
            "amount_captured": outcome.amount_captured_minor,
            "seller": merchant,
            "fee": FEE_MINOR,
            "psp": PSP,
            "psp_reference": outcome.psp_reference,
        }
        frozen = {"code": "declined", "payment": ended} if is_declined else ended
        for _ in range(2):
            status = 402 if is_declined else 201
            self.op(OpKind.POST, merchant, status, frozen, is_replayed=True, **said)
        self.op(
            OpKind.POST,
            merchant,
            422,
            {"code": "idempotency_key_reused"},
            **{**said, "fingerprint": "other"},
        )
        self.op(OpKind.GET, merchant, 200, ended, key=key)
        held = self._slices[place, WALLET]
        balances = [{"currency": "USD", "posted": held[2] - held[1]}]
        self.op(OpKind.WALLET, merchant, 200, {"balances": balances}, key=merchant)

    # --- what the books and the PSP say ----------------------------------------------------------

    def _take_in(self, place: int, key: str, amount_minor: int, made: str) -> None:
        self._orders[place] += 1
        self._batches[place] += 1
        number, merchant = self._orders[place], MERCHANTS[place]
        order = identity.order_uuid(merchant, Mode.TEST, UUID(key))
        self.rows["orders"].append(
            OrderRecord(
                *(place, number, str(order), merchant, "test", key, merchant, amount_minor),
                *("USD", FEE_MINOR, made, "{}", UNIX_NS + self.now_ns),
            )
        )
        psp_key = identity.psp_key(order, 1)
        self.rows["attempts"].append(
            AttemptRecord(place, number, 1, PSP, "default", psp_key, self._epoch(place))
        )
        self.rows["events"].append(
            EventRecord(place, number, 1, self._batches[place], "payment_order.created")
        )

    def _settle(
        self, place: int, key: str, amount_minor: int, *, is_declined: bool
    ) -> OutcomeRecord:
        self._batches[place] += 1
        number, batch_seq = self._orders[place], self._batches[place]
        captured_minor = 0 if is_declined else amount_minor
        attempt = self.rows["attempts"][-1]
        assert isinstance(attempt, AttemptRecord)
        reference = f"ch_{place}_{number}"
        failure = ("declined", "do_not_honor", "Declined") if is_declined else (None, None, None)
        outcome = OutcomeRecord(
            partition_index=place,
            order_no=number,
            batch_seq=batch_seq,
            status="failed" if is_declined else "succeeded",
            amount_captured_minor=captured_minor,
            fee_minor=FEE_MINOR,
            currency="USD",
            attempt_no=1,
            psp=PSP,
            psp_reference=reference,
            failure_code=failure[0],
            decline_code=failure[1],
            failure_message=failure[2],
            effective_unix_us=1_800_000_000_000_000,
            event_sequence=2,
            recorded_unix_ns=UNIX_NS + self.now_ns,
        )
        self.rows["outcomes"].append(outcome)
        self.rows["events"].append(
            EventRecord(place, number, 2, batch_seq, f"payment_order.{outcome.status}")
        )
        self.rows["charges"].append(
            ChargeRecord(
                *(PSP, reference, attempt.psp_key, MERCHANTS[place], key, amount_minor, "USD"),
                *("declined" if is_declined else "captured", captured_minor, 0),
                UNIX_NS + self.now_ns,
            )
        )
        moved = [] if is_declined else self._move(place, number, batch_seq, amount_minor)
        self._write_batch(place, outcome, moved)
        return outcome

    def _move(
        self, place: int, number: int, batch_seq: int, amount_minor: int
    ) -> list[TransferRecord]:
        moved = [
            TransferRecord(
                *(place, number, 1, batch_seq, "charge", RECEIVABLE, WALLET, amount_minor, "USD")
            ),
            TransferRecord(
                *(place, number, 2, batch_seq, "fee", WALLET, FEE_INCOME, FEE_MINOR, "USD")
            ),
        ]
        for row in moved:
            for account_no, side in ((row.debit_account_no, 1), (row.credit_account_no, 2)):
                self._slices[place, account_no][0] += 1
                self._slices[place, account_no][side] += row.amount_minor
        self.rows["transfers"] += moved
        return moved

    def _write_batch(self, place: int, outcome: OutcomeRecord, moved: list[TransferRecord]) -> None:
        status = 7 if outcome.status == "failed" else 5
        kinds = {"charge": 1, "fee": 2}
        effective_us = outcome.effective_unix_us or 0
        written = OutcomeRow(
            partition_index=place,
            order_no=outcome.order_no,
            batch_seq=outcome.batch_seq,
            status=status,
            amount_captured_minor=outcome.amount_captured_minor,
            fee_minor=outcome.fee_minor,
            currency=outcome.currency,
            attempt_no=outcome.attempt_no,
            psp=outcome.psp,
            psp_reference=outcome.psp_reference,
            failure_code=outcome.failure_code,
            decline_code=outcome.decline_code,
            failure_message=outcome.failure_message,
            effective_at=datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=effective_us),
            event_sequence=outcome.event_sequence,
        )
        self._heads[place] = chain.extend(
            self._heads[place],
            place,
            outcome.batch_seq,
            [written],
            [TransferRow(*row[:4], kinds[row.kind], *row[5:]) for row in moved],
        )
        self.rows["batches"].append(
            BatchRecord(
                *(len(self.rows["batches"]) + 1, place, self._epoch(place), outcome.batch_seq),
                *(1, len(moved), self._heads[place].hex()),
            )
        )

    def _epoch(self, place: int) -> int:
        """The owner changes after every six batches."""
        return 1 + (self._batches[place] - 1) // 6

    # --- the whole -------------------------------------------------------------------------------

    def snapshot(self) -> SnapshotRecord:
        """The books as they are now."""
        slices = tuple(
            SliceRecord(place, account_no, *sums)
            for (place, account_no), sums in self._slices.items()
        )
        held = sum(
            row.credits_minor - row.debits_minor for row in slices if row.account_no == WALLET
        )
        return SnapshotRecord(self.now_ns, self._partitions(), slices, {"USD": held}, {"USD": held})

    def _partitions(self) -> tuple[PartitionRecord, ...]:
        return tuple(
            PartitionRecord(
                *(place, self._epoch(place), self._batches[place], self._orders[place]),
                *(self._heads[place].hex(), f"host-{self._epoch(place)}"),
            )
            for place in range(len(MERCHANTS))
        )

    def records(self, snapshots: list[SnapshotRecord]) -> Records:
        final = self.snapshot()
        return Records(
            run=RunRecord(
                seed=1,
                started_ns=1_000 * MS,
                quiesced_ns=self.now_ns + MS,
                unix_less_monotonic_ns=UNIX_NS,
            ),
            history=self.history,
            slices=list(final.slices),
            partitions=list(final.partitions),
            snapshots=snapshots,
            psps=(PSP,),
            queue=[QueueLeft(place, 0, 1_000) for place in range(len(MERCHANTS))],
            documented={"declined": 402, "idempotency_key_reused": 422, "payment_not_found": 404},
            webhooks={
                (merchant, "test"): frozenset(
                    event_id(EventKey(event.partition_index, event.order_no, event.sequence))
                    for event in self.rows["events"]
                    if isinstance(event, EventRecord) and event.partition_index == place
                )
                for place, merchant in enumerate(MERCHANTS)
            },
            leak_bytes_scanned=1,
            is_final_complete=True,
            **self.rows,  # type: ignore[arg-type]  # lists of the records that their names say
        )


def valid_records(order_count: int = 12) -> Records:
    """Records of a run in which everything is right. Two merchants use the same keys."""
    world = World()
    snapshots = [world.snapshot()]
    for number in range(order_count):
        key = str(UUID(int=number // 2 + 1, version=4))
        world.order(number % 2, key, 1_000 + number, is_declined=number % 5 == 4)
        snapshots.append(world.snapshot())
    return world.records(snapshots)
