"""Poison for the streams: each class is refused for its own reason, and for no other."""

from __future__ import annotations

import random

import pytest

from loadtest.chaos.cells import POISON_CLASSES
from loadtest.chaos.faults.poison import MAKERS, Fields, good_fields
from storage.envelope import EnvelopeUnreadable, decode_fields


def flat(fields: Fields) -> list[bytes]:
    return [word for field in fields for word in field]


def test_what_the_classes_spoil_is_good() -> None:
    """The message that each class changes in one place can be read, so the place is what is refused."""
    assert decode_fields(flat(good_fields(random.Random(1)))).amount_minor == 1_000


def test_every_class_is_made() -> None:
    """Each cell of poison has its message."""
    assert tuple(MAKERS) == POISON_CLASSES


@pytest.mark.parametrize("name", POISON_CLASSES)
def test_no_class_can_be_read(name: str) -> None:
    """Nothing here can become an order: it would be one that nobody asked for."""
    fields = MAKERS[name](random.Random(1))
    with pytest.raises(EnvelopeUnreadable):
        decode_fields(flat(fields))
    assert MAKERS[name](random.Random(1)) == fields
