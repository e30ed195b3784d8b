"""Webhooks: what the gateway signed lately is believed, and nothing else is."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from psp import webhooks as product
from tallystick.webhooks import (
    SignatureInvalid,
    TimestampInvalid,
    WebhookRefused,
    WebhookVerifier,
    sign,
)

NOW_S = 1_790_000_000
SECRET = "whsec_" + base64.b64encode(b"a" * 32).decode()
OTHER = "whsec_" + base64.b64encode(b"b" * 32).decode()
BODY = json.dumps({"id": "evt_a", "type": "payment_order.succeeded", "sequence": 1}).encode()


def verifier(*secrets: str) -> WebhookVerifier:
    return WebhookVerifier(*secrets, clock=lambda: NOW_S)


def signed(secret: str = SECRET, at_s: int = NOW_S, body: bytes = BODY) -> dict[str, str]:
    return sign(secret, body, webhook_id="evt_a", timestamp_s=at_s)


def test_what_the_product_signs_is_believed() -> None:
    """The client and the product agree about every byte of a signature."""
    secret = product.secret_bytes(SECRET)
    signature = product.signature_of(secret, "evt_a", NOW_S, BODY)
    assert signed()["webhook-signature"] == signature
    event = verifier(SECRET).verify(BODY, signed())
    assert (event.id, event.type) == ("evt_a", "payment_order.succeeded")


def test_header_names_are_read_in_any_case() -> None:
    """Web frameworks write header names as they like."""
    headers = {name.title(): value for name, value in signed().items()}
    assert verifier(SECRET).verify(BODY, headers).id == "evt_a"


def test_a_rotation_believes_both_secrets() -> None:
    """While a secret is rotated, either one counts, on either side."""
    assert verifier(OTHER, SECRET).verify(BODY, signed()).id == "evt_a"
    both = {
        **signed(),
        "webhook-signature": f"{signed(OTHER)['webhook-signature']} {signed()['webhook-signature']}",
    }
    assert verifier(SECRET).verify(BODY, both).id == "evt_a"


@pytest.mark.parametrize("at_s", [NOW_S - 301, NOW_S + 301, NOW_S - 86_400])
def test_an_old_webhook_is_refused(at_s: int) -> None:
    """A recorded webhook that is sent again later changes nothing."""
    with pytest.raises(TimestampInvalid):
        verifier(SECRET).verify(BODY, signed(at_s=at_s))
    assert verifier(SECRET).verify(BODY, signed(at_s=NOW_S - 299)).id == "evt_a"


def test_who_can_not_sign_learns_nothing_of_the_clock() -> None:
    """A forged webhook is refused for its signature, however old it says it is."""
    with pytest.raises(SignatureInvalid):
        verifier(SECRET).verify(BODY, signed(OTHER, at_s=5))


@given(place=st.integers(0, len(BODY) - 1), bit=st.integers(0, 7))
def test_no_changed_byte_is_believed(place: int, bit: int) -> None:
    """A body that differs in one bit is not what was signed."""
    changed = bytearray(BODY)
    changed[place] ^= 1 << bit
    with pytest.raises(SignatureInvalid):
        verifier(SECRET).verify(bytes(changed), signed())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("webhook-id", "evt_b"),
        ("webhook-id", ""),
        ("webhook-timestamp", str(NOW_S + 1)),
        ("webhook-timestamp", "1e9"),
        ("webhook-timestamp", "\u0661"),
        ("webhook-signature", ""),
        ("webhook-signature", "v1,\ud800"),
        ("webhook-signature", "v1a," + "A" * 44),
    ],
)
def test_broken_headers_are_refused(name: str, value: str) -> None:
    """Whatever stands in the headers, the answer is a refusal and no other error."""
    with pytest.raises(WebhookRefused):
        verifier(SECRET).verify(BODY, {**signed(), name: value})


def test_signatures_beyond_the_limit_are_not_computed() -> None:
    """Who sends thousands of signatures keeps nobody busy with them."""
    many = " ".join(["v1,AAAA"] * 20 + [signed()["webhook-signature"]])
    with pytest.raises(SignatureInvalid):
        verifier(SECRET).verify(BODY, {**signed(), "webhook-signature": many})


def test_a_decoded_body_is_a_programmers_error() -> None:
    """Signatures are over bytes: text that was decoded may be other bytes when it is encoded again."""
    with pytest.raises(TypeError):
        verifier(SECRET).verify(BODY.decode(), signed())  # type: ignore[arg-type]


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_short", "whsec_" + "!" * 40])
def test_what_is_no_secret_is_refused(secret: str) -> None:
    """A secret that was cut or mistyped is found when the receiver starts."""
    with pytest.raises(ValueError, match="secret"):
        WebhookVerifier(secret)
    with pytest.raises(ValueError, match="at least one"):
        WebhookVerifier()
    assert SECRET not in repr(verifier(SECRET))
