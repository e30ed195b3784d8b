"""JSON: texts that are none, that say a thing twice, or that nest without end."""

from __future__ import annotations

import codecs

from loadtest.bad_input.drawing import Draw
from loadtest.bad_input.refusals import (
    AMOUNT_TOO_LARGE,
    FIELD_TYPE_INVALID,
    FIELD_UNKNOWN,
    JSON_INVALID,
    JSON_MEMBER_REPEATED,
)
from loadtest.bad_input.requests import BadRequest, order, post, refused, text

# Deep enough to end any reader that recurses; the whole still fits into a body.
_DEPTHS = (200, 5_000, 30_000)


@refused(JSON_INVALID)
def json_cut_short(draw: Draw) -> BadRequest:
    body = order(metadata=text({draw.word(): draw.word()}))
    return post(draw, body[: draw.integer(1, len(body) - 1)])


@refused(JSON_INVALID)
def json_with_more_behind(draw: Draw) -> BadRequest:
    return post(draw, order() + draw.choice((b"{}", b",", b"]", b"\x00", b"x", b"null", order())))


@refused(JSON_INVALID)
def json_almost(draw: Draw) -> BadRequest:
    """What other languages would read: comments, single quotes, trailing commas, constants."""
    whole = order()
    return post(
        draw,
        draw.choice(
            (
                whole.replace(b'"', b"'"),
                whole.replace(b"{", b"{/* order */"),
                whole[:-1] + b",}",
                whole.replace(b'"amount"', b"amount"),
                whole.replace(b":", b"="),
                b"amount=1999&currency=USD&payment_method=tok_approve",
                b"--- !!python/object/apply:os.system ['true']",
                b"<order><amount>1999</amount></order>",
            )
        ),
    )


@refused(JSON_INVALID)
def number_almost(draw: Draw) -> BadRequest:
    """Numbers of other languages, but none of JSON."""
    odd = (
        b"NaN",
        b"Infinity",
        b"-Infinity",
        b"+5",
        b"0x10",
        b"1_000",
        b"007",
        b".5",
        b"5.",
        b"-",
        b"1e",
        "५".encode(),
    )
    return post(draw, order(amount=draw.choice(odd)))


@refused(JSON_INVALID)
def not_utf8(draw: Draw) -> BadRequest:
    """A text with bytes that are no UTF-8: broken, overlong, half a pair, of another encoding."""
    odd = draw.choice(
        (b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"caf\xe9", b"\xe2\x82")
    )
    return post(draw, order(description=b'"' + draw.word().encode() + odd + b'"'))


@refused(JSON_INVALID)
def other_encoding(draw: Draw) -> BadRequest:
    """JSON in an encoding, or behind a mark, that RFC 8259 forbids between systems."""
    whole = order().decode()
    bodies = (
        codecs.BOM_UTF8 + order(),
        *(whole.encode(name) for name in ("utf-16", "utf-16-be", "utf-32-le")),
    )
    return post(draw, draw.choice(bodies))


@refused(JSON_INVALID)
def half_a_surrogate_pair(draw: Draw) -> BadRequest:
    odd = draw.choice(
        (
            rb"\ud800",
            rb"\udc00",
            rb"\ud800\ud800",
            rb"\udc00\ud800",
            rb"\u12",
            rb"\x41",
            rb"\U0001f4b8",
        )
    )
    return post(draw, order(description=b'"' + draw.word().encode() + odd + b'"'))


@refused(JSON_INVALID)
def control_character_in_text(draw: Draw) -> BadRequest:
    """A raw control character within a text: JSON wants it escaped."""
    return post(draw, order(description=b'"a%cb"' % draw.integer(0, 0x1F)))


@refused(FIELD_TYPE_INVALID)
def not_an_object(draw: Draw) -> BadRequest:
    return post(
        draw, draw.choice((b"[]", b"1", b'"order"', b"null", b"true", b"[%s]" % order(), b"-1.5e3"))
    )


@refused(JSON_MEMBER_REPEATED)
def member_repeated(draw: Draw) -> BadRequest:
    """One member twice, plain or in another spelling, at the top or further down."""
    whole, word = order(), text(draw.word())
    return post(
        draw,
        draw.choice(
            (
                whole[:-1] + b',"amount":1}',
                whole[:-1] + rb',"\u0061mount":1999}',
                whole[:-1] + b',"metadata":{%s:"a",%s:"b"}}' % (word, word),
                whole[:-1] + b',"buyer":{"name":"A","name":"B"}}',
                whole[:-1] + b',"metadata":{"a":"b"},"metadata":{"a":"b"}}',
            )
        ),
    )


@refused()
def nested_without_end(draw: Draw) -> BadRequest:
    """Brackets in brackets, closed or not."""
    depth = draw.choice(_DEPTHS)
    arrays = b"[" * depth + (b"]" * depth if draw.is_heads() else b"")
    objects = b'{"a":' * (depth // 3)
    return draw.choice(
        (
            post(draw, arrays).refused(FIELD_TYPE_INVALID),
            post(draw, order(metadata=arrays)).refused(FIELD_TYPE_INVALID.at("$.metadata")),
            post(draw, order(amount=arrays)).refused(FIELD_TYPE_INVALID.at("$.amount")),
            post(draw, objects).refused(FIELD_UNKNOWN.at("$.a")),
            post(draw, order(metadata=b'{"deep":' + arrays + b"}")).refused(
                FIELD_TYPE_INVALID.at("$.metadata.deep"), FIELD_TYPE_INVALID.at("$.metadata[...]")
            ),
        )
    )


@refused(AMOUNT_TOO_LARGE)
def number_huge(draw: Draw) -> BadRequest:
    """From just above the limit to thousands of digits. A 9 in front: no card begins so."""
    digits = draw.choice((16, 17, 18, 19, 20, 40, 400, 5_000))
    return post(draw, order(amount=b"9" * digits))
