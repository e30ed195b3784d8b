"""How operations are shown: the same bytes for ever, and a status that says what became of them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from uuid import UUID

import pytest

from payments.answer import API_VERSION
from payments.defects import InvariantViolation
from payments.identity import operation_id, operation_uuid, parse_operation_id
from payments.lifecycle import PaymentState
from payments.operation_answer import (
    ID_PREFIXES,
    OperationView,
    frozen_operation_answer,
    operation_body,
)
from payments.operation_kinds import OperationKind
from payments.operations import REFUSAL_STATUSES

AT = datetime(2026, 11, 1, 12, tzinfo=UTC)
REFUND = OperationView(
    operation_id="rf_d_bcdf",
    kind=OperationKind.REFUND,
    payment_key=UUID("6f1c0e58-6c0f-4b7f-9d5e-0f3f0a6f4c11"),
    status=PaymentState.SUCCEEDED,
    is_outcome_known=True,
    amount_minor=500,
    currency="USD",
    failure_code=None,
    decline_code=None,
    failure_message=None,
    next_retry_at=None,
    created_at=AT,
    effective_at=AT,
    ledger_updated_at=AT,
    api_version=API_VERSION,
)


def test_the_bytes_of_an_operation() -> None:
    """Members stand in a fixed order, and nothing depends on a clock or a request."""
    assert operation_body(REFUND) == (
        b'{"id":"rf_d_bcdf","object":"refund","payment":"6f1c0e58-6c0f-4b7f-9d5e-0f3f0a6f4c11"'
        b',"status":"succeeded","outcome":"known","amount":500,"currency":"USD","failure":null'
        b',"next_retry_at":null,"created_at":"2026-11-01T12:00:00.000Z"'
        b',"effective_at":"2026-11-01T12:00:00.000Z"'
        b',"ledger_updated_at":"2026-11-01T12:00:00.000Z"}'
    )
    assert frozen_operation_answer(REFUND) == (201, "application/json", operation_body(REFUND))


@pytest.mark.parametrize(
    ("code", "status"), [*REFUSAL_STATUSES.items(), ("declined", 402), ("psp_unavailable", 402)]
)
def test_what_failed_is_a_problem(code: str, status: int) -> None:
    """Its status is the one of its code, and the operation stands in it."""
    failed = REFUND._replace(status=PaymentState.FAILED, failure_code=code)
    answered, content_type, body = frozen_operation_answer(failed)
    document = json.loads(body)
    assert (answered, document["status"], document["code"]) == (status, status, code)
    assert content_type == "application/problem+json"
    assert document["refund"] == json.loads(operation_body(failed))
    assert document["retryable"] is False


@pytest.mark.parametrize("status", [PaymentState.CREATED, PaymentState.PROCESSING])
def test_what_is_open_is_not_frozen(status: PaymentState) -> None:
    """An answer that can still change must not be taken for the last one."""
    with pytest.raises(InvariantViolation):
        frozen_operation_answer(REFUND._replace(status=status))


@pytest.mark.parametrize("kind", OperationKind)
def test_public_ids_lead_back(kind: OperationKind) -> None:
    """An id tells partition and identity, in letters alone; another spelling is no id."""
    identity = operation_uuid(UUID(int=7), kind.wire, UUID(int=8))
    text = operation_id(ID_PREFIXES[kind], 17, identity)
    key = parse_operation_id(text)
    assert key is not None
    assert (key.prefix, key.partition_index, key.operation_uuid) == (
        ID_PREFIXES[kind],
        17,
        identity,
    )
    assert not any(character.isdigit() for character in text)
    for other in (text + "b", text.upper(), text.replace("_", "_b", 1), "tr_" + text[3:]):
        assert parse_operation_id(other) is None
