"""The stream envelope: what goes in comes out, and nothing else gets through."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from payments.commands import HOSTED_METHOD, HostedPage, PaymentCommand
from payments.defects import InvariantViolation
from payments.fingerprint import FINGERPRINT_BYTES, SPLIT_VERSION, VERSION
from payments.identity import order_uuid
from payments.mode import Mode
from payments.money import AMOUNT_MINOR_MAX
from payments.splits import Split
from storage.command_rules import NUMBER_MAX
from storage.envelope import (
    EnvelopeUnreadable,
    accepted_at_ms,
    decode_fields,
    encode_command,
    queue_entry,
    read_header,
)
from storage.sealing import decode_detail, encode_detail
from tests.queue_commands import ACCEPTED_AT, a_command
from tests.strategies import currencies, modes, payment_amounts_minor, uuids

FIELD_NAMES = (b"c", b"m", b"k", b"f", b"v", b"t", b"r", b"p")

texts = st.text(st.characters(codec="utf-8"), max_size=40)
metadata_texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40)
metadata = st.dictionaries(metadata_texts, metadata_texts, max_size=3)
printable = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=64)
moments = st.integers(0, 253_402_300_799_999).map(
    lambda ms: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)
)

_REST_BYTES = FINGERPRINT_BYTES - 1


def json_text(value: object) -> str:
    return msgspec.json.encode(value).decode()


@st.composite
def commands(draw: st.DrawFn) -> PaymentCommand:
    """Every command that a gateway may accept."""
    merchant_id = draw(st.text("abc_.-XYZ019", min_size=1, max_size=64))
    mode, key, amount_minor = draw(modes), draw(uuids), draw(payment_amounts_minor)
    return PaymentCommand(
        order_uuid=order_uuid(merchant_id, mode, key),
        idempotency_key=key,
        merchant_no=draw(st.integers(1, NUMBER_MAX)),
        merchant_id=merchant_id,
        mode=mode,
        seller_no=draw(st.integers(1, NUMBER_MAX)),
        amount_minor=amount_minor,
        currency=draw(currencies),
        fee_minor=draw(st.integers(0, amount_minor)),
        payment_method=draw(st.text(st.characters(codec="utf-8"), min_size=1, max_size=40)),
        description=draw(st.none() | texts),
        buyer_json=draw(st.none() | metadata.map(json_text)),
        metadata_json=draw(st.none() | metadata.map(json_text)),
        fingerprint=bytes([VERSION]) + draw(st.binary(min_size=_REST_BYTES, max_size=_REST_BYTES)),
        accepted_at=draw(moments),
        api_version=draw(st.dates().map(str)),
        reply_to=draw(printable),
    )


HOSTED = a_command()._replace(
    payment_method=HOSTED_METHOD,
    hosted=HostedPage("https://shop.example/ok", "https://shop.example/no", "co_b"),
)


SPLIT_PRINT = bytes([SPLIT_VERSION]) + bytes(_REST_BYTES)
SPLIT = a_command(amount_minor=100)._replace(
    fee_minor=7, fingerprint=SPLIT_PRINT, splits=(Split(12, 60, 7), Split(13, 40, 0))
)


def test_splits_survive_the_stream() -> None:
    """Whose parts a charge has crosses the queue, in their order."""
    assert decode_fields(encode_command(SPLIT)) == SPLIT


def test_a_reader_that_knows_no_splits_refuses_the_version() -> None:
    """Without the parts the whole would be one seller's: such a message is set aside, never guessed at."""
    with pytest.raises(EnvelopeUnreadable, match="version 1"):
        decode_fields(
            with_field(
                encode_command(SPLIT),
                b"p",
                msgspec.msgpack.encode(msgspec.msgpack.decode(encode_command(SPLIT)[-1])[:-1]),
            )
        )


def test_a_pages_order_survives_the_stream_and_the_books() -> None:
    """Where the buyer goes afterwards crosses the queue, and is found by a new owner."""
    assert decode_fields(encode_command(HOSTED)) == HOSTED
    assert decode_detail(encode_detail(HOSTED)).hosted == HOSTED.hosted


def test_an_older_writers_payload_has_no_page() -> None:
    """A gateway of an earlier release writes nothing of pages."""
    raw = encode_command(a_command())
    payload = msgspec.msgpack.encode(msgspec.msgpack.decode(raw[-1])[:-3])
    assert decode_fields(with_field(raw, b"p", payload)).hosted is None


def with_field(raw: tuple[bytes, ...], name: bytes, value: bytes) -> tuple[bytes, ...]:
    """The fields with another value of one."""
    position = raw.index(name) + 1
    return (*raw[:position], value, *raw[position + 1 :])


