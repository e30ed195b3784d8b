"""How orders and lists are answered: bodies from ``payments.answer``, headers from here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from json.encoder import encode_basestring_ascii
from uuid import UUID

import msgspec
from aiohttp import web

from payments.answer import (
    API_VERSION,
    CAPTURE_WIRES,
    CONTENT_TYPE_JSON,
    PAYMENT_PATH_BASE,
    OrderView,
    frozen_answer,
    payment_body,
)
from payments.commands import PaymentCommand
from payments.lifecycle import PaymentState
from payments.mode import Mode
from runtime.lined_responses import LinedResponse
from storage.read_ports import SellerRecord, TransferRecord, WalletRecord

HEADER_REPLAYED = "Idempotent-Replayed"
HEADER_KEY_CHECK = "Tallystick-Key-Check"
KEY_CHECK_DEFERRED = "deferred"

# What ``_payment_headers`` says, as it is sent.
_LINES_TO_KEY = f"Content-Type: {CONTENT_TYPE_JSON}\r\nLocation: {PAYMENT_PATH_BASE}"
_LINES_FROM_KEY = "\r\nCache-Control: no-store\r\n"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_encoder = msgspec.json.Encoder()


def accepted_view(
    command: PaymentCommand, seller_id: str, accepted_at_ms: int, splits_json: str | None = None
) -> OrderView:
    """Return an accepted order as it stands before its owner has taken it in.

    ``splits_json`` are its splits as they are shown, where it has any.
    """
    return OrderView(
        idempotency_key=command.idempotency_key,
        status=PaymentState.PROCESSING.wire,
        is_outcome_known=True,
        amount_minor=command.amount_minor,
        amount_captured_minor=0,
        amount_refunded_minor=0,
        currency=command.currency,
        seller_id=seller_id,
        fee_minor=command.fee_minor,
        psp=None,
        psp_reference=None,
        attempt_count=0,
        failure_code=None,
        decline_code=None,
        failure_message=None,
        next_action=None,
        next_retry_at=None,
        metadata_json=command.metadata_json,
        capture=CAPTURE_WIRES[command.captures_manually],
        created_at=moment_of_ms(accepted_at_ms),
        effective_at=None,
        ledger_updated_at=None,
        wallet_updated_at=None,
        api_version=command.api_version,
        splits_json=splits_json,
    )


def accepted_response(
    command: PaymentCommand,
    seller_id: str,
    accepted_at_ms: int,
    *,
    is_replay: bool,
    is_deferred: bool,
    splits_json: str | None = None,
) -> web.Response:
    """Return the 202 of an order that its owner has not taken in; the same as of its view."""
    key = str(command.idempotency_key)
    if splits_json is None:
        body = _accepted_body(command, key, seller_id, accepted_at_ms)
    else:
        body = payment_body(accepted_view(command, seller_id, accepted_at_ms, splits_json))
    return _running(key, body, is_replay=is_replay, is_deferred=is_deferred)


def running_response(view: OrderView, *, is_replay: bool, is_deferred: bool) -> web.Response:
    """Return the 202 of an order that has not settled."""
    key = str(view.idempotency_key)
    return _running(key, payment_body(view), is_replay=is_replay, is_deferred=is_deferred)


def _running(key: str, body: bytes, *, is_replay: bool, is_deferred: bool) -> web.Response:
    lines = f"{_LINES_TO_KEY}{key}{_LINES_FROM_KEY}"
    if is_replay:
        lines += f"{HEADER_REPLAYED}: true\r\n"
    if is_deferred:
        lines += f"{HEADER_KEY_CHECK}: {KEY_CHECK_DEFERRED}\r\n"
    return LinedResponse(202, body, lines)


def frozen_response(view: OrderView, *, is_replay: bool) -> web.Response:
    """Return the answer of a settled order: the same bytes every time."""
    status, content_type, body = frozen_answer(view)
    response = web.Response(
        status=status, body=body, headers=_payment_headers(str(view.idempotency_key))
    )
    response.headers["Content-Type"] = content_type
    if is_replay:
        response.headers[HEADER_REPLAYED] = "true"
    return response


def json_response(document: object, status: int = 200) -> web.Response:
    """Return a document as JSON."""
    return json_bytes_response(_encoder.encode(document), status)


def json_bytes_response(body: bytes, status: int = 200) -> web.Response:
    """Return JSON that is encoded already."""
    return web.Response(
        status=status,
        body=body,
        headers={"Content-Type": CONTENT_TYPE_JSON, "Cache-Control": "no-store"},
    )


def payment_list_response(views: Iterable[OrderView], *, has_more: bool) -> web.Response:
    """Return a page of payments."""
    data = b",".join(payment_body(view) for view in views)
    more = b"true" if has_more else b"false"
    return json_bytes_response(b'{"object":"list","data":[%b],"has_more":%b}' % (data, more))


def transfer_list_response(transfers: Sequence[TransferRecord]) -> web.Response:
    """Return all transfers of one payment."""
    data = [
        {
            "id": transfer.transfer_id,
            "object": "transfer",
            "kind": transfer.kind,
            "debit_account": transfer.debit_account,
            "credit_account": transfer.credit_account,
            "amount": transfer.amount_minor,
            "currency": transfer.currency,
            "created_at": rfc3339(transfer.created_at),
            "batch": transfer.batch,
        }
        for transfer in transfers
    ]
    return json_response({"object": "list", "data": data, "has_more": False})


def seller_document(seller: SellerRecord) -> dict[str, object]:
    """Return a seller as the API shows it."""
    return {
        "id": seller.seller_id,
        "object": "seller",
        "name": seller.name,
        "fee": seller.fee.to_json(),
        "created_at": rfc3339(seller.created_at),
    }


def wallet_document(owner: str, wallet: WalletRecord) -> dict[str, object]:
    """Return a wallet as the API shows it; ``owner`` is the seller's id."""
    return {
        "object": "wallet",
        "owner": owner,
        "balances": [
            {
                "currency": balance.currency,
                "posted": balance.posted_minor,
                "pending": balance.pending_minor,
                "available": balance.available_minor,
            }
            for balance in wallet.balances
        ],
        "as_of": rfc3339(wallet.as_of),
    }


