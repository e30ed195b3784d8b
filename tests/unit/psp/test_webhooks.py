"""A PSP's webhook is believed by its signature over the very bytes, and only while it is fresh."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from psp.webhooks import (
    SECRET_BYTES_MIN,
    Refusal,
    WebhookVerifier,
    secret_bytes,
    signature_of,
)

OLD, NEW, STRANGE = b"o" * 32, b"n" * 32, b"s" * 32
NOW_S = 1_800_000_000
BODY = b'{"id":"evt_a"}'
VERIFIER = WebhookVerifier([NEW, OLD], tolerance_s=300)


def refusal(
    signatures: str, *, body: bytes = BODY, event_id: str = "evt_a", at: str = str(NOW_S)
) -> Refusal | None:
    return VERIFIER.refusal(event_id, at, signatures, body, now_s=NOW_S + 0.5)


def test_a_known_signature_is_what_others_compute() -> None:
    """The published example of Standard Webhooks' libraries gives the same signature here."""
    secret = secret_bytes("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    signature = signature_of(
        secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
    )
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("secret", [OLD, NEW])
def test_any_configured_secret_counts(secret: bytes) -> None:
    """During a rotation what the old or the new secret signed is believed, alone or beside others."""
    signature = signature_of(secret, "evt_a", NOW_S, BODY)
    assert refusal(signature) is None
    strange = signature_of(STRANGE, "evt_a", NOW_S, BODY)
    assert refusal(f"{strange} {signature}") is None
    assert refusal(strange) is Refusal.SIGNATURE


@pytest.mark.parametrize(
    "changed",
    [
        {"body": BODY + b" "},
        {"event_id": "evt_b"},
        {"at": str(NOW_S - 1)},
        {"event_id": ""},
        {"at": ""},
        {"at": "soon"},
        {"at": "9" * 40},
    ],
)
def test_every_signed_part_counts(changed: dict[str, str | bytes]) -> None:
    """One byte of the body, the id or the time, and the signature is another one."""
    signature = signature_of(NEW, "evt_a", NOW_S, BODY)
    assert refusal(signature, **changed) is Refusal.SIGNATURE  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("age_s", "expected"),
    [(0, None), (299, None), (301, Refusal.TIMESTAMP), (-301, Refusal.TIMESTAMP), (-299, None)],
)
def test_an_old_signature_is_no_signature(age_s: int, expected: Refusal | None) -> None:
    """What was signed too long ago, or too far ahead, is refused although its signature is right."""
    at_s = NOW_S - age_s
    assert refusal(signature_of(NEW, "evt_a", at_s, BODY), at=str(at_s)) is expected


def test_a_crowd_of_signatures_is_not_searched() -> None:
    """Only the first few signatures are looked at."""
    good = signature_of(NEW, "evt_a", NOW_S, BODY)
    assert refusal(" ".join(["v1,x"] * 7 + [good])) is None
    assert refusal(" ".join(["v1,x"] * 8 + [good])) is Refusal.SIGNATURE


@given(event_id=st.text(max_size=20), at=st.text(max_size=14), signatures=st.text(max_size=120))
def test_any_headers_are_refused_or_right(event_id: str, at: str, signatures: str) -> None:
    """Whatever stands in the headers, nothing but a signature of ours is believed, and nothing raises."""
    assert refusal(signatures, event_id=event_id, at=at) is Refusal.SIGNATURE


def test_secrets_are_long_enough() -> None:
    """A short secret, and one that is no base64 after its prefix, is refused without being shown."""
    assert secret_bytes("x" * SECRET_BYTES_MIN) == b"x" * SECRET_BYTES_MIN
    for text in ("short", "whsec_c2hvcnQ=", "whsec_not base64"):
        with pytest.raises(ValueError, match="secret") as refused:
            secret_bytes(text)
        assert text not in str(refused.value)
    with pytest.raises(ValueError, match="without"):
        WebhookVerifier([], tolerance_s=1)
