"""``python -m tests.fuzz.envelope --seconds 60 --seed 1``: fuzz the stream envelope's decoder."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Sequence
from uuid import UUID

import click
import msgspec

from payments.fingerprint import SPLIT_VERSION
from payments.splits import Split
from storage import command_rules, envelope, sealing
from storage.envelope import (
    EnvelopeUnreadable,
    decode_fields,
    encode_command,
    read_header,
)
from storage.envelope_payload import PAYLOAD_BYTES_MAX
from tests.fuzz.guided import Findings, PromiseBroken, Target, fuzz
from tests.fuzz.mutations import changed_bytes, changed_fields
from tests.queue_commands import a_command

Fields = tuple[bytes, ...]

REASONS = frozenset(
    {
        "fields_malformed",
        "command_unknown",
        "field_unreadable",
        "version_unknown",
        "encryption_unknown",
        "payload_too_large",
        "payload_malformed",
        "value_out_of_range",
    }
)
"""Why an envelope can't be read, in the words that dead letters are counted by."""

DECODED = "decoded"

# Values that rules about numbers and texts turn on.
_ODD_VALUES: Sequence[object] = (
    None, True, 0, 1, -1, 2**31, 2**53, 2**63, 2**64 - 1, 0.5, "", "USD", "XXX", "\0", "a" * 256, "a|b", b"",
    b"\0" * 16, "{}", '{"a":"b"}', '{"a":1}', '{"\\u0000":"b"}', "[" * 3_000, "2026-11-01", [], {},
)  # fmt: skip


def check(fields: Fields) -> str:
    """Decode: a command that stays the same when it is encoded again, or the documented fault."""
    _forget()
    header = read_header(fields)
    try:
        command = decode_fields(fields)
    except EnvelopeUnreadable as fault:
        if fault.reason not in REASONS:
            raise
        return fault.reason
    again = encode_command(command)
    assert decode_fields(again) == command, "another command after encoding it again"
    assert read_header(again) == header, "another header after encoding it again"
    return DECODED


def _forget() -> None:
    """Empty the decoder's caches: each input must take its way by itself, whatever came before it."""
    for module in (envelope, command_rules):
        for member in vars(module).values():
            if hasattr(member, "cache_clear"):
                member.cache_clear()


def change(chance: random.Random, fields: Fields, corpus: Sequence[Fields]) -> Fields:
    """Change the fields as bytes, or the payload as what it means."""
    if chance.random() < 0.4 and b"p" in fields[:-1]:
        at = fields.index(b"p") + 1
        payload = _changed_payload(chance, fields[at])
        return (*fields[:at], payload, *fields[at + 1 :])
    return changed_fields(chance, fields, chance.choice(corpus))


def _changed_payload(chance: random.Random, payload: bytes) -> bytes:
    """Put an odd value in one place of the payload's array: noise alone rarely keeps it readable."""
    if chance.random() < 0.02:
        return payload + bytes(PAYLOAD_BYTES_MAX)
    try:
        values = msgspec.msgpack.decode(payload)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return changed_bytes(chance, payload, payload)
    if not isinstance(values, list) or not values:
        return changed_bytes(chance, payload, payload)
    values[chance.randrange(len(values))] = chance.choice(_ODD_VALUES)
    return msgspec.msgpack.encode(values)


TARGET: Target[Fields] = Target(
    files=frozenset(str(module.__file__) for module in (envelope, command_rules, sealing)),
    check=check,
    change=change,
    size_bytes=lambda fields: sum(map(len, fields)),
)


def seeds() -> list[Fields]:
    """Return real commands, with all that may be left out and without, some of other versions, and none."""
    full = a_command(UUID(int=7))
    bare = full._replace(description=None, buyer_json=None, metadata_json=None, reply_to="")
    plain = encode_command(bare)
    at = plain.index(b"v") + 1
    others = [(*plain[:at], stated, *plain[at + 1 :]) for stated in (b"2|0", b"1|1")]
    split = full._replace(
        fingerprint=bytes([SPLIT_VERSION]) + full.fingerprint[1:],
        splits=(Split(12, full.amount_minor - 1, full.fee_minor), Split(13, 1, 0)),
    )
    return [encode_command(full), encode_command(split), plain, *others, ()]


@click.command()
@click.option("--seconds", type=click.FloatRange(0.1), default=60.0, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True)
def main(seconds: float, seed: int) -> None:
    """Look for bytes that break the decoder's promise; exit 1 and show them when there are any."""
    ends_s = time.monotonic() + seconds

    def is_over(_: Findings[Fields]) -> bool:
        return time.monotonic() >= ends_s

    try:
        found = fuzz(TARGET, seeds(), seed=seed, is_over=is_over)
    except PromiseBroken as broken:
        sys.exit(str(broken))
    sys.stdout.write(
        f"{found.input_count} inputs reached {len(found.jumps)} jumps by {len(found.corpus)} kept ones;"
        f" the decoder said: {', '.join(sorted(found.results))}\n"
    )


if __name__ == "__main__":
    main()
