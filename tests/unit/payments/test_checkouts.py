"""Checkouts: how they stand, what is compared, and which rows they become."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import product
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payments import fingerprint
from payments.checkout_names import checkout_id, checkout_uuid, parse_checkout_id
from payments.checkouts import (
    CHECKOUT_FIELDS,
    Checkout,
    CheckoutOrder,
    CheckoutStatus,
    OrderStanding,
    checkout_fingerprint,
    checkout_order_rows,
    checkout_row,
    checkout_status,
)
from payments.identity import order_uuid
from payments.lifecycle import PaymentState
from payments.mode import Mode

KEY = b"k" * 32
S = PaymentState


def standing(*states: PaymentState) -> CheckoutStatus:
    return checkout_status([OrderStanding(state) for state in states])


@pytest.mark.parametrize(
    ("states", "status"),
    [
        ([S.SUCCEEDED], "succeeded"),
        ([S.SUCCEEDED, S.SUCCEEDED], "succeeded"),
        ([S.SUCCEEDED, S.PROCESSING], "processing"),
        ([S.REQUIRES_ACTION, S.PROCESSING], "processing"),
        ([S.REQUIRES_ACTION, S.CREATED], "processing"),
        ([S.REQUIRES_ACTION, S.SUCCEEDED], "requires_action"),
        ([S.REQUIRES_ACTION, S.FAILED], "requires_action"),
        ([S.REQUIRES_CAPTURE], "processing"),
        ([S.SUCCEEDED, S.FAILED], "partially_succeeded"),
        ([S.PARTIALLY_CAPTURED], "partially_succeeded"),
        ([S.FAILED, S.FAILED], "failed"),
        ([S.CANCELED, S.EXPIRED], "failed"),
        ([S.CANCELED], "canceled"),
        ([S.EXPIRED, S.EXPIRED], "expired"),
        ([S.CREATED], "processing"),
    ],
)
def test_a_checkout_stands_as_its_orders_do(states: list[PaymentState], status: str) -> None:
    """Paid is what is paid whole; the buyer's turn comes when nothing is on its first way any more."""
    assert standing(*states) == status
    assert standing(*reversed(states)) == status


def test_an_order_that_waits_long_holds_up_no_buyer() -> None:
    """An order whose next try has a time is not waited for: the buyer may pay the others."""
    parked = OrderStanding(S.PROCESSING, is_waiting_long=True)
    assert checkout_status([OrderStanding(S.REQUIRES_ACTION), parked]) == "requires_action"
    assert checkout_status([OrderStanding(S.SUCCEEDED), parked]) == "processing"


def test_paid_means_every_order_and_nothing_else() -> None:
    """Of all combinations of three states, only three successes are a success."""
    for states in product(S, repeat=3):
        is_paid = standing(*states) is CheckoutStatus.SUCCEEDED
        assert is_paid == (set(states) == {S.SUCCEEDED}), states


values = st.none() | st.integers(0, 9) | st.text(max_size=3)
fields = st.fixed_dictionaries(dict.fromkeys(CHECKOUT_FIELDS, values))


@given(fields, fields)
def test_fingerprints_are_the_same_exactly_when_the_fields_are(
    a: dict[str, object], b: dict[str, object]
) -> None:
    """Two requests are told apart by every field, and the ones that differ are named."""
    prints = checkout_fingerprint(a, KEY), checkout_fingerprint(b, KEY)
    expected = [name for name in CHECKOUT_FIELDS if a[name] != b[name]]
    assert fingerprint.same(*prints) == (a == b)
    assert fingerprint.differs(*prints, CHECKOUT_FIELDS) == expected


def test_a_checkouts_key_matters_to_its_fingerprint() -> None:
    """Without the deployment's key nobody can tell what a fingerprint stands for."""
    wanted = {"payment_method": "tok_approve"}
    assert checkout_fingerprint(wanted, KEY) != checkout_fingerprint(wanted, b"x" * 32)


@given(st.uuids(), st.sampled_from(Mode))
def test_a_checkouts_id_leads_back_to_it(key: UUID, mode: Mode) -> None:
    """Its name follows from merchant, mode and key, is no order's, and survives the API."""
    uuid = checkout_uuid("mrc_a", mode, key)
    text = checkout_id(uuid)
    assert parse_checkout_id(text) == uuid
    assert not any(character.isdigit() for character in text)
    assert uuid != order_uuid("mrc_a", mode, key)
    assert uuid != checkout_uuid("mrc_b", mode, key)


@pytest.mark.parametrize("text", ["", "co_", "co_" + "a" * 32, "co_" + "b" * 31, "pm_" + "b" * 32])
def test_other_texts_name_no_checkout(text: str) -> None:
    """Only what ``checkout_id`` writes is read."""
    assert parse_checkout_id(text) is None


def a_checkout(*, hosted: bool = False) -> Checkout:
    key = UUID(int=5)
    return Checkout(
        checkout_uuid=checkout_uuid("mrc_a", Mode.TEST, key),
        idempotency_key=key,
        merchant_no=3,
        merchant_id="mrc_a",
        mode=Mode.TEST,
        orders=tuple(
            CheckoutOrder(UUID(int=n), 7 + n, f"slr_{n}", 100 * n, "USD", bytes([1]) + bytes(52))
            for n in (1, 2)
        ),
        success_url="https://shop.example/ok" if hosted else None,
        cancel_url="https://shop.example/no" if hosted else None,
        metadata_json=None,
        fingerprint=bytes([1]) + bytes(52),
        accepted_at=datetime(2026, 11, 1, tzinfo=UTC),
        api_version="2026-11-01",
    )


def test_a_checkouts_rows_name_its_orders_in_their_order() -> None:
    """Each order stands at its position, under the identity that its own command has."""
    checkout = a_checkout()
    assert checkout_row(4, checkout).checkout_uuid == checkout.checkout_uuid
    rows = checkout_order_rows(4, checkout)
    assert [row.position for row in rows] == [0, 1]
    assert [row.order_uuid for row in rows] == [
        order_uuid("mrc_a", Mode.TEST, UUID(int=n)) for n in (1, 2)
    ]
    assert {row.partition_index for row in rows} == {4}


def test_a_page_shows_the_orders_of_its_checkout() -> None:
    """What each order tells the provider names the checkout, so that one page shows them all."""
    assert a_checkout().hosted is None
    page = a_checkout(hosted=True).hosted
    assert page is not None
    assert page.session == checkout_id(a_checkout().checkout_uuid)
