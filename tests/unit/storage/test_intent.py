"""Intents: what rows of the operator's wishes mean."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payments.defects import InvariantViolation
from storage.intent import Intent, parse_intents


def test_no_rows_want_nothing() -> None:
    """Before anybody said anything there is no host count, no drain and no pause."""
    assert parse_intents([]) == Intent(host_count=None, drains=frozenset(), pauses=frozenset())


@given(
    host_count=st.integers(min_value=0, max_value=10_000),
    drains=st.dictionaries(st.text(min_size=1), st.booleans()),
    pauses=st.dictionaries(st.integers(min_value=0, max_value=4095), st.booleans()),
)
def test_rows_say_what_is_wanted(
    host_count: int, drains: dict[str, bool], pauses: dict[int, bool]
) -> None:
    """Exactly what is marked true is wanted; what was taken back (false) is not."""
    rows = [
        ("host_count", json.dumps(host_count)),
        *((f"drain:{name}", json.dumps(flag)) for name, flag in drains.items()),
        *((f"pause:{index}", json.dumps(flag)) for index, flag in pauses.items()),
    ]
    intent = parse_intents(rows)
    assert intent.host_count == host_count
    assert intent.drains == {name for name, flag in drains.items() if flag}
    assert intent.pauses == {index for index, flag in pauses.items() if flag}


def test_keys_of_a_later_version_are_left_out() -> None:
    """A host of this version goes on when a later command line has written keys of its own."""
    rows = [("accept_one_copy", '{"until": "2026-11-02"}'), ("host_count", "2")]
    assert parse_intents(rows) == Intent(host_count=2)


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("host_count", "true"),
        ("host_count", "-1"),
        ("host_count", '"2"'),
        ("host_count", "2.0"),
        ("drain:host-1", "1"),
        ("pause:3", "null"),
        ("pause:three", "true"),
        ("pause:", "true"),
    ],
)
def test_nonsense_is_a_defect(key: str, text: str) -> None:
    """A value that no command line of ours writes stops the reader: nothing is scaled by a guess."""
    with pytest.raises(InvariantViolation):
        parse_intents([(key, text)])
