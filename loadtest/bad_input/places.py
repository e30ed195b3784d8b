"""Paths, methods and query parameters."""

from __future__ import annotations

from urllib.parse import quote

from loadtest.bad_input.drawing import Draw
from loadtest.bad_input.refusals import (
    METHOD_NOT_ALLOWED,
    NOT_FOUND,
    PARAMETER_INVALID,
    PARAMETER_UNKNOWN,
    PAYMENT_NOT_FOUND,
    WALLET_NOT_FOUND,
)
from loadtest.bad_input.requests import PAYMENTS, SELLERS, BadRequest, get, order, post, refused

_LIST_PARAMETERS = (
    "limit", "starting_after", "ending_before", "status", "currency",
    "created[gte]", "created[lt]", "amount[gte]", "amount[lte]",
)  # fmt: skip


def _list(draw: Draw, name: str, value: str) -> BadRequest:
    """Return a list of payments with one bad parameter, and the expectation that it is named."""
    return get(draw, f"{PAYMENTS}?{name}={quote(value)}").refused(
        PARAMETER_INVALID.at(f"query:{name}")
    )


def _odd_segment(draw: Draw) -> str:
    """Return one segment of a path: slashes would make two of it, and braces belong to no id."""
    return quote(draw.odd_text().translate({ord(mark): "|" for mark in "/{}"}), safe="")


@refused(NOT_FOUND)
def path_unknown(draw: Draw) -> BadRequest:
    odd = draw.choice(
        (
            "/",
            "//",
            "/v1",
            "/v2/payments",
            "/v1/payment",
            "/v1/payments/",
            "//v1/payments",
            "/V1/PAYMENTS",
            f"/v1/payments/{draw.key()}/chargebacks",
            f"/v1/{draw.word()}",
            "/v1/payments%2f" + draw.word(),
            "/v1/%70ayment",
            "/v1/%00",
            "/v1/%ff%fe",
            "/v1/%zz",
            "/v1/" + quote(draw.odd_text(), safe=""),
            "/" + "a/" * draw.integer(100, 3_000),
            "/docs/problems/..",
            "/.env",
        )
    )
    return get(draw, odd)


@refused(METHOD_NOT_ALLOWED)
def method_not_allowed(draw: Draw) -> BadRequest:
    path = draw.choice((PAYMENTS, SELLERS, f"{PAYMENTS}/{draw.key()}", "/v1/wallets/me"))
    return get(
        draw, path, method=draw.choice(("DELETE", "PUT", "PATCH", "OPTIONS", "TRACE", "PROPFIND"))
    )


@refused(PAYMENT_NOT_FOUND)
def payment_unknown(draw: Draw) -> BadRequest:
    """An id that nobody used, or that is none: both are simply not there."""
    odd = draw.choice(
        (
            draw.key(),
            draw.key().upper(),
            "00000000-0000-0000-0000-000000000000",
            draw.word(),
            "tr_bb_bb_bb",
            "%00",
            "%ff",
            "..",
            _odd_segment(draw),
            "a" * draw.integer(100, 5_000),
        )
    )
    return get(draw, f"{PAYMENTS}/{odd}" + draw.choice(("", "/transfers", "/refunds")))


@refused(WALLET_NOT_FOUND)
def wallet_unknown(draw: Draw) -> BadRequest:
    odd = draw.choice(
        (
            "Me",
            "ME",
            draw.word(),
            "mrc_bcdfghjkmnpqrstvbcdf",
            "%00",
            "%ff",
            "a%00b",
            _odd_segment(draw),
            "a" * 5_000,
        )
    )
    return get(draw, f"/v1/wallets/{odd}")


