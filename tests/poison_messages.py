"""Genuine orders as gateways queue them, and what can become of their bytes: one of each class."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from uuid import UUID, uuid4

from redis.asyncio import Redis

from payments.answer import API_VERSION
from payments.commands import PaymentCommand
from payments.fingerprint import FINGERPRINT_BYTES
from payments.identity import order_uuid
from payments.mode import Mode
from payments.partitioning import partition_index
from storage.envelope import encode_command
from storage.queue_keys import stream_key
from tests.rig import PARTITION_COUNT, Rig


async def genuine(rig: Rig, key: UUID | None = None) -> PaymentCommand:
    """An order of the rig's merchant as a gateway would queue it."""
    rows = await rig.fetch(
        "SELECT merchant_no, seller_no FROM merchant JOIN seller USING (merchant_no)"
        " WHERE merchant_id = $1 AND seller_id = merchant_id AND mode = 1",
        rig.merchant_id,
    )
    key = key or uuid4()
    return PaymentCommand(
        order_uuid=order_uuid(rig.merchant_id, Mode.TEST, key),
        idempotency_key=key,
        merchant_no=rows[0]["merchant_no"],
        merchant_id=rig.merchant_id,
        mode=Mode.TEST,
        seller_no=rows[0]["seller_no"],
        amount_minor=1_000,
        currency="USD",
        fee_minor=59,
        payment_method="tok_approve",
        description=None,
        buyer_json=None,
        metadata_json=None,
        fingerprint=b"\x01" + b"\x02" * (FINGERPRINT_BYTES - 1),
        accepted_at=datetime.now(UTC),
        api_version=API_VERSION,
        reply_to="",
    )


def damaged(command: PaymentCommand) -> Mapping[str, list[bytes]]:
    """The order's fields with one damage each, by the reason that its letter must have.

    Header fields that say which order it is are whole.
    """
    fields = list(encode_command(command))
    return {
        "fields_malformed": [*fields, b"r", b""],
        "version_unknown": with_field(fields, b"v", b"9|0"),
        "encryption_unknown": with_field(fields, b"v", b"1|7"),
        "field_unreadable": with_field(fields, b"t", b"yesterday"),
        "payload_malformed": with_field(fields, b"p", b"\xff\xff"),
        "payload_too_large": with_field(fields, b"p", bytes(300_000)),
        "value_out_of_range": with_field(
            fields, b"p", list(encode_command(command))[-1].replace(b"USD", b"usd")
        ),
    }


def with_field(fields: list[bytes], name: bytes, value: bytes) -> list[bytes]:
    """The fields with one of them replaced."""
    at = fields.index(name) + 1
    return [*fields[:at], value, *fields[at + 1 :]]


async def append(rig: Rig, command: PaymentCommand, fields: list[bytes]) -> None:
    """Write to the order's stream as whoever can reach the server might."""
    index = partition_index(command.order_uuid, PARTITION_COUNT)
    async with Redis.from_url(rig.servers.valkey_url) as redis:
        await redis.execute_command("XADD", stream_key(index), "*", *fields)  # type: ignore[no-untyped-call]
