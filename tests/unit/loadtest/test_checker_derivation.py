"""The checker's own derivations agree with the product's: told twice, so that a mistake of one is found."""

from __future__ import annotations

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from loadtest.checker import derivation
from payments import checkout_names, fingerprint, identity
from payments.checkouts import checkout_fingerprint
from payments.mode import Mode
from payments.operation_fingerprint import operation_fingerprint

_KEYS = st.binary(min_size=16, max_size=64)
_TEXTS = st.text(max_size=20)
_FIELDS = st.fixed_dictionaries(
    {
        "amount": st.integers(1, 2**53 - 1),
        "currency": st.sampled_from(("USD", "JPY")),
        "seller": _TEXTS,
        "payment_method": _TEXTS,
    },
    optional={
        "description": st.none() | _TEXTS,
        "capture": st.none() | st.just("automatic"),
        "metadata": st.none() | st.dictionaries(_TEXTS, _TEXTS, max_size=3),
        "splits": st.none()
        | st.lists(st.fixed_dictionaries({"seller": _TEXTS, "amount": st.integers(1, 9)})),
        "buyer": st.dictionaries(st.sampled_from(("email", "name")), _TEXTS),
    },
)


@given(fields=_FIELDS, key=_KEYS)
def test_fingerprints_agree(fields: dict[str, object], key: bytes) -> None:
    """What a client sent has, by the checker's reckoning, the fingerprint that the books keep."""
    assert derivation.fingerprint(fields, key) == fingerprint.fingerprint(fields, key).hex()


@given(
    key=st.uuids(), merchant=st.sampled_from(("mrc_a", "mrc_b")), mode=st.sampled_from(list(Mode))
)
def test_identities_agree(key: UUID, merchant: str, mode: Mode) -> None:
    """The checker derives the identity that the product does."""
    derived = derivation.order_uuid(merchant, mode.wire, str(key))
    assert derived == str(identity.order_uuid(merchant, mode, key))


@given(order=st.uuids(), attempt_no=st.integers(1, identity.ATTEMPT_NO_MAX))
def test_psp_keys_agree(order: UUID, attempt_no: int) -> None:
    """The checker derives the PSP key that the product sends."""
    assert derivation.psp_key(str(order), attempt_no) == identity.psp_key(order, attempt_no)


@given(amount_minor=st.none() | st.integers(1, 2**53 - 1), reason=st.none() | _TEXTS, key=_KEYS)
def test_operations_fingerprints_agree(
    amount_minor: int | None, reason: str | None, key: bytes
) -> None:
    """What a client asked to be done has the fingerprint that the books keep of it."""
    derived = derivation.operation_fingerprint(amount_minor, reason, key)
    assert derived == operation_fingerprint(amount_minor, reason, key).hex()


_ORDERS = st.lists(
    st.fixed_dictionaries(
        {"id": _TEXTS, "amount": st.integers(1, 9), "description": st.none() | _TEXTS}
    ),
    min_size=1,
    max_size=3,
)


@given(orders=_ORDERS, key=_KEYS)
def test_checkouts_fingerprints_agree(orders: list[dict[str, object]], key: bytes) -> None:
    """A checkout as a client sent it has the fingerprint that the books keep of it."""
    fields = {"orders": orders, "payment_method": "tok_approve", "metadata": None, "buyer": None}
    derived = derivation.checkout_fingerprint(fields, key)
    assert derived == checkout_fingerprint(fields, key).hex()


@given(payment=st.uuids(), kind=st.sampled_from(("capture", "refund")), key=st.uuids())
def test_names_of_operations_and_checkouts_agree(payment: UUID, kind: str, key: UUID) -> None:
    """The checker derives the identities that the product does."""
    derived = derivation.operation_uuid(str(payment), kind, str(key))
    assert derived == str(identity.operation_uuid(payment, kind, key))
    checkout = checkout_names.checkout_uuid("mrc_a", Mode.TEST, key)
    assert derivation.checkout_uuid("mrc_a", "test", str(key)) == str(checkout)
    assert derivation.checkout_id("mrc_a", "test", str(key)) == checkout_names.checkout_id(checkout)
