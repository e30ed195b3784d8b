"""A PSP's event crosses the queue unchanged, or is set aside; its decoder under the fuzzer."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from payments.attempts import ResultClass
from payments.defects import InvariantViolation
from payments.psp_events import PspEvent, event_fingerprint, event_uuid
from storage import event_envelope, sealing
from storage.envelope import read_header
from storage.event_envelope import decode_event, event_entry, problem_of_event
from storage.queue_messages import message_of
from storage.sealing import EnvelopeUnreadable
from tests.fuzz.envelope import DECODED, REASONS, Fields, change
from tests.fuzz.guided import Target, fuzz

AT = datetime(2026, 11, 26, 12, 0, 0, 125_000, tzinfo=UTC)
EVENT = PspEvent(
    event_uuid=event_uuid("simulator", "evt_a"),
    psp="simulator",
    event_id="evt_a",
    order_uuid=UUID(int=2**100 + 7),
    attempt_no=1,
    result=ResultClass.APPROVED,
    reference="ch_a",
    captured_minor=1999,
    currency="USD",
    failure_code="declined",
    decline_code=None,
    message="",
    effective_at=AT,
    accepted_at=AT,
    reply_to="reply:gateway-0",
)


def test_an_event_comes_out_as_it_went_in() -> None:
    """All of it, also what may be left out; its record goes under the event's own name."""
    entry = event_entry(EVENT, 3)
    assert (entry.partition_index, entry.order_uuid, entry.is_event) == (3, EVENT.event_uuid, True)
    assert entry.fingerprint == event_fingerprint("simulator", "evt_a")
    assert decode_event(entry.fields) == EVENT
    bare = EVENT._replace(
        reference=None, currency=None, effective_at=None, failure_code=None, reply_to=""
    )
    assert decode_event(event_entry(bare, 3).fields) == bare


def test_a_message_is_a_command_or_an_event() -> None:
    """The reader tells them apart by their kind; a damaged one of either kind is neither."""
    fields = event_entry(EVENT, 3).fields
    read = message_of(fields, partition_index=3, stream_id="1-0", generation=1, read_at_s=0.0)
    assert (read.event, read.command, read.is_readable) == (EVENT, None, True)
    assert read.order_uuid == EVENT.event_uuid
    damaged = message_of(
        (*fields[:-1], b"\xc1"), partition_index=3, stream_id="1-0", generation=1, read_at_s=0.0
    )
    assert not damaged.is_readable
    assert damaged.reason.startswith("payload_malformed")


@pytest.mark.parametrize(
    "changes",
    [
        {"psp": ""},
        {"event_id": "x" * 256},
        {"event_id": "other"},
        {"attempt_no": 0},
        {"attempt_no": 2**15},
        {"result": 9},
        {"captured_minor": -1},
        {"captured_minor": 2**53},
        {"currency": "XXZ"},
        {"reference": "a\0b"},
        {"message": "x" * 201},
        {"decline_code": "x" * 65},
        {"effective_at": AT.replace(tzinfo=None)},
        {"effective_at": AT.replace(year=1)},
        {"effective_at": AT.replace(year=9999)},
        {"reply_to": "a b"},
    ],
)
def test_what_can_not_be_kept_is_not_queued(changes: dict[str, Any]) -> None:
    """The rules of writing are those of reading."""
    event = EVENT._replace(**changes)
    assert problem_of_event(event) is not None
    with pytest.raises(InvariantViolation):
        event_entry(event, 3)


def check(fields: Fields) -> str:
    """Decode: an event that stays the same when it is encoded again, or the documented fault."""
    try:
        event = decode_event(fields)
    except EnvelopeUnreadable as fault:
        if fault.reason not in REASONS:
            raise
        return fault.reason
    assert decode_event(event_entry(event, 0).fields) == event
    assert read_header(fields).order_uuid == event.event_uuid
    return DECODED


def seeds() -> Sequence[Fields]:
    plain = event_entry(EVENT, 3).fields
    at = plain.index(b"v") + 1
    others = [(*plain[:at], stated, *plain[at + 1 :]) for stated in (b"2|0", b"1|1")]
    declined = EVENT._replace(result=ResultClass.DECLINED_FINAL, reference=None, currency=None)
    return [
        plain,
        event_entry(declined._replace(effective_at=AT + timedelta(1)), 3).fields,
        *others,
        (),
    ]


def test_any_bytes_decode_or_raise_the_one_fault() -> None:
    """Whatever lies on the stream is an event that stays itself when encoded again, or is set aside."""
    files = frozenset(str(module.__file__) for module in (event_envelope, sealing))

    def changed(chance: random.Random, fields: Fields, corpus: Sequence[Fields]) -> Fields:
        return change(chance, fields, corpus)

    target: Target[Fields] = Target(
        files=files,
        check=check,
        change=changed,
        size_bytes=lambda fields: sum(map(len, fields)),
    )
    found = fuzz(target, seeds(), seed=1, is_over=lambda found: found.input_count >= 3_000)
    assert found.results == {*REASONS, DECODED}, "some refusal was never reached"
