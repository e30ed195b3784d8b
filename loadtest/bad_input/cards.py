"""Card numbers in every place of a request. None may be taken, and no answer may show its digits."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import quote

from loadtest.bad_input.drawing import Draw
from loadtest.bad_input.refusals import (
    API_KEY_MISSING,
    BODY_TOO_LARGE,
    CONTENT_TYPE_UNSUPPORTED,
    EXPECTATION_FAILED,
    PAN_NOT_ACCEPTED,
    REQUEST_MALFORMED,
)
from loadtest.bad_input.requests import (
    ORDER,
    PAYMENTS,
    SELLERS,
    BadRequest,
    Ending,
    chunked,
    common_fields,
    get,
    head,
    members,
    order,
    post,
    refused,
    seller,
    text,
)

# Zeros of decimal digits: ASCII, Arabic-Indic, Devanagari, full width, mathematical bold.
_ZEROS = ("0", "\u0660", "\u0966", "\uff10", "\U0001d7ce")
_GAPS = ("", " ", "-", "\u00a0", "\u2011")
_HEADER_NAMES = (
    b"X-Card", b"Cookie", b"User-Agent", b"Referer", b"Prefer", b"Accept", b"X-Forwarded-For",
    b"traceparent", b"From", b"Request-Id", b"Origin",
)  # fmt: skip
_HEADERS_OF_OURS = (
    "Authorization",
    "Idempotency-Key",
    "Host",
    "Tallystick-Version",
    "Content-Type",
)


def _spelled(draw: Draw, number: str) -> str:
    """Return the number as people, and those who hide it, write it."""
    gap, size = draw.choice(_GAPS), draw.choice((1, 4))
    groups = [number[start : start + size] for start in range(0, len(number), size)]
    zero = ord(draw.choice(_ZEROS))
    return gap.join(groups).translate({ord("0") + digit: zero + digit for digit in range(10)})


def _escaped(draw: Draw, spelled: str) -> bytes:
    r"""Return a JSON text with it; in some, every character is escaped (``\u0034``)."""
    if draw.is_heads():
        return text(f"{draw.word()} {spelled}")
    units = spelled.encode("utf-16-be").hex()
    return b'"' + "".join(f"\\u{units[i : i + 4]}" for i in range(0, len(units), 4)).encode() + b'"'


def _hiding(sent: BadRequest, number: str) -> BadRequest:
    return replace(sent, card_number=number)


@refused(PAN_NOT_ACCEPTED)
def card_in_path(draw: Draw) -> BadRequest:
    number = draw.card_number()
    spelled = quote(_spelled(draw, number))
    if draw.is_heads():
        # Percent-encoding hides the digits from whoever does not undo it.
        spelled = "".join(f"%{ord(digit):02x}" for digit in number)
    path = draw.choice(
        (
            f"{PAYMENTS}/{spelled}",
            f"/v1/wallets/{spelled}",
            f"/{draw.word()}/{spelled}",
            f"{PAYMENTS}/{spelled}/transfers",
        )
    )
    return _hiding(get(draw, path), number)


@refused(PAN_NOT_ACCEPTED)
def card_in_query(draw: Draw) -> BadRequest:
    number = draw.card_number()
    spelled = quote(_spelled(draw, number))
    query = draw.choice(
        (
            f"limit={spelled}",
            f"metadata[a]={spelled}",
            f"metadata[{spelled}]=a",
            f"{spelled}=1",
            f"{spelled}",
            f"a={draw.key()}&b={spelled}",
            f"starting_after={spelled}",
            f"limit={'+'.join(number)}",
        )
    )
    return _hiding(get(draw, f"{draw.choice((PAYMENTS, SELLERS))}?{query}"), number)


@refused(PAN_NOT_ACCEPTED)
def card_in_header_value(draw: Draw) -> BadRequest:
    """In any field, known to us or not; in a cookie, an agent's name, a trace."""
    number = draw.card_number()
    name, spelled = draw.choice(_HEADER_NAMES), _spelled(draw, number)
    sent = post(draw, order(), extra=[(name, f"{draw.word()} {spelled};".encode())])
    return _hiding(sent, number)


@refused(PAN_NOT_ACCEPTED)
def card_in_header_of_ours(draw: Draw) -> BadRequest:
    """In place of a key, a version or a type."""
    number = draw.card_number()
    value = draw.choice((number, f"Bearer {number}", f"application/json; a={number}"))
    sent = post(draw, order(), changes={draw.choice(_HEADERS_OF_OURS): value.encode()})
    return _hiding(sent, number)


@refused(PAN_NOT_ACCEPTED)
def card_in_header_name(draw: Draw) -> BadRequest:
    number = draw.card_number()
    name = draw.choice((number, f"X-{number}", f"{draw.word()}-{number}"))
    return _hiding(post(draw, order(), extra=[(name.encode(), b"a")]), number)


