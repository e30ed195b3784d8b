"""What of a body is kept in the request log: money and states, and nothing secret or personal."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.payment_requests import PaymentRequest
from gateway.request_redaction import HIDDEN, REDACTED, SHOWN, WALKED, redacted_bodies
from gateway.sellers import SellerRequest
from tests.unit.gateway.stack import payment

SECRETS = ("tok_approve", "A. Example", "a@example.org", "b-1", "red shoes", "c-9", "whsec_abc")


def kept(
    request: object = None,
    answer: object = None,
    *,
    path: dict[str, str] | None = None,
    query: dict[str, str] | None = None,
    body_bytes_max: int = 4_096,
) -> dict[str, Any]:
    """What is kept of two documents, or of bytes as they are."""
    bodies = redacted_bodies(
        path=path or {},
        query=query or {},
        request=_bytes(request),
        answer=_bytes(answer),
        body_bytes_max=body_bytes_max,
    )
    document: dict[str, Any] = json.loads(bodies)
    return document


def _bytes(document: object) -> bytes | None:
    if document is None or isinstance(document, bytes):
        return document
    return json.dumps(document).encode()


def test_an_order_shows_its_money_and_hides_who_pays_and_how() -> None:
    """Token, buyer, description and metadata are known to have been there, and not what they were."""
    body = payment(
        seller="slr_shoes",
        description="red shoes",
        metadata={"cart": "c-9"},
        buyer={"reference": "b-1", "email": "a@example.org", "name": "A. Example"},
    )
    found = kept(body)
    assert found["request"] == {
        "amount": 1999,
        "currency": "USD",
        "payment_method": REDACTED,
        "seller": "slr_shoes",
        "description": REDACTED,
        "metadata": REDACTED,
        "buyer": REDACTED,
    }
    assert not any(secret in json.dumps(found) for secret in SECRETS)


def test_an_answer_shows_what_became_of_the_order() -> None:
    """State, failure and times are kept; where the buyer was sent is not."""
    answer = {
        "id": "6f1c0e58-6c0f-4b7f-9d5e-0f3f0a6f4c11",
        "status": "failed",
        "failure": {"code": "declined", "decline_code": "do_not_honor", "message": "No."},
        "next_action": {
            "type": "redirect",
            "url": "https://psp.example/pay/abc",
            "expires_at": None,
        },
        "metadata": {"cart": "c-9"},
        "next_retry_at": None,
    }
    found = kept(answer=answer)["answer"]
    assert found["failure"] == answer["failure"]
    assert found["next_action"] == {"type": "redirect", "url": REDACTED}
    assert found["metadata"] == REDACTED
    assert "next_retry_at" not in found


def test_members_that_nobody_knows_are_counted() -> None:
    """A name of the client's own making may be personal itself: none is kept."""
    found = kept({"amount": 5, "a@example.org": 1, "cvc": "123"})
    assert found["request"] == {"amount": 5, "[others]": 2}


def test_a_shown_member_with_a_text_of_the_clients_is_not() -> None:
    """What should be an id or a currency and is a sentence, or an address, is left out."""
    found = kept({"currency": "my card is the red one", "seller": "a@example.org", "id": "slr_a"})
    assert found["request"] == {"currency": REDACTED, "seller": REDACTED, "id": "slr_a"}


def test_a_secret_is_shown_once_and_never_logged() -> None:
    """The answer that creates an endpoint carries its secret; the log does not."""
    found = kept(answer={"id": "we_a", "secret": "whsec_abc", "url": "https://shop.example/hook"})
    assert found["answer"] == {"id": "we_a", "secret": REDACTED, "url": REDACTED}


def test_a_fee_is_money() -> None:
    """A seller's fee is kept, by currencies alone; its name may be a person's."""
    fee = {"basis_points": 290, "fixed": {"USD": 30, "a@example.org": 1}}
    found = kept({"id": "slr_shoes", "name": "A. Example", "fee": fee})
    assert found["request"] == {
        "id": "slr_shoes",
        "name": REDACTED,
        "fee": {"basis_points": 290, "fixed": {"USD": 30}},
    }


