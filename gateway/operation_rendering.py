"""How captures, voids and refunds are answered: bodies from ``payments.operation_answer``, headers from here."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from aiohttp import web

from gateway.rendering import (
    HEADER_KEY_CHECK,
    HEADER_REPLAYED,
    KEY_CHECK_DEFERRED,
    json_bytes_response,
)
from payments.answer import CONTENT_TYPE_JSON
from payments.commands import OperationCommand
from payments.identity import operation_id
from payments.lifecycle import PaymentState
from payments.operation_answer import (
    ID_PREFIXES,
    REFUND_PATH_BASE,
    OperationView,
    frozen_operation_answer,
    operation_body,
)
from payments.operation_kinds import OperationKind
from storage.read_ports import StoredOrder

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def accepted_operation_view(
    command: OperationCommand, payment: StoredOrder, accepted_at_ms: int
) -> OperationView:
    """Return an accepted operation as it stands before its owner has taken it in."""
    return OperationView(
        operation_id=operation_id(
            ID_PREFIXES[command.kind], payment.partition_index, command.operation_uuid
        ),
        kind=command.kind,
        payment_key=command.payment_key,
        status=PaymentState.CREATED,
        is_outcome_known=True,
        amount_minor=command.amount_minor,
        currency=payment.view.currency,
        failure_code=None,
        decline_code=None,
        failure_message=None,
        next_retry_at=None,
        created_at=_EPOCH + timedelta(milliseconds=accepted_at_ms),
        effective_at=None,
        ledger_updated_at=None,
        api_version=command.api_version,
    )


def running_operation_response(
    view: OperationView, *, is_replay: bool, is_deferred: bool
) -> web.Response:
    """Return the 202 of an operation that has not ended."""
    response = _response(view, 202, CONTENT_TYPE_JSON, operation_body(view), is_replay=is_replay)
    if is_deferred:
        response.headers[HEADER_KEY_CHECK] = KEY_CHECK_DEFERRED
    return response


def frozen_operation_response(view: OperationView, *, is_replay: bool) -> web.Response:
    """Return the answer of an operation that ended: the same bytes every time."""
    return _response(view, *frozen_operation_answer(view), is_replay=is_replay)


def refund_list_response(views: Iterable[OperationView], *, has_more: bool) -> web.Response:
    """Return a page of refunds."""
    data = b",".join(operation_body(view) for view in views)
    more = b"true" if has_more else b"false"
    return json_bytes_response(b'{"object":"list","data":[%b],"has_more":%b}' % (data, more))


def _response(
    view: OperationView, status: int, content_type: str, body: bytes, *, is_replay: bool
) -> web.Response:
    headers = {"Content-Type": content_type, "Cache-Control": "no-store"}
    if view.kind is OperationKind.REFUND:
        headers["Location"] = REFUND_PATH_BASE + view.operation_id
    if is_replay:
        headers[HEADER_REPLAYED] = "true"
    return web.Response(status=status, body=body, headers=headers)