def with_payload(**changes: object) -> tuple[bytes, ...]:
    """A valid message but for some payload items, named as in the command."""
    raw = encode_command(a_command())
    items = dict(
        zip(
            (
                "idempotency_key", "merchant_id", "seller_no", "amount_minor", "currency",
                "fee_minor", "payment_method", "description", "buyer_json", "metadata_json",
                "api_version", "captures_manually", "hosted", "splits",
            ),
            msgspec.msgpack.decode(raw[-1]),
            strict=True,
        )
    )  # fmt: skip
    return with_field(raw, b"p", msgspec.msgpack.encode(list((items | changes).values())))


@given(commands())
def test_every_command_survives_the_stream(command: PaymentCommand) -> None:
    """An owner sees exactly what a gateway accepted."""
    assert decode_fields(encode_command(command)) == command


@given(commands())
def test_the_header_is_readable_without_the_payload(command: PaymentCommand) -> None:
    """A message with a damaged payload can still be set aside under its own order."""
    header = read_header(with_field(encode_command(command), b"p", b"\xc1"))
    assert header.kind == b"payment"
    assert (header.merchant_no, header.mode) == (command.merchant_no, command.mode)
    assert (header.order_uuid, header.fingerprint) == (command.order_uuid, command.fingerprint)
    assert (header.accepted_at, header.reply_to) == (command.accepted_at, command.reply_to)


@given(st.lists(st.binary(max_size=80), max_size=20).map(tuple))
def test_random_fields_are_unreadable_and_nothing_worse(raw: tuple[bytes, ...]) -> None:
    """Whatever lies on the stream, reading it raises the one fault that sets it aside."""
    read_header(raw)
    with pytest.raises(EnvelopeUnreadable):
        decode_fields(raw)


@given(st.data())
def test_mutated_messages_are_unreadable_or_valid(data: st.DataObject) -> None:
    """A flipped byte, a missing or another field never gets past the rules, nor raises another fault."""
    raw = list(encode_command(data.draw(commands())))
    for _ in range(data.draw(st.integers(1, 3))):
        position = data.draw(st.integers(0, len(raw) - 1))
        value = raw[position]
        kind = data.draw(st.sampled_from(["flip", "cut", "replace", "drop", "payload"]))
        if kind == "flip" and value:
            at = data.draw(st.integers(0, len(value) - 1))
            raw[position] = (
                value[:at] + data.draw(st.binary(min_size=1, max_size=1)) + value[at + 1 :]
            )
        elif kind == "cut":
            raw[position] = value[: data.draw(st.integers(0, len(value)))]
        elif kind == "drop" and len(raw) > 1:
            del raw[position]
        elif kind == "payload":
            raw[-1] = data.draw(st.binary(max_size=60))
        else:
            raw[position] = data.draw(st.binary(max_size=60))
    try:
        command = decode_fields(raw)
    except EnvelopeUnreadable:
        return
    assert decode_fields(encode_command(command)) == command


def test_the_fields_are_these_and_bytes() -> None:
    """The names on the stream are a contract with other versions, and with people at a console."""
    command = a_command(UUID("0190a5b0-5c3e-7c1a-9c64-1f0d4b0a9c11"))
    raw = encode_command(command)
    assert raw[0::2] == FIELD_NAMES
    fields = dict(zip(raw[0::2], raw[1::2], strict=True))
    assert (fields[b"c"], fields[b"m"], fields[b"v"]) == (b"payment", b"7|test", b"1|0")
    assert (fields[b"k"], fields[b"t"]) == (str(command.order_uuid).encode(), b"1795435200123")
    assert all(type(value) is bytes for value in raw)


