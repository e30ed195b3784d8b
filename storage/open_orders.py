"""What a new owner finds: a partition's open orders, each with its command and its attempt."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from itertools import starmap
from typing import Any

import asyncpg

from payments.attempts import Attempt
from payments.commands import PaymentCommand
from payments.defects import InvariantViolation
from payments.fingerprint import canonical_json
from payments.mode import Mode
from payments.splits import Split
from payments.standing import PaymentStanding
from payments.state import OpenOrderRecord
from storage.operated_payments import asked, open_operation_record, operated_payments
from storage.sealing import Detail, decode_detail, open_sealed
from storage.sessions import Session
from storage.sql_files import load_statements

# One page is about 1 MB on the wire and 20 ms of the loop; a partition may have 100,000 orders open
# after its PSP was down.
PAGE_ROWS_MAX = 1_000

_SQL = load_statements("ownership.sql")
_LEDGER_SQL = load_statements("ledger.sql")


Row = Mapping[str, Any] | asyncpg.Record
Meets = Callable[[Iterable[bytes]], None]
Tried = Callable[[Sequence[Row]], Coroutine[Any, Any, Sequence[bool]]]
"""Returns for each row whether a process survives to rebuild it."""


def meets_nothing(_parts: Iterable[bytes]) -> None:
    """What production does before it decodes a row: nothing."""


async def fetch_open_orders(
    session: Session,
    partition_index: int,
    *,
    meets: Meets = meets_nothing,
    tried: Tried | None = None,
) -> tuple[list[OpenOrderRecord], list[int]]:
    """Return all open orders of a partition, page by page, in their order; parked ones are left out.

    With ``tried`` each row is tried there before it is touched here; the second list are the numbers
    of those that nobody survives. Only the owner may read them: nothing else keeps the pages
    consistent. Raises InvariantViolation for an open order whose order, attempt or personal data is
    missing.
    """
    records: list[OpenOrderRecord] = []
    deadly: list[int] = []
    order_no_last = 0
    while True:
        rows = await session.fetch(
            _SQL["open_orders"], partition_index, order_no_last, PAGE_ROWS_MAX
        )
        survived = [True] * len(rows) if tried is None else await tried([dict(row) for row in rows])
        for row, is_safe in zip(rows, survived, strict=True):
            if is_safe:
                records.append(open_order_record(partition_index, row, meets=meets))
            else:
                deadly.append(row["order_no"])
        if len(rows) < PAGE_ROWS_MAX:
            return records, deadly
        order_no_last = rows[-1]["order_no"]


async def fetch_open_operations(
    session: Session, partition_index: int
) -> tuple[list[OpenOrderRecord], list[PaymentStanding]]:
    """Return all open operations of a partition, page by page, and the payments that they are of.

    Only the owner may read them. Raises InvariantViolation for one whose payment, attempt or events
    are missing.
    """
    records: list[OpenOrderRecord] = []
    payments: dict[int, PaymentStanding] = {}
    order_no_last = 0
    while True:
        rows = await session.fetch(
            _SQL["open_operations"], partition_index, order_no_last, PAGE_ROWS_MAX
        )
        missing = {row["payment_no"] for row in rows} - payments.keys()
        if missing:
            keys = [(partition_index, payment_no) for payment_no in sorted(missing)]
            found = operated_payments(
                await session.fetch(_LEDGER_SQL["operated_payments"], *asked((), keys))
            )
            payments |= {payment.order_no: payment for payment in found.standings.values()}
        for row in rows:
            if (payment := payments.get(row["payment_no"])) is None:
                raise InvariantViolation(f"open operation {row['order_no']} has no payment")
            records.append(open_operation_record(row, payment))
        if len(rows) < PAGE_ROWS_MAX:
            return records, list(payments.values())
        order_no_last = rows[-1]["order_no"]


def open_order_record(
    partition_index: int, row: Row, *, meets: Meets = meets_nothing
) -> OpenOrderRecord:
    """Return one row of the statement as an open order. Raises InvariantViolation for a missing part."""
    parts = ("order_uuid", "attempt_no", "tried_since", "detail_envelope", "event_sequence")
    missing = [part for part in parts if row[part] is None]
    if missing:
        raise InvariantViolation(
            f"open order {row['order_no']} of partition {partition_index} lacks {missing}"
        )
    meets((row["detail_envelope"],))
    detail = decode_detail(row["detail_envelope"])
    attempt = Attempt.inherited(
        attempt_no=row["attempt_no"],
        psp=row["psp"],
        psp_account=row["psp_account"],
        psp_key=row["psp_key"],
        request=_request(partition_index, row, detail),
        epoch=row["epoch"],
        created_at=row["created_at"],
    )
    return OpenOrderRecord(
        order_no=row["order_no"],
        command=_command(row, detail),
        attempt=attempt._replace(try_count=row["try_count"]),
        status=row["status"],
        is_outcome_known=row["is_outcome_known"],
        psp_reference=row["psp_reference"],
        next_action_url=row["next_action_url"],
        action_expires_at=row["action_expires_at"],
        next_retry_at=row["next_retry_at"],
        event_sequence=row["event_sequence"],
        parked_reason=row["parked_reason"],
        tried_since=row["tried_since"],
        has_timer=row["has_timer"],
    )


def _request(partition_index: int, row: Row, detail: Detail) -> bytes:
    """Return the request of an order's present attempt, which is as old as the order or has a row of its own."""
    if (envelope := row["request_envelope"]) is not None:
        return open_sealed(envelope)
    if row["attempt_no"] == 1 and detail.first_request is not None:
        return detail.first_request
    raise InvariantViolation(
        f"open order {row['order_no']} of partition {partition_index} lacks its attempt's request"
    )


def _command(row: Row, detail: Detail) -> PaymentCommand:
    metadata = row["metadata"]
    return PaymentCommand(
        order_uuid=row["order_uuid"],
        idempotency_key=row["idempotency_key"],
        merchant_no=row["merchant_no"],
        merchant_id=detail.merchant_id,
        mode=Mode(row["mode"]),
        seller_no=row["seller_no"],
        amount_minor=row["amount_minor"],
        currency=row["currency"],
        fee_minor=row["fee_minor"],
        payment_method=detail.payment_method,
        description=detail.description,
        buyer_json=detail.buyer_json,
        # The column is jsonb, which keeps no spelling of its own.
        metadata_json=None if metadata is None else canonical_json(json.loads(metadata)),
        fingerprint=row["fingerprint"],
        accepted_at=row["accepted_at"],
        api_version=row["api_version"],
        reply_to="",
        captures_manually=row["captures_manually"],
        hosted=detail.hosted,
        splits=splits_of(row["splits"]),
    )


def splits_of(text: str | None) -> tuple[Split, ...] | None:
    """Return the splits of a row's JSON text, one array each; None: it has none."""
    return None if text is None else tuple(starmap(Split, json.loads(text)))
