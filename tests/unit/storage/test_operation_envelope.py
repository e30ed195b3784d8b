"""The envelope of operations: what was accepted arrives, and nothing else is taken for one."""

from __future__ import annotations

from uuid import UUID

import pytest

from payments.commands import OperationCommand
from payments.defects import InvariantViolation
from payments.operation_fingerprint import differs, operation_fingerprint
from payments.operation_kinds import OperationKind
from storage.operation_envelope import OPERATION_KINDS, decode_operation, operation_entry
from storage.queue_messages import message_of
from storage.sealing import EnvelopeUnreadable
from tests.operated import an_operation
from tests.queue_commands import a_command

PAYMENT = a_command(UUID(int=7))
REFUND = an_operation(OperationKind.REFUND, PAYMENT, 1, 500)._replace(reason="too large")


def with_field(raw: tuple[bytes, ...], name: bytes, value: bytes) -> tuple[bytes, ...]:
    place = raw.index(name)
    return (*raw[: place + 1], value, *raw[place + 2 :])


@pytest.mark.parametrize("kind", OPERATION_KINDS.values())
@pytest.mark.parametrize("amount_minor", [None, 1, 2**53 - 1])
def test_an_operation_survives_the_stream(kind: OperationKind, amount_minor: int | None) -> None:
    """An owner sees exactly what a gateway accepted."""
    command = an_operation(kind, PAYMENT, 3, amount_minor)
    entry = operation_entry(command, 5)
    assert decode_operation(entry.fields) == command
    assert (entry.partition_index, entry.order_uuid) == (5, command.operation_uuid)
    assert entry.is_operation
    message = message_of(
        entry.fields, partition_index=5, stream_id="1-0", generation=1, read_at_s=0.0
    )
    assert (message.operation, message.command, message.is_readable) == (command, None, True)


@pytest.mark.parametrize(
    "changes",
    [
        {"amount_minor": 0},
        {"amount_minor": 2**53},
        {"reason": "x" * 501},
        {"merchant_no": 0},
        {"merchant_id": "an other"},
        {"fingerprint": b"\x01"},
        {"api_version": "now"},
        {"reply_to": "a b"},
        {"kind": OperationKind.EXPIRY},
        {"kind": OperationKind.CAPTURE},
        {"idempotency_key": UUID(int=5)},
        {"payment_key": UUID(int=5)},
        {"operation_uuid": UUID(int=5)},
    ],
)
def test_what_could_not_be_read_is_not_queued(changes: dict[str, object]) -> None:
    """A gateway's own mistake stops at the gateway; identities have to follow from their parts."""
    command: OperationCommand = REFUND._replace(**changes)  # type: ignore[arg-type]  # on purpose
    with pytest.raises(InvariantViolation):
        operation_entry(command, 0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"c", b"payment"),
        (b"c", b"expiry"),
        (b"c", b"void"),
        (b"m", b"0|test"),
        (b"k", b"x"),
        (b"k", b"00000000-0000-0000-0000-000000000005"),
        (b"f", b""),
        (b"v", b"9|0"),
        (b"t", b"soon"),
        (b"r", b"a b"),
        (b"p", b"\xc1"),
        (b"p", b"\x90"),
    ],
)
def test_damaged_messages_are_unreadable(name: bytes, value: bytes) -> None:
    """Every part is checked again: the stream is written by anyone who can reach it."""
    with pytest.raises(EnvelopeUnreadable):
        decode_operation(with_field(operation_entry(REFUND, 0).fields, name, value))


def test_fingerprints_name_what_differs() -> None:
    """Amount and reason are what is compared; a missing amount is another request than any amount."""
    key = bytes(32)
    first = operation_fingerprint(500, "x", key)
    assert differs(first, operation_fingerprint(500, "x", key)) == []
    assert differs(first, operation_fingerprint(None, "x", key)) == ["amount"]
    assert differs(first, operation_fingerprint(500, None, key)) == ["reason"]
    assert differs(first, operation_fingerprint(501, "y", key)) == ["amount", "reason"]
    assert operation_fingerprint(500, "x", bytes(31) + b"k") != first