def test_a_queue_entry_carries_the_same_identity() -> None:
    """The script's key record and the stream message speak of one order."""
    command = a_command()
    entry = queue_entry(command, 3)
    header = read_header(entry.fields)
    assert (entry.partition_index, entry.order_uuid) == (3, header.order_uuid)
    assert entry.fingerprint == header.fingerprint
    assert header.accepted_at == ACCEPTED_AT
    assert entry.accepted_at_ms == accepted_at_ms(ACCEPTED_AT)


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        (b"c", b"refund", "command_unknown"),
        (b"v", b"2|0", "version_unknown"),
        (b"v", b"0|0", "version_unknown"),
        (b"v", b"1|1", "encryption_unknown"),
        (b"v", b"", "field_unreadable"),
        (b"m", b"7", "field_unreadable"),
        (b"m", b"0|test", "field_unreadable"),
        (b"m", b"2147483648|test", "field_unreadable"),
        (b"m", b"7|live", "value_out_of_range"),
        (b"k", b"not a uuid", "field_unreadable"),
        (b"k", b"0190a5b0-5c3e-7c1a-9c64-1f0d4b0a9c11", "value_out_of_range"),
        (b"f", bytes(52), "field_unreadable"),
        (b"t", b"-1", "field_unreadable"),
        (b"t", b"999999999999999", "field_unreadable"),
        (b"r", b"reply: 1", "field_unreadable"),
        (b"r", b"r" * 65, "field_unreadable"),
        (b"p", bytes(300_000), "payload_too_large"),
        (b"p", b"\x91" * 5_000, "payload_malformed"),
        (b"p", b"", "payload_malformed"),
    ],
)
def test_a_field_out_of_its_form_is_unreadable(field: bytes, value: bytes, reason: str) -> None:
    """Each field is checked, and the reason tells which rule it broke."""
    with pytest.raises(EnvelopeUnreadable) as caught:
        decode_fields(with_field(encode_command(a_command()), field, value))
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("idempotency_key", bytes(15)),
        ("idempotency_key", bytes(16)),
        ("merchant_id", "a|b"),
        ("seller_no", 0),
        ("seller_no", NUMBER_MAX + 1),
        ("amount_minor", 0),
        ("amount_minor", AMOUNT_MINOR_MAX + 1),
        ("fee_minor", -1),
        ("fee_minor", 2000),
        ("currency", "usd"),
        ("currency", "XXX"),
        ("payment_method", ""),
        ("payment_method", "t" * 256),
        ("description", "d" * 501),
        ("buyer_json", "[]"),
        ("buyer_json", '{"a":' * 5_000),
        ("metadata_json", "{"),
        ("metadata_json", '{"a":1}'),
        ("metadata_json", '{"a":"\\u0000"}'),
        ("metadata_json", json_text({"k" * 41: ""})),
        ("metadata_json", json_text({"k": "v" * 501})),
        ("metadata_json", json_text({str(n): "" for n in range(51)})),
        ("api_version", "yesterday"),
    ],
)
def test_a_value_out_of_range_is_unreadable(name: str, value: object) -> None:
    """Amounts, lengths and texts that the books must not see stop at the envelope."""
    with pytest.raises(EnvelopeUnreadable) as caught:
        decode_fields(with_payload(**{name: value}))
    assert caught.value.reason == "value_out_of_range"
    assert str(value) not in str(caught.value) or len(str(value)) < 3


def test_wrong_types_are_unreadable_without_their_contents() -> None:
    """The fault goes to logs and dead letters: it names the place, not what stood there."""
    with pytest.raises(EnvelopeUnreadable) as caught:
        decode_fields(with_payload(amount_minor="secret"))
    assert caught.value.reason == "payload_malformed"
    assert "secret" not in str(caught.value)


def test_a_newer_writers_extra_items_are_skipped() -> None:
    """A gateway that is a release ahead may add to the payload, and fields to the message."""
    command = a_command()
    raw = encode_command(command)
    payload = msgspec.msgpack.encode([*msgspec.msgpack.decode(raw[-1]), "new"])
    assert decode_fields((*with_field(raw, b"p", payload), b"z", b"new")) == command


def test_a_repeated_field_is_unreadable() -> None:
    """Two keys in one message would be two orders."""
    with pytest.raises(EnvelopeUnreadable):
        decode_fields((*encode_command(a_command()), b"k", b"another"))


@pytest.mark.parametrize(
    "command",
    [
        a_command()._replace(amount_minor=0, fee_minor=0),
        a_command()._replace(fee_minor=2000),
        a_command()._replace(fingerprint=b""),
        a_command()._replace(fingerprint=bytes([VERSION + 1]) + bytes(FINGERPRINT_BYTES - 1)),
        a_command()._replace(mode=Mode.LIVE),
        a_command()._replace(reply_to="ü"),
        a_command()._replace(metadata_json="[]"),
        a_command()._replace(payment_method=HOSTED_METHOD),
        a_command()._replace(hosted=HOSTED.hosted),
        SPLIT._replace(splits=None),
        SPLIT._replace(fingerprint=bytes([VERSION]) + bytes(_REST_BYTES)),
        SPLIT._replace(fee_minor=8),
        SPLIT._replace(amount_minor=101),
        SPLIT._replace(splits=(Split(12, 100, 7),)),
        SPLIT._replace(splits=(Split(12, 60, 7), Split(12, 40, 0))),
        SPLIT._replace(splits=(Split(0, 60, 7), Split(12, 40, 0))),
        SPLIT._replace(splits=(Split(NUMBER_MAX + 1, 60, 7), Split(12, 40, 0))),
        HOSTED._replace(hosted=HostedPage("", "https://shop.example", "co_b")),
        HOSTED._replace(hosted=HostedPage("https://shop.example", "https://a b", "co_b")),
        HOSTED._replace(hosted=HostedPage("https://shop.example", "https://shop.example", "")),
    ],
)
def test_what_could_not_be_read_is_not_written(command: PaymentCommand) -> None:
    """A gateway's mistake stops before the answer, not in the dead letters after it."""
    with pytest.raises(InvariantViolation):
        encode_command(command)


def test_accepted_at_is_kept_to_the_millisecond() -> None:
    """The record and the message hold the same moment, rounded down."""
    command = a_command()._replace(accepted_at=ACCEPTED_AT + timedelta(microseconds=999))
    assert decode_fields(encode_command(command)).accepted_at == ACCEPTED_AT
