"""Fields of an order: JSON that is right, with members, types and values that are not."""

from __future__ import annotations

from loadtest.bad_input.drawing import Draw
from loadtest.bad_input.refusals import (
    AMOUNT_TOO_LARGE,
    AMOUNT_TOO_SMALL,
    BUYER_INVALID,
    CAPTURE_INVALID,
    CURRENCY_NOT_SUPPORTED,
    DESCRIPTION_TOO_LONG,
    FIELD_MISSING,
    FIELD_TYPE_INVALID,
    FIELD_UNKNOWN,
    METADATA_INVALID,
    PAYMENT_METHOD_INVALID,
    SELLER_UNKNOWN,
    TEXT_INVALID,
)
from loadtest.bad_input.requests import ORDER, BadRequest, members, order, post, refused, text

AMOUNT_MINOR_MAX = 2**53 - 1

_TEXT_FIELDS = ("currency", "payment_method", "seller", "capture", "description")
_BUYER_LIMITS = (("reference", 200), ("email", 254), ("name", 200))
_NO_TEXTS = (b"1", b"true", b"[]", b"{}", b"-0.5", b'["a"]')


@refused()
def field_missing(draw: Draw) -> BadRequest:
    name = draw.choice(tuple(ORDER))
    body = members({other: value for other, value in ORDER.items() if other != name})
    return post(draw, body).refused(FIELD_MISSING.at(f"$.{name}"))


@refused()
def field_unknown(draw: Draw) -> BadRequest:
    """A field that the API does not have: named when its name is plain, else its place alone."""
    plain = draw.choice(
        ("amounts", "Amount", "merchant", "card", "__proto__", "constructor", draw.word(13, 30))
    )
    odd = draw.choice(("amount ", "", "a.b", "$", "[...]", draw.odd_text(), "x" * 60))
    return draw.choice(
        (
            post(draw, members(ORDER, {plain: text("a")})).refused(FIELD_UNKNOWN.at(f"$.{plain}")),
            post(draw, members(ORDER, {odd: b"{}"})).refused(FIELD_UNKNOWN),
            post(draw, order(buyer=members({plain: b"1"}))).refused(
                FIELD_UNKNOWN.at(f"$.buyer.{plain}")
            ),
            post(draw, order(buyer=members({odd: b"null"}))).refused(FIELD_UNKNOWN.at("$.buyer")),
        )
    )


@refused()
def field_named_as_a_place(draw: Draw) -> BadRequest:
    """A name that ends as the library ends its message, with a place: the answer repeats none of it."""
    place = draw.choice(
        ("$.amount", "$.buyer", f"$.{draw.word()}", "$<script>", "$", "$.metadata[...]")
    )
    name = draw.word() + draw.choice(("` - at `", " - at `", "`", "` - at `$` - at `")) + place
    quoted = text(name)
    if draw.is_heads():
        quoted = quoted.replace(b"`", b"\\u0060")
    return draw.choice(
        (
            post(draw, order()[:-1] + b",%s:1}" % quoted).refused(FIELD_UNKNOWN),
            post(draw, order(buyer=b"{%s:1}" % quoted)).refused(FIELD_UNKNOWN.at("$.buyer")),
        )
    )


@refused(FIELD_TYPE_INVALID.at("$.amount"))
def amount_of_wrong_type(draw: Draw) -> BadRequest:
    """Amounts are integers of minor units, never texts and never fractions."""
    odd = (
        b'"1999"',
        b"true",
        b"null",
        b"[]",
        b"{}",
        b"1999.0",
        b"19.99",
        b"1e3",
        b"-1.5",
        b"1E400",
        b'""',
    )
    return post(draw, order(amount=draw.choice(odd)))


@refused()
def text_of_wrong_type(draw: Draw) -> BadRequest:
    name = draw.choice(_TEXT_FIELDS)
    value = draw.choice(_NO_TEXTS)
    return post(draw, order(**{name: value})).refused(FIELD_TYPE_INVALID.at(f"$.{name}"))


@refused()
def required_text_null(draw: Draw) -> BadRequest:
    """A null counts as left out only where a field may be left out."""
    name = draw.choice(("currency", "payment_method"))
    return post(draw, order(**{name: b"null"})).refused(FIELD_TYPE_INVALID.at(f"$.{name}"))


@refused()
def object_of_wrong_type(draw: Draw) -> BadRequest:
    name = draw.choice(("metadata", "buyer"))
    value = draw.choice((b"1", b'"a"', b"true", b"[]", b"[{}]", b"0.1"))
    return post(draw, order(**{name: value})).refused(FIELD_TYPE_INVALID.at(f"$.{name}"))


@refused()
def metadata_value_of_wrong_type(draw: Draw) -> BadRequest:
    """Which key is told when its name is plain; a name that is not is never repeated."""
    plain = draw.choice((draw.word(), "cart-id", "_a"))
    odd = draw.choice(("two words", "", draw.odd_text(), "x" * 60))
    value = draw.choice((*_NO_TEXTS, b"null"))
    good = {draw.word(13, 20): text("a")}
    return draw.choice(
        (
            post(draw, order(metadata=members(good, {plain: value}))).refused(
                FIELD_TYPE_INVALID.at(f"$.metadata.{plain}")
            ),
            post(draw, order(metadata=members(good, {odd: value}))).refused(
                FIELD_TYPE_INVALID.at("$.metadata[...]")
            ),
        )
    )


