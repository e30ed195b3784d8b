"""What storage reads besides envelopes and replies: any text is a value, or refused by the documented type."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from payments.defects import InvariantViolation
from payments.mode import Mode
from storage.api_keys import KEY_ID_LENGTH, SECRET_LENGTH, parse_api_key
from storage.intent import parse_intents
from storage.migrations import Migration
from storage.read_ports import KeyRole
from storage.sql_files import parse_statements

key_texts = st.one_of(
    st.text(max_size=60),
    st.builds(
        "{}_{}_{}_{}".format,
        st.sampled_from(["sk", "op", "SK", "pk"]),
        st.sampled_from(["test", "live", "prod"]),
        st.text("abcz27_1A", min_size=KEY_ID_LENGTH - 1, max_size=KEY_ID_LENGTH),
        st.text("abcz27\n", min_size=SECRET_LENGTH, max_size=SECRET_LENGTH + 1),
    ),
)
sql_texts = st.lists(
    st.sampled_from(
        ["-- a --", "-- b2 --", "-- A --", "-- migrate:up", "SELECT 1;", ";", "", "-- c"]
    )
    | st.text(max_size=9),
    max_size=8,
).map("\n".join)


@given(text=key_texts)
def test_any_text_is_an_api_key_or_none(text: str) -> None:
    """What is read as a key claims exactly what stands in its text."""
    key = parse_api_key(text)
    if key is not None:
        prefix = "sk" if key.role is KeyRole.MERCHANT else "op"
        mode = "test" if key.mode is Mode.TEST else "live"
        assert text.startswith(f"{prefix}_{mode}_{key.key_id}_")
        assert len(text) == len(f"{prefix}_{mode}__") + KEY_ID_LENGTH + SECRET_LENGTH


@given(text=sql_texts)
def test_any_sql_file_is_read_or_a_defect(text: str) -> None:
    """A file of statements gives each under its name, written in the file, or is refused as a whole."""
    try:
        statements = parse_statements(text)
    except InvariantViolation:
        return
    assert statements
    for name, statement in statements.items():
        assert f"-- {name} --" in text
        assert statement
        assert statement in text


@given(text=sql_texts)
def test_any_migration_is_read_or_a_defect(text: str) -> None:
    """A migration is what follows its one mark; without the mark, or with two, it is refused."""
    try:
        migration = Migration.parse("0001_a.sql", text)
    except InvariantViolation:
        assert text.count("-- migrate:up") != 1
        return
    assert text.endswith("-- migrate:up" + migration.statements)


@given(
    rows=st.lists(
        st.tuples(
            st.sampled_from(
                ["host_count", "drain:", "drain:host-0", "pause:1", "pause:x", "pause:", "new"]
            )
            | st.text(max_size=9),
            st.sampled_from(["true", "false", "3", "-1", "1.5", "null", "[]", '"a"']),
        ),
        max_size=4,
    )
)
def test_any_intent_is_read_or_a_defect(rows: list[tuple[str, str]]) -> None:
    """What operators want is read from rows of any version; what can't be meant is a defect."""
    try:
        intent = parse_intents(rows)
    except InvariantViolation:
        return
    assert intent.host_count is None or intent.host_count >= 0
    assert all(partition >= 0 for partition in intent.pauses)
