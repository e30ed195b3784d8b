"""``python -m loadtest.bench.baselines.copy``: payments as plain binary COPY, into Tallystick's tables.

The same rows, tables, indexes and columns as an owner writes for a payment that succeeds, without
anything that makes them a payment: no request, queue, fence, PSP, slice, or order that was ever
open. What Postgres takes at most, when it is only asked to keep the rows.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg
import click
import msgspec
import uvloop

from loadtest.bench.generator.requests import AMOUNT_MINOR, CURRENCY, PAYMENT_METHOD
from payments import chain
from payments.answer import API_VERSION
from payments.fingerprint import FINGERPRINT_BYTES
from payments.identity import psp_key
from payments.lifecycle import PaymentEvent, PaymentState
from payments.mode import Mode
from payments.rows import PersonalPart, TransferKind
from storage.sealing import seal

PARTITION_COUNT = 16
# As many as an owner writes in one transaction at most; a multiple of the partitions.
BATCH_PAYMENTS = 1_024
# One batch waits for the standby while the next one is sent.
CONNECTION_COUNT = 2
FEE_MINOR = 88
_PSP = "simulator"
_ACCEPTED_AT = datetime(2026, 11, 1, 12, tzinfo=UTC)

Rows = list[tuple[object, ...]]

_COLUMNS: dict[str, tuple[str, ...]] = {
    "payment_order": (
        *("partition_index", "order_no", "order_uuid", "idempotency_key", "merchant_no", "mode"),
        *("seller_no", "amount_minor", "currency", "fee_minor", "fingerprint", "api_version"),
        "accepted_at",
    ),
    "personal_data": ("partition_index", "order_no", "part", "envelope"),
    "attempt": (
        *("partition_index", "order_no", "attempt_no", "psp", "psp_account", "psp_key", "epoch"),
    ),
    "event": ("partition_index", "order_no", "sequence", "batch_seq", "type"),
    "order_outcome": (
        *("partition_index", "order_no", "batch_seq", "status", "amount_captured_minor"),
        *("fee_minor", "currency", "attempt_no", "psp", "psp_reference", "effective_at"),
        "event_sequence",
    ),
    "transfer": (
        *("partition_index", "order_no", "step", "batch_seq", "kind", "debit_account_no"),
        *("credit_account_no", "amount_minor", "currency"),
    ),
    "ledger_batch": (
        *("partition_indexes", "epochs", "batch_seqs", "outcome_counts", "transfer_counts"),
        "chain_hashes",
    ),
}


class CopyResult(msgspec.Struct, frozen=True, kw_only=True):
    """What was copied, in how long, and how long each batch took until its commit."""

    payments: int
    seconds: float
    batch_seconds: list[float]
    cpu_s: float


def batch_rows(batch_seq: int, source: random.Random) -> dict[str, Rows]:
    """Return the rows of BATCH_PAYMENTS payments of 1,000 sellers, by table."""
    rows: dict[str, Rows] = {table: [] for table in _COLUMNS}
    first = batch_seq * BATCH_PAYMENTS // PARTITION_COUNT + 1
    for number in range(BATCH_PAYMENTS):
        _add_payment(
            rows, number % PARTITION_COUNT, first + number // PARTITION_COUNT, batch_seq, source
        )
    counts = [BATCH_PAYMENTS // PARTITION_COUNT] * PARTITION_COUNT
    indexes = list(range(PARTITION_COUNT))
    one, seqs = [1] * PARTITION_COUNT, [batch_seq] * PARTITION_COUNT
    hashes = [source.randbytes(chain.HASH_BYTES) for _ in indexes]
    rows["ledger_batch"].append(
        (indexes, one, seqs, counts, [2 * count for count in counts], hashes)
    )
    return rows


def _add_payment(
    rows: dict[str, Rows], partition: int, order_no: int, batch_seq: int, source: random.Random
) -> None:
    key = (partition, order_no)
    order_uuid, idempotency_key = (UUID(int=source.getrandbits(128), version=4) for _ in range(2))
    seller_no = source.randint(2, 1_001)
    request = msgspec.json.encode(
        {
            "amount": AMOUNT_MINOR,
            "capture": True,
            "currency": CURRENCY,
            "description": "",
            "metadata": {"merchant": "mrc_bcdfghjkmnpqrstvbcdf", "order_key": idempotency_key},
            "token": PAYMENT_METHOD,
            "v": 1,
        }
    )
    merchant_id = "mrc_bcdfghjkmnpqrstvbcdf"
    detail = msgspec.msgpack.encode((PAYMENT_METHOD, None, None, merchant_id, None, request))
    rows["payment_order"].append(
        (
            *(*key, order_uuid, idempotency_key, 1, Mode.TEST, seller_no, AMOUNT_MINOR, CURRENCY),
            *(FEE_MINOR, source.randbytes(FINGERPRINT_BYTES), API_VERSION, _ACCEPTED_AT),
        )
    )
    rows["personal_data"].append((*key, PersonalPart.DETAIL, seal(detail)))
    rows["attempt"].append((*key, 1, _PSP, "default", psp_key(order_uuid, 1), 1))
    rows["event"] += [
        (*key, 1, batch_seq, PaymentEvent.CREATED),
        (*key, 2, batch_seq, PaymentEvent.SUCCEEDED),
    ]
    rows["order_outcome"].append(
        (
            *(*key, batch_seq, PaymentState.SUCCEEDED, AMOUNT_MINOR, FEE_MINOR, CURRENCY, 1, _PSP),
            *(f"ch_{source.getrandbits(64):016x}", _ACCEPTED_AT, 2),
        )
    )
    rows["transfer"] += [
        (*key, 1, batch_seq, TransferKind.CHARGE, 1, seller_no, AMOUNT_MINOR, CURRENCY),
        (*key, 2, batch_seq, TransferKind.FEE, seller_no, 2_000, FEE_MINOR, CURRENCY),
    ]


async def _copy_batch(connection: asyncpg.Connection[Any], rows: dict[str, Rows]) -> None:
    async with connection.transaction():
        for table, columns in _COLUMNS.items():
            await connection.copy_records_to_table(table, records=rows[table], columns=columns)


async def _wait_for_go() -> None:
    """Say that the rows are there, and wait for a line: whoever measures starts its clocks now."""
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.readline)


async def copy(dsn: str, *, seconds: float, batch_count: int, seed: int) -> CopyResult:
    """Make all rows first, then copy them for so long or until there are no more."""
    source = random.Random(seed)  # noqa: S311  # load, not secrets
    batches = [batch_rows(batch_seq, source) for batch_seq in range(batch_count)]
    batches.reverse()
    batch_seconds: list[float] = []
    connections = [await asyncpg.connect(dsn) for _ in range(CONNECTION_COUNT)]
    await _wait_for_go()
    cpu_before_s = time.process_time()
    started_s = time.monotonic()

    async def work(connection: asyncpg.Connection[Any]) -> None:
        while batches and time.monotonic() - started_s < seconds:
            rows = batches.pop()
            begun_s = time.monotonic()
            await _copy_batch(connection, rows)
            batch_seconds.append(time.monotonic() - begun_s)

    await asyncio.gather(*(work(connection) for connection in connections))
    taken_s = time.monotonic() - started_s
    cpu_s = time.process_time() - cpu_before_s
    for connection in connections:
        await connection.close()
    return CopyResult(
        payments=len(batch_seconds) * BATCH_PAYMENTS,
        seconds=taken_s,
        batch_seconds=batch_seconds,
        cpu_s=cpu_s,
    )


@click.command()
@click.option("--dsn", envvar="BENCH_DSN", required=True)
@click.option("--seconds", type=float, required=True)
@click.option("--batch-count", type=int, required=True)
@click.option("--seed", type=int, required=True)
def main(dsn: str, seconds: float, batch_count: int, seed: int) -> None:
    """Copy, and print the result as JSON."""
    result = uvloop.run(copy(dsn, seconds=seconds, batch_count=batch_count, seed=seed))
    sys.stdout.buffer.write(msgspec.json.encode(result))


if __name__ == "__main__":
    main()