@refused(PAN_NOT_ACCEPTED)
def card_in_field(draw: Draw) -> BadRequest:
    """In each text of an order."""
    number = draw.card_number()
    name = draw.choice(("currency", "payment_method", "seller", "capture", "description"))
    return _hiding(post(draw, order(**{name: _escaped(draw, _spelled(draw, number))})), number)


@refused(PAN_NOT_ACCEPTED)
def card_in_metadata(draw: Draw) -> BadRequest:
    """As a key, as a value, as a number, and in what metadata can't hold."""
    number = draw.card_number()
    value = _escaped(draw, _spelled(draw, number))
    metadata = draw.choice(
        (
            b"{%s:%s}" % (text(draw.word()), value),
            b'{%s:"a"}' % value,
            b'{"a":%s}' % number.encode(),
            b'{"a":{"b":[null,%s]}}' % value,
            b"[%s]" % value,
        )
    )
    return _hiding(post(draw, order(metadata=metadata)), number)


@refused(PAN_NOT_ACCEPTED)
def card_in_buyer(draw: Draw) -> BadRequest:
    number = draw.card_number()
    name = draw.choice(("reference", "email", "name", draw.word()))
    buyer = b"{%s:%s}" % (text(name), _escaped(draw, _spelled(draw, number)))
    return _hiding(post(draw, order(buyer=buyer)), number)


@refused(PAN_NOT_ACCEPTED)
def card_as_number(draw: Draw) -> BadRequest:
    number = draw.card_number()
    value = draw.choice((number, f"-{number}", f"{number}.0", f"[{number}]")).encode()
    return _hiding(
        post(draw, order(**{draw.choice(("amount", "description", "card")): value})), number
    )


@refused(PAN_NOT_ACCEPTED)
def card_as_member_name(draw: Draw) -> BadRequest:
    """As the name of an unknown field, which a careless answer would repeat."""
    number = draw.card_number()
    name = draw.choice((number, f"card_{number}", f"a {number}"))
    return _hiding(post(draw, members(ORDER, {name: b"1"})), number)


@refused(PAN_NOT_ACCEPTED)
def card_in_no_json(draw: Draw) -> BadRequest:
    """The body is searched before anything reads it, so it need not be JSON."""
    number = draw.card_number()
    spelled = _spelled(draw, number).encode()
    body = draw.choice(
        (
            spelled,
            b"card=" + spelled,
            b'{"card":"' + spelled,
            b"<card>%s</card>" % spelled,
            b"\xff" + spelled + b"\xff",
        )
    )
    return _hiding(post(draw, body), number)


@refused(PAN_NOT_ACCEPTED)
def card_across_chunks(draw: Draw) -> BadRequest:
    number = draw.card_number()
    body = order(description=text(number))
    start = body.index(number.encode())
    cuts = {start + draw.integer(1, len(number) - 1) for _ in range(3)}
    changes = {"Content-Length": None, "Transfer-Encoding": b"chunked"}
    return _hiding(post(draw, chunked(body, *cuts), changes=changes), number)


@refused(PAN_NOT_ACCEPTED)
def card_in_seller(draw: Draw) -> BadRequest:
    number = draw.card_number()
    value = _escaped(draw, _spelled(draw, number))
    body = draw.choice(
        (
            seller(id=value),
            seller(name=value),
            seller(fee=b'{"basis_points":1,"fixed":{%s:1}}' % value),
        )
    )
    return _hiding(post(draw, body, target=SELLERS), number)


@refused(REQUEST_MALFORMED)
def card_in_no_http(draw: Draw) -> BadRequest:
    """In a head that can't be read: refused as such, and not shown."""
    number = draw.card_number()
    line = draw.choice(
        (number, f"X {number}: a", f"X\x01: {number}", f"X-Odd: \x00{number}")
    ).encode()
    whole = head("GET", PAYMENTS, common_fields(draw))
    data = draw.choice((whole[:-2] + line + b"\r\n\r\n", line + b"\r\n\r\n"))
    return BadRequest(data=data, ending=Ending.CLOSED, card_number=number)


@refused()
def card_where_nobody_looks(draw: Draw) -> BadRequest:
    """In what is refused before it is searched, for its sender, its type, its size, its Expect."""
    number = draw.card_number()
    body = order(description=text(number))
    padded = order(description=text(number), metadata=text({"a": "x" * 65_536}))
    sent = draw.choice(
        (
            post(draw, body, changes={"Authorization": None}).refused(API_KEY_MISSING),
            post(draw, body, changes={"Content-Type": b"text/plain"}).refused(
                CONTENT_TYPE_UNSUPPORTED
            ),
            post(draw, padded).refused(BODY_TOO_LARGE),
            post(draw, body, changes={"Expect": number.encode()}).refused(EXPECTATION_FAILED),
        )
    )
    return _hiding(sent, number)
