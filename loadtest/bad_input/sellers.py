"""Sellers: none of these may be created."""

from __future__ import annotations

from loadtest.bad_input.drawing import Draw
from loadtest.bad_input.refusals import (
    FEE_INVALID,
    FIELD_MISSING,
    FIELD_TYPE_INVALID,
    FIELD_UNKNOWN,
    JSON_INVALID,
    SELLER_INVALID,
    TEXT_INVALID,
)
from loadtest.bad_input.requests import (
    SELLER,
    SELLERS,
    BadRequest,
    members,
    post,
    refused,
    seller,
    text,
)

BASIS_POINTS_MAX = 10_000


def _post(draw: Draw, body: bytes) -> BadRequest:
    return post(draw, body, target=SELLERS)


@refused(SELLER_INVALID)
def seller_id(draw: Draw) -> BadRequest:
    odd = (
        "",
        "me",
        "ab",
        "1abc",
        "_ab",
        "Shoes",
        "slr shoes",
        "slr/shoes",
        "slr\u00e9",
        "mrc_shoes",
        "slr\n",
        "a\0b",
    )
    return _post(draw, seller(id=text(draw.choice((*odd, "a" * draw.integer(65, 3_000))))))


@refused(SELLER_INVALID.at("$.name"))
def seller_name(draw: Draw) -> BadRequest:
    return _post(draw, seller(name=text(draw.choice(("", "日" * draw.integer(201, 3_000))))))


@refused(TEXT_INVALID.at("$.name"))
def seller_name_with_zero(draw: Draw) -> BadRequest:
    return _post(draw, seller(name=text(f"{draw.word()}\0")))


@refused()
def seller_field(draw: Draw) -> BadRequest:
    """Missing, unknown, or of the wrong type."""
    name = draw.choice(tuple(SELLER))
    other = draw.word(13, 20)
    value = draw.choice((b"1", b"null", b"[]", b"true", b"{}"))
    rest = {key: value for key, value in SELLER.items() if key != name}
    return draw.choice(
        (
            _post(draw, members(rest)).refused(FIELD_MISSING.at(f"$.{name}")),
            _post(draw, members(SELLER, {other: b"1"})).refused(FIELD_UNKNOWN.at(f"$.{other}")),
            _post(draw, seller(**{name: value})).refused(FIELD_TYPE_INVALID.at(f"$.{name}")),
            _post(draw, b'{"id":').refused(JSON_INVALID),
        )
    )


@refused()
def fee_value(draw: Draw) -> BadRequest:
    """A share beyond the whole, a fixed part below zero, a currency that is none."""
    above = b"%d" % draw.integer(BASIS_POINTS_MAX + 1, 10**9)
    name, value, place = draw.choice(
        (
            ("basis_points", above, "basis_points"),
            ("basis_points", b"-1", "basis_points"),
            ("fixed_default", b"-1", "fixed_default"),
            ("fixed", b'{"USD":-1}', "fixed.USD"),
            ("fixed", b'{"usd":1}', "fixed.usd"),
            # What is not plain letters is the client's own, and is not repeated.
            ("fixed", b'{"U$D":1}', "fixed"),
            ("fixed", b'{"\\u0000":1}', "fixed"),
        )
    )
    fee = members({"basis_points": b"290", name: value})
    return _post(draw, seller(fee=fee)).refused(FEE_INVALID.at(f"$.fee.{place}"))


@refused()
def fee_shape(draw: Draw) -> BadRequest:
    other = draw.word(13, 20)
    return draw.choice(
        (
            _post(draw, seller(fee=b"{}")).refused(FIELD_MISSING.at("$.fee.basis_points")),
            _post(draw, seller(fee=draw.choice((b"1", b"[]", b'"a"')))).refused(
                FIELD_TYPE_INVALID.at("$.fee")
            ),
            _post(draw, seller(fee=b'{"basis_points":2.5}')).refused(
                FIELD_TYPE_INVALID.at("$.fee.basis_points")
            ),
            _post(draw, seller(fee=members({"basis_points": b"1", other: b"1"}))).refused(
                FIELD_UNKNOWN.at(f"$.fee.{other}")
            ),
        )
    )