def test_path_and_query_are_kept_as_far_as_they_are_ids() -> None:
    """Which payment was asked for is known; what was searched for in metadata is not."""
    found = kept(
        path={"id": "6f1c0e58-6c0f-4b7f-9d5e-0f3f0a6f4c11", "owner": "a@example.org"},
        query={"limit": "5", "metadata[cart]": "c-9", "status": "what a buyer wrote"},
    )
    assert found["path"] == {"id": "6f1c0e58-6c0f-4b7f-9d5e-0f3f0a6f4c11", "owner": REDACTED}
    assert found["query"] == {"limit": "5", "status": REDACTED}


def test_a_long_body_is_kept_by_its_size() -> None:
    """No request takes more of the log than its share."""
    orders = [{"amount": number, "currency": "USD"} for number in range(9)]
    body = json.dumps({"orders": orders}).encode()
    assert kept(body, body_bytes_max=100)["request"] == f"[{len(body)} bytes]"
    items = kept({"orders": orders * 3})["request"]["orders"]
    assert len(items) == 11
    assert items[-1] == "[27 in all]"


def test_what_is_no_json_is_kept_by_its_size() -> None:
    """A body that nobody can read may hold anything."""
    assert kept(b'{"payment_method": "tok_app')["request"] == "[27 bytes, no JSON]"
    assert kept(b"[" * 100_000)["request"] == "[100000 bytes, no JSON]"


@pytest.mark.parametrize("digits", [20, 400, 5_000])
def test_a_number_that_is_no_money_is_not_kept(digits: int) -> None:
    """Digits without end may be anything, and stand in nobody's way."""
    body = b'{"amount": %b, "orders": [%b]}' % ((b"7" * digits,) * 2)
    found = kept(body)["request"]
    assert found in (
        {"amount": REDACTED, "orders": [REDACTED]},
        f"[{len(body)} bytes, no JSON]",
    )


NAMES = st.one_of(st.sampled_from(sorted(SHOWN | WALKED | HIDDEN)), st.text(max_size=8))
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**60), 2**60), st.just("pérsonal data")),
    lambda inner: st.one_of(
        st.lists(inner, max_size=12), st.dictionaries(NAMES, inner, max_size=6)
    ),
    max_leaves=30,
)


@given(document=JSON)
def test_no_shape_of_a_body_lets_a_text_through(document: object) -> None:
    """Wherever a client puts a text that is no id, it is not kept; and nothing of ours breaks."""
    bodies = redacted_bodies(
        path={}, query={}, request=_bytes(document), answer=None, body_bytes_max=100_000
    )
    assert "pérsonal".encode() not in bodies
    assert b"\\u00e9" not in bodies


def test_every_member_of_a_request_is_known_to_the_log() -> None:
    """A member that a route takes is shown or hidden by decision, not forgotten."""
    known = SHOWN | WALKED | HIDDEN
    for shape in (PaymentRequest, SellerRequest):
        assert set(shape.__struct_fields__) <= known


@pytest.mark.parametrize(
    "secret",
    ["4111111111111111", "4111-1111-1111-1111", "sk_live_abcdef", "rk_test_x", "whsec_QUJD"],
)
def test_a_secret_in_the_place_of_an_id_is_not_kept(secret: str) -> None:
    """A path, a query, a member and our own words about them: none keeps what was put there by mistake."""
    found = kept(
        {"seller": secret, "currency": "USD"},
        {"detail": f"There is no parameter {secret}.", "param": f"query:{secret}", "status": 400},
        path={"id": secret},
        query={"after": secret, "limit": "5"},
    )
    assert secret not in json.dumps(found)
    assert found["path"] == {"id": REDACTED}
    assert found["query"] == {"after": REDACTED, "limit": "5"}
    assert found["request"] == {"seller": REDACTED, "currency": "USD"}
    assert found["answer"] == {"detail": REDACTED, "param": REDACTED, "status": 400}


def test_ids_that_look_a_little_like_secrets_are_kept() -> None:
    """A random UUID may hold the digits of a card; it is how a merchant finds its request."""
    key = "6f1c4052-8417-4992-8d5e-0f3f0a6f4c11"
    assert kept({"id": key}, path={"id": key}) == {
        "path": {"id": key},
        "request": {"id": key},
        "answer": None,
    }
