"""Webhooks that no PSP has sent: none of these may be queued. The secret is not known here.

A deployment without a webhook secret does not know the PSP; one that has it refuses the signature.
"""

from __future__ import annotations

from collections.abc import Mapping

from loadtest.bad_input.drawing import Draw
from loadtest.bad_input.refusals import (
    BODY_TOO_LARGE,
    CONTENT_TYPE_UNSUPPORTED,
    PARAMETER_UNKNOWN,
    PSP_NOT_FOUND,
    WEBHOOK_SIGNATURE_INVALID,
)
from loadtest.bad_input.requests import BadRequest, members, post, refused, text

TARGET = "/v1/psp/simulator/webhooks"
_SIGNATURE = b"v1," + b"A" * 43 + b"="
_AT = b"1800000000"

_UNBELIEVED = (PSP_NOT_FOUND, WEBHOOK_SIGNATURE_INVALID)


def _event(draw: Draw) -> bytes:
    charge = members({"object": b'"charge"', "key": text(draw.word()), "status": b'"captured"'})
    return members(
        {
            "id": text(f"evt_{draw.word()}"),
            "type": b'"charge.succeeded"',
            "created_at": b'"2026-11-26T00:00:00Z"',
            "data": charge,
        }
    )


def _headers(draw: Draw, changes: Mapping[str, bytes | None]) -> dict[str, bytes | None]:
    return {
        "Authorization": None,
        "Idempotency-Key": None,
        "webhook-id": f"msg_{draw.word()}".encode(),
        "webhook-timestamp": _AT,
        "webhook-signature": _SIGNATURE,
        **changes,
    }


@refused(*_UNBELIEVED)
def webhook_forged(draw: Draw) -> BadRequest:
    """Whole, and signed by nobody who has the secret."""
    return post(draw, _event(draw), target=TARGET, changes=_headers(draw, {}))


@refused(*_UNBELIEVED)
def webhook_header(draw: Draw) -> BadRequest:
    """A header missing, empty, or none of its form."""
    name = draw.choice(("webhook-id", "webhook-timestamp", "webhook-signature"))
    value = draw.choice(
        (None, b"", b"-1", b"1e9", b"v1,", b"v2," + b"A" * 44, b"v1 " * 200, b"v1,\xff")
    )
    return post(draw, _event(draw), target=TARGET, changes=_headers(draw, {name: value}))


@refused(*_UNBELIEVED)
def webhook_header_twice(draw: Draw) -> BadRequest:
    name = draw.choice((b"webhook-id", b"webhook-timestamp", b"webhook-signature"))
    extra = [(name, draw.word().encode())]
    return post(draw, _event(draw), target=TARGET, changes=_headers(draw, {}), extra=extra)


@refused(*_UNBELIEVED)
def webhook_body(draw: Draw) -> BadRequest:
    """No JSON, and deeper than any stack: nobody may read it before it is verified."""
    body = draw.choice((b"", draw.octets(40), b"[" * 40_000, b"{}", b"null"))
    return post(draw, body, target=TARGET, changes=_headers(draw, {}))


@refused(PSP_NOT_FOUND)
def webhook_of_no_psp(draw: Draw) -> BadRequest:
    target = f"/v1/psp/{draw.word(13, 20)}/webhooks"
    return post(draw, _event(draw), target=target, changes=_headers(draw, {}))


@refused()
def webhook_shape(draw: Draw) -> BadRequest:
    """Too large, of another content type, with a query."""
    plain = _headers(draw, {"Content-Type": b"text/plain"})
    other = draw.word(13, 20)
    return draw.choice(
        (
            post(draw, b" " * 70_000, target=TARGET, changes=_headers(draw, {})).refused(
                BODY_TOO_LARGE, PSP_NOT_FOUND
            ),
            post(draw, _event(draw), target=TARGET, changes=plain).refused(
                CONTENT_TYPE_UNSUPPORTED, PSP_NOT_FOUND
            ),
            post(
                draw, _event(draw), target=f"{TARGET}?{other}=1", changes=_headers(draw, {})
            ).refused(PARAMETER_UNKNOWN.at(f"query:{other}")),
        )
    )