def moment_of_ms(at_ms: int) -> datetime:
    """Return milliseconds since 1970 as an aware time in UTC."""
    return _EPOCH + timedelta(milliseconds=at_ms)


def rfc3339(moment: datetime) -> str:
    """Return an aware time in UTC with milliseconds, such as ``2026-11-01T12:00:00.000Z``."""
    return f"{moment.astimezone(UTC).isoformat(timespec='milliseconds')[:-6]}Z"


# Thousands of orders are accepted within a second, and differ in its thousandths.
@lru_cache(maxsize=16)
def _second_text(at_s: int) -> str:
    return rfc3339(moment_of_ms(at_s * 1_000)).removesuffix(".000Z")


def _rfc3339_of_ms(at_ms: int) -> str:
    """Return what ``rfc3339`` says of milliseconds since 1970, in a fifth of the time."""
    at_s, rest_ms = divmod(at_ms, 1_000)
    return f"{_second_text(at_s)}.{rest_ms:03d}Z"


def _payment_headers(key: str) -> dict[str, str]:
    return {
        "Content-Type": CONTENT_TYPE_JSON,
        "Location": PAYMENT_PATH_BASE + key,
        "Cache-Control": "no-store",
    }


def _accepted_template(*, captures_manually: bool) -> tuple[str, ...]:
    """Return an accepted order's body, cut where what differs between orders stands.

    Made by the renderer of all bodies, from values that occur nowhere else in one.
    """
    key = UUID(int=0)
    sample = accepted_view(
        PaymentCommand(
            order_uuid=key,
            idempotency_key=key,
            merchant_no=1,
            merchant_id="",
            mode=Mode.TEST,
            seller_no=1,
            amount_minor=111,
            currency="<currency>",
            fee_minor=222,
            payment_method="",
            description=None,
            buyer_json=None,
            metadata_json="<metadata>",
            fingerprint=b"",
            accepted_at=_EPOCH,
            api_version=API_VERSION,
            reply_to="",
            captures_manually=captures_manually,
        ),
        "<seller>",
        0,
    )
    rest = payment_body(sample).decode("ascii")
    parts: list[str] = []
    for value in (
        str(key),
        "111",
        '"<currency>"',
        '"<seller>"',
        "222",
        "<metadata>",
        rfc3339(_EPOCH),
    ):
        part, rest = rest.split(value)
        parts.append(part)
    return (*parts, rest)


_ACCEPTED = {
    captures_manually: _accepted_template(captures_manually=captures_manually)
    for captures_manually in (False, True)
}


def _accepted_body(command: PaymentCommand, key: str, seller_id: str, accepted_at_ms: int) -> bytes:
    """Return what ``payment_body`` makes of the order's ``accepted_view``, in a quarter of the time."""
    start, amount, currency, seller, fee, metadata, created_at, end = _ACCEPTED[
        command.captures_manually
    ]
    return (
        f"{start}{key}{amount}{command.amount_minor}{currency}{encode_basestring_ascii(command.currency)}"
        f"{seller}{encode_basestring_ascii(seller_id)}{fee}{command.fee_minor}"
        f"{metadata}{command.metadata_json or '{}'}"
        f"{created_at}{_rfc3339_of_ms(accepted_at_ms)}{end}"
    ).encode("ascii")
