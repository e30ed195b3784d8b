"""How a dispute is shown, in its events: exact bytes from plain columns, as a payment's are (payments.answer)."""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID

from payments.answer import API_VERSIONS
from payments.defects import InvariantViolation
from payments.disputes import DisputeState
from payments.json_text import json_string
from payments.letter_ids import letter_id

DISPUTE_PREFIX = "dp"


class DisputeView(NamedTuple):
    """One dispute as columns of the moment of an event. Amounts are minor units."""

    dispute_id: str
    payment_key: UUID
    state: DisputeState
    amount_minor: int
    currency: str
    psp: str
    psp_reference: str
    api_version: str


def dispute_id(partition_index: int, order_no: int) -> str:
    """Return the public id of a dispute, ``dp_…``."""
    return letter_id(DISPUTE_PREFIX, partition_index, order_no)


def dispute_body(view: DisputeView) -> bytes:
    """Return the dispute's JSON in ASCII. Raises InvariantViolation for an API version without a renderer."""
    if view.api_version not in API_VERSIONS:
        raise InvariantViolation(f"no renderer for API version {view.api_version!r}")
    return (
        f'{{"id":{json_string(view.dispute_id)},"object":"dispute"'
        f',"payment":"{view.payment_key}","status":{json_string(view.state.wire)}'
        f',"amount":{view.amount_minor},"currency":{json_string(view.currency)}'
        f',"psp":{json_string(view.psp)},"psp_reference":{json_string(view.psp_reference)}}}'
    ).encode("ascii")