@refused()
def buyer_member_of_wrong_type(draw: Draw) -> BadRequest:
    name, _ = draw.choice(_BUYER_LIMITS)
    body = order(buyer=members({name: draw.choice(_NO_TEXTS)}))
    return post(draw, body).refused(FIELD_TYPE_INVALID.at(f"$.buyer.{name}"))


@refused(AMOUNT_TOO_SMALL)
def amount_not_positive(draw: Draw) -> BadRequest:
    amount = draw.choice((0, -1, -1999, -AMOUNT_MINOR_MAX, -(2**63), -draw.integer(1, 10**9)))
    return post(draw, order(amount=draw.choice((b"-0", b"%d" % amount))))


@refused(AMOUNT_TOO_LARGE)
def amount_above_the_limit(draw: Draw) -> BadRequest:
    """Just above 2^53 - 1, up to just below 10^19. They begin with a 9, as no card does."""
    amount = draw.choice(
        (
            AMOUNT_MINOR_MAX + 1,
            AMOUNT_MINOR_MAX + draw.integer(1, 10**12),
            2**63 - 1,
            2**63,
            2**64 - 1,
        )
    )
    return post(draw, order(amount=b"%d" % amount))


@refused(CURRENCY_NOT_SUPPORTED)
def currency_unknown(draw: Draw) -> BadRequest:
    odd = (
        "usd",
        "Usd",
        "US",
        "USDD",
        "",
        "ZZZ",
        "U$D",
        "840",
        " USD",
        "USD\n",
        "ＵＳＤ",
        "\u202eUSD",
        "x" * 500,
    )
    return post(draw, order(currency=text(draw.choice(odd))))


@refused(PAYMENT_METHOD_INVALID)
def payment_method_unknown(draw: Draw) -> BadRequest:
    """No token of any provider, or with characters that no token has."""
    odd = (
        "",
        "card",
        "pm_visa",
        "TOK_approve",
        " tok_approve",
        "tok_\n",
        "tok_é",
        "tok_\u0000",
        "tok_" + "x" * 252,
    )
    return post(draw, order(payment_method=text(draw.choice((*odd, draw.odd_text())))))


@refused(SELLER_UNKNOWN)
def seller_unknown(draw: Draw) -> BadRequest:
    odd = ("", "me", "Me", "../me", "mrc_", "\u0000", "*", "slr_" + draw.word(), "x" * 5_000)
    return post(draw, order(seller=text(draw.choice((*odd, draw.odd_text())))))


@refused(CAPTURE_INVALID)
def capture_unknown(draw: Draw) -> BadRequest:
    odd = ("", "auto", "AUTOMATIC", "automatic ", "none", draw.odd_text())
    return post(draw, order(capture=text(draw.choice(odd))))


@refused(DESCRIPTION_TOO_LONG)
def description_too_long(draw: Draw) -> BadRequest:
    """501 characters or more; a character is a code point, however many bytes it has."""
    return post(
        draw, order(description=text(draw.choice("aé日\U0001f4b8") * draw.integer(501, 4_000)))
    )


@refused(METADATA_INVALID)
def metadata_over_its_limits(draw: Draw) -> BadRequest:
    metadata = draw.choice(
        (
            {f"{draw.word()}{number}": "" for number in range(draw.integer(51, 300))},
            {"k" * draw.integer(41, 4_000): "a"},
            {draw.word(): "日" * draw.integer(501, 4_000)},
            {"": "a"},
        )
    )
    return post(draw, order(metadata=text(metadata)))


@refused()
def buyer_over_its_limits(draw: Draw) -> BadRequest:
    name, characters_max = draw.choice(_BUYER_LIMITS)
    value = draw.choice("aé\U0001f4b8") * draw.integer(characters_max + 1, 3_000)
    return post(draw, order(buyer=text({name: value}))).refused(BUYER_INVALID.at(f"$.buyer.{name}"))


@refused()
def zero_character(draw: Draw) -> BadRequest:
    """U+0000 within a text that would be stored: databases end a text there, or refuse it."""
    odd = text(draw.choice(("\0", "a\0b", draw.word() + "\0", "\0" * 20)))
    name, _ = draw.choice(_BUYER_LIMITS)
    return draw.choice(
        (
            post(draw, order(description=odd)).refused(TEXT_INVALID),
            post(draw, order(metadata=b'{"a":%s}' % odd)).refused(TEXT_INVALID.at("$.metadata")),
            post(draw, order(metadata=b'{%s:"a"}' % odd)).refused(TEXT_INVALID.at("$.metadata")),
            post(draw, order(buyer=members({name: odd}))).refused(
                TEXT_INVALID.at(f"$.buyer.{name}")
            ),
        )
    )
