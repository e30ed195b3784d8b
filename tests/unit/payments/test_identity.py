from __future__ import annotations

import uuid
from collections.abc import Callable
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payments import identity
from payments.card_numbers import contains_card_number
from payments.defects import InvariantViolation
from payments.mode import Mode
from tests.strategies import modes, uuids

KEY = UUID("8e03978e-40d5-43e8-bc93-6894a57f9324")
MERCHANT = "mrc_bcdfghjkmnpqrstvbcdf"

merchant_ids = st.binary(
    min_size=identity.MERCHANT_ID_RANDOM_BYTES, max_size=identity.MERCHANT_ID_RANDOM_BYTES
).map(identity.new_merchant_id)
attempt_nos = st.integers(0, identity.ATTEMPT_NO_MAX)
transfer_keys = st.tuples(
    st.integers(0, identity.PARTITION_INDEX_MAX),
    st.integers(0, identity.ORDER_NO_MAX),
    st.integers(0, identity.STEP_MAX),
)
batch_keys = st.tuples(
    st.integers(0, identity.PARTITION_INDEX_MAX), st.integers(0, identity.ORDER_NO_MAX)
)
own_ids = st.one_of(
    merchant_ids,
    st.builds(identity.psp_key, uuids, attempt_nos),
    transfer_keys.map(lambda key: identity.transfer_id(*key)),
    batch_keys.map(lambda key: identity.batch_id(*key)),
)


@given(merchant_id=merchant_ids, mode=modes, key=uuids)
def test_order_uuid_is_a_uuid5(merchant_id: str, mode: Mode, key: UUID) -> None:
    """The fast way gives what the standard library's uuid5 gives."""
    expected = uuid.uuid5(identity.ORDER_NAMESPACE, f"{merchant_id}|{mode.wire}|{key}")
    assert identity.order_uuid(merchant_id, mode, key) == expected


def test_order_uuid_never_changes() -> None:
    """An order accepted today is found under the same identity for ever."""
    assert identity.order_uuid(MERCHANT, Mode.TEST, KEY) == UUID(
        "a8966356-f334-535f-9180-f6adbf394a14"
    )


def test_merchants_and_modes_never_meet() -> None:
    """One client key names another order for another merchant, and in test and live."""
    other = "mrc_bcdfghjkmnpqrstvbcdg"
    orders = {identity.order_uuid(m, mode, KEY) for m in (MERCHANT, other) for mode in Mode}
    assert len(orders) == 4
    with pytest.raises(InvariantViolation):
        identity.order_uuid("mrc_a|live", Mode.TEST, KEY)


@given(key=uuids)
def test_idempotency_key_is_read_in_every_accepted_form(key: UUID) -> None:
    """Quotes and case don't matter: it is the same key."""
    for text in (str(key), str(key).upper(), f'"{key}"', f'"{str(key).upper()}"'):
        assert identity.parse_idempotency_key(text) == key


@pytest.mark.parametrize(
    "header",
    [
        "",
        '""',
        "order-1001",
        KEY.hex,
        f"{{{KEY}}}",
        f"urn:uuid:{KEY}",
        f'"{KEY}',
        f'{KEY}"',
        f'""{KEY}""',
        f" {KEY}",
        f"{KEY}\n",
        f"{KEY}, {KEY}",
        f'"{KEY}";a=1',
        f"{KEY}0",
        str(KEY)[:-1],
        str(KEY).replace("8", "٨"),
        str(KEY).replace("-", "_"),
        str(KEY).replace("e", "g"),
    ],
)
def test_other_spellings_are_no_key(header: str) -> None:
    """What Python's UUID() would still take, or worse, is refused."""
    assert identity.parse_idempotency_key(header) is None


@given(order=uuids, attempt_no=attempt_nos)
def test_psp_key_leads_back_to_its_attempt(order: UUID, attempt_no: int) -> None:
    """No two attempts share a key, and a charge at the PSP names its order."""
    assert identity.parse_psp_key(identity.psp_key(order, attempt_no)) == (order, attempt_no)


@given(key=transfer_keys)
def test_transfer_id_leads_back(key: tuple[int, int, int]) -> None:
    """A public transfer id names exactly one ledger row."""
    assert identity.parse_transfer_id(identity.transfer_id(*key)) == key