@refused()
def parameter_unknown(draw: Draw) -> BadRequest:
    """Never ignored, on any route; named when its name is plain."""
    name = draw.choice(("limits", "Limit", "page", "expand[]", draw.word(13, 20)))
    odd = draw.choice(
        ("", "a-b", "lim it", "limit\0", "created(gte", "metadata", "metadata[]", draw.odd_text())
    )
    path = draw.choice((PAYMENTS, SELLERS, f"{PAYMENTS}/{draw.key()}", "/v1/wallets/me"))
    if draw.is_heads():
        return get(draw, f"{path}?{quote(name)}=1").refused(PARAMETER_UNKNOWN.at(f"query:{name}"))
    if odd in ("metadata", "metadata[]"):
        return get(draw, f"{path}?{odd}=1").refused(PARAMETER_UNKNOWN.at(f"query:{odd}"))
    return get(draw, f"{path}?{quote(odd)}=1").refused(PARAMETER_UNKNOWN)


@refused()
def parameter_on_a_post(draw: Draw) -> BadRequest:
    name = draw.word()
    sent = post(draw, order(), target=f"{PAYMENTS}?{name}={draw.word()}")
    return sent.refused(PARAMETER_UNKNOWN.at(f"query:{name}"))


@refused()
def parameter_repeated(draw: Draw) -> BadRequest:
    name = draw.choice(_LIST_PARAMETERS)
    sent = get(draw, f"{PAYMENTS}?{name}=10&{quote(name)}=10")
    return sent.refused(PARAMETER_INVALID.at(f"query:{name}"))


@refused(PARAMETER_INVALID.at("query:limit"))
def limit_invalid(draw: Draw) -> BadRequest:
    odd = draw.choice(
        ("0", "-1", "101", "1.0", "1e1", " 1", "", "ten", "9" * 30, "१०", "0x10", "+5", "1_0", "\0")
    )
    return get(draw, f"{draw.choice((PAYMENTS, SELLERS))}?limit={quote(odd)}")


@refused()
def cursor_invalid(draw: Draw) -> BadRequest:
    """No id, or an id that names nothing here."""
    name = draw.choice(("starting_after", "ending_before"))
    odd = ("", "0", draw.word(), draw.odd_text(), draw.key(), draw.lettered_key() + "0", "\0")
    return _list(draw, name, draw.choice(odd))


@refused(PARAMETER_INVALID.at("query:ending_before"))
def cursors_both(draw: Draw) -> BadRequest:
    return get(draw, f"{PAYMENTS}?starting_after={draw.key()}&ending_before={draw.key()}")


@refused(PARAMETER_INVALID.at("query:starting_after"))
def seller_cursor_unknown(draw: Draw) -> BadRequest:
    odd = draw.choice(("", draw.word(13, 20), "me", "\0", "a\0b", draw.odd_text(), "x" * 3_000))
    return get(draw, f"{SELLERS}?starting_after={quote(odd)}")


@refused()
def list_filter_invalid(draw: Draw) -> BadRequest:
    """Values that no payment can have."""
    name, odd = draw.choice(
        (
            ("status", ("", "done", "Succeeded", "succeeded,failed", "\0")),
            ("currency", ("", "usd", "US", "ZZZ", "USDUSD", "\0")),
            ("amount[gte]", ("", "-1", "1.5", "1e3", "9" * 17, "nine", "1 0", "٣", "\0")),
            ("amount[lte]", ("9" * 40, "0x1", "+1", "Infinity")),
            (
                "created[gte]",
                ("", "now", "2026-13-01T00:00:00Z", "2026-11-01T00:00:00", "0000-01-01T00:00:00Z"),
            ),
            (
                "created[lt]",
                ("2026-11-01", "1e9", "2026-02-30T00:00:00Z", "2026-11-01T25:00:00Z", "\0"),
            ),
        )
    )
    return _list(draw, name, draw.choice(odd))


@refused(PARAMETER_INVALID.at("query:metadata"))
def metadata_filter_invalid(draw: Draw) -> BadRequest:
    """Keys and values that metadata can't hold, or too many of them."""
    query = draw.choice(
        (
            "&".join(f"metadata[{draw.word()}{number}]=a" for number in range(draw.integer(6, 40))),
            f"metadata[{'k' * draw.integer(41, 2_000)}]=a",
            f"metadata[{draw.word()}]={'v' * draw.integer(501, 4_000)}",
            "metadata[a]=%00",
            "metadata[%00]=a",
        )
    )
    return get(draw, f"{PAYMENTS}?{query}")
