"""How a dispute is shown, also in its events: exact bytes from plain columns, as a payment's are (payments.answer)."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from payments.answer import API_VERSIONS
from payments.defects import InvariantViolation
from payments.disputes import DisputeState
from payments.identity import ORDER_NO_MAX, PARTITION_INDEX_MAX
from payments.json_text import json_string, json_time
from payments.letter_ids import letter_id, parse_letter_id

DISPUTE_PREFIX = "dp"


class DisputeView(NamedTuple):
    """One dispute as columns: of the moment of an event, or now. Amounts are minor units, times aware UTC."""

    dispute_id: str
    payment_key: UUID
    state: DisputeState
    amount_minor: int
    currency: str
    psp: str
    psp_reference: str
    created_at: datetime
    """When the books were told of it."""
    api_version: str


def dispute_id(partition_index: int, order_no: int) -> str:
    """Return the public id of a dispute, ``dp_…``."""
    return letter_id(DISPUTE_PREFIX, partition_index, order_no)


def parse_dispute_id(text: str) -> tuple[int, int] | None:
    """Return (partition_index, order_no) of a dispute's public id; None for any other text."""
    numbers = parse_letter_id(DISPUTE_PREFIX, text, (PARTITION_INDEX_MAX, ORDER_NO_MAX))
    return None if numbers is None else (numbers[0], numbers[1])


def dispute_body(view: DisputeView) -> bytes:
    """Return the dispute's JSON in ASCII. Raises InvariantViolation for an API version without a renderer."""
    if view.api_version not in API_VERSIONS:
        raise InvariantViolation(f"no renderer for API version {view.api_version!r}")
    return (
        f'{{"id":{json_string(view.dispute_id)},"object":"dispute"'
        f',"payment":"{view.payment_key}","status":{json_string(view.state.wire)}'
        f',"amount":{view.amount_minor},"currency":{json_string(view.currency)}'
        f',"psp":{json_string(view.psp)},"psp_reference":{json_string(view.psp_reference)}'
        f',"created_at":{json_time(view.created_at)}}}'
    ).encode("ascii")
