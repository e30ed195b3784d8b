"""Everything that the domain reads from texts: any text is a value that is written back so, or no value."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from payments.currencies import EXPONENTS
from payments.fees import FeeSchedule, fee_schedule_refusal
from payments.identity import (
    LETTERS,
    batch_id,
    is_merchant_id,
    is_seller_id,
    parse_batch_id,
    parse_idempotency_key,
    parse_psp_key,
    parse_transfer_id,
    psp_key,
    transfer_id,
)
from payments.lifecycle import PaymentState
from payments.mode import Mode

# Texts of every kind, and such as are nearly right: pure chance never comes close to a pattern.
_NEARLY = st.text(alphabet=LETTERS + "_", max_size=45)
ids = st.one_of(
    st.text(max_size=60),
    st.builds("{}_{}".format, st.sampled_from(["tly", "tr", "bt", "mrc", "me", "slr"]), _NEARLY),
)
uuid_like = st.one_of(
    st.text(max_size=50),
    st.text('0123456789abcdefABCDEF-"{}\u0661 ', min_size=30, max_size=42),
    st.uuids().map(str),
    st.builds(
        "{}{}{}".format,
        st.sampled_from(['"', "{", " ", ""]),
        st.uuids(),
        st.sampled_from(['"', "}", "\n", ""]),
    ),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(text=uuid_like)
def test_an_idempotency_key_is_one_uuid_or_none(text: str) -> None:
    """Whatever stands in the header, the key read from it is the text itself, but for quotes and case."""
    key = parse_idempotency_key(text)
    if key is not None:
        assert text.lower() in (str(key), f'"{key}"')


@given(text=ids)
def test_ids_have_one_spelling(text: str) -> None:
    """A text that is read as an id of ours is exactly what we write for it."""
    if (attempt := parse_psp_key(text)) is not None:
        assert psp_key(*attempt) == text
    if (transfer := parse_transfer_id(text)) is not None:
        assert transfer_id(*transfer) == text
    if (batch := parse_batch_id(text)) is not None:
        assert batch_id(*batch) == text


@given(text=ids)
def test_no_seller_looks_like_a_merchant(text: str) -> None:
    """A name is a seller's or a merchant's or nobody's, never both."""
    assert not (is_seller_id(text) and is_merchant_id(text))
    if is_seller_id(text):
        assert text.isascii()
        assert text == text.lower()


@given(
    text=st.text(max_size=20) | st.sampled_from(["test", "live", "Test", "succeeded", "created "])
)
def test_words_of_the_wire_are_read_back(text: str) -> None:
    """A mode or a state is read from its own word alone."""
    if (mode := Mode.parse(text)) is not None:
        assert mode.wire == text
    if (state := PaymentState.from_wire(text)) is not None:
        assert state.wire == text


@given(
    document=st.dictionaries(st.text(max_size=8), json_values, max_size=3)
    | st.fixed_dictionaries(
        {"basis_points": st.integers(-1, 10_001) | json_values},
        optional={
            "fixed": st.dictionaries(
                st.sampled_from([*sorted(EXPONENTS)[:3], "usd"]), st.integers(-1, 5)
            )
            | json_values,
            "fixed_default": st.integers(-1, 5) | json_values,
        },
    )
)
def test_a_fee_is_read_or_refused(document: dict[str, object]) -> None:
    """A fee in JSON is refused with a place and a reason, or is a schedule that is written back the same."""
    refusal = fee_schedule_refusal(document)
    if refusal is not None:
        assert refusal[0].startswith("$.")
    else:
        schedule = FeeSchedule.from_json(document)
        assert FeeSchedule.from_json(schedule.to_json()) == schedule