@given(key=batch_keys)
def test_batch_id_leads_back(key: tuple[int, int]) -> None:
    """A public batch id names exactly one partition's part in a flush."""
    assert identity.parse_batch_id(identity.batch_id(*key)) == key


def test_ids_keep_their_spelling() -> None:
    """Ids given out once are understood for ever."""
    assert identity.transfer_id(17, 123_456, 2) == "tr_cc_ctdgb_d"
    assert identity.batch_id(0, 31) == "bt_b_cv"
    assert identity.psp_key(KEY, 1) == "tly_mtbfnkmtgbshgftmqrnfjmngphkvnfdg_c"


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (identity.parse_transfer_id, "tr_cc_ctdgb"),
        (identity.parse_transfer_id, "tr_cc_ctdgb_d_d"),
        (identity.parse_transfer_id, "tr_cc_bctdgb_d"),  # a leading zero: a second spelling
        (identity.parse_transfer_id, "tr_cc_ctdgb_a"),
        (identity.parse_transfer_id, "tr_vvvv_c_c"),  # 65,535 is no smallint
        (identity.parse_transfer_id, "tr_c_vvvvvvvvvvvvvvvv_c"),
        (identity.parse_transfer_id, "bt_cc_ctdgb_d"),
        (identity.parse_transfer_id, "tr_cc_ctdgb_d\n"),
        (identity.parse_batch_id, "bt_cc"),
        (identity.parse_batch_id, "bt_bc_c"),
        (identity.parse_batch_id, "bt_vvvv_c"),
        (identity.parse_psp_key, "tly_" + "b" * 31 + "_c"),
        (identity.parse_psp_key, "tly_" + "b" * 32 + "_bc"),
        (identity.parse_psp_key, "tly_" + "b" * 32 + "_vvvv"),
        (identity.parse_psp_key, "ch_123"),
    ],
)
def test_foreign_ids_are_not_read(parse: Callable[[str], object], text: str) -> None:
    """A row has one public id: another spelling, or a number out of range, names nothing."""
    assert parse(text) is None


@pytest.mark.parametrize(
    ("make", "arguments"),
    [
        (identity.psp_key, (KEY, -1)),
        (identity.psp_key, (KEY, identity.ATTEMPT_NO_MAX + 1)),
        (identity.transfer_id, (-1, 1, 1)),
        (identity.transfer_id, (1, identity.ORDER_NO_MAX + 1, 1)),
        (identity.transfer_id, (1, 1, identity.STEP_MAX + 1)),
        (identity.batch_id, (identity.PARTITION_INDEX_MAX + 1, 1)),
        (identity.new_merchant_id, (b"short",)),
    ],
)
def test_impossible_ids_are_defects(
    make: Callable[..., str], arguments: tuple[object, ...]
) -> None:
    """No id is ever given to what the ledger can't hold, nor made of too little randomness."""
    with pytest.raises(InvariantViolation):
        make(*arguments)


@given(ids=st.lists(own_ids, min_size=1, max_size=5), glue=st.sampled_from(["", " ", "-", ","]))
def test_our_ids_never_look_like_card_numbers(ids: list[str], glue: str) -> None:
    """Our ids hold no digit at all, so no mix of them can be taken for a card number."""
    text = glue.join(ids)
    assert not any(character.isdigit() for character in text)
    assert not contains_card_number(text)


@pytest.mark.parametrize("text", ["slr_shoes", "abc", "a.b-c_d", "a" * 64, "a12", "merchant"])
def test_good_seller_ids(text: str) -> None:
    """A merchant may name its sellers as its own systems do."""
    assert identity.is_seller_id(text)


@pytest.mark.parametrize(
    "text",
    ["", "me", "ab", "a" * 65, "1ab", "_ab", "Abc", "a b", "a/b", "abc\n", "äbc", "a٣b", MERCHANT],
)
def test_bad_seller_ids(text: str) -> None:
    """A seller's id is safe in a path, and is neither ``me`` nor a merchant's own."""
    assert not identity.is_seller_id(text)


@given(merchant_id=merchant_ids)
def test_merchant_ids_are_recognised(merchant_id: str) -> None:
    """A merchant's id is told from every seller's id."""
    assert identity.is_merchant_id(merchant_id)
    assert not identity.is_seller_id(merchant_id)
    assert not identity.is_merchant_id(merchant_id[:-1])
