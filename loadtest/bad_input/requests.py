"""One bad request as bytes, what it must be answered, and how such requests are put together."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from itertools import pairwise

from loadtest.bad_input.drawing import Draw
from loadtest.bad_input.refusals import Refusal

PAYMENTS = "/v1/payments"
SELLERS = "/v1/sellers"

ORDER: Mapping[str, bytes] = {
    "amount": b"1999",
    "currency": b'"USD"',
    "payment_method": b'"tok_approve"',
}
"""A good order's members as JSON texts: what each class spoils."""
SELLER: Mapping[str, bytes] = {"id": b'"slr_shoes"', "name": b'"Shoes"'}
"""The same for a seller. It must not be created, so every use spoils something."""

# Header fields that change nothing, whatever they hold: RFC 7240 has odd preferences ignored.
_NOISE: tuple[tuple[bytes, bytes], ...] = (
    (b"Prefer", b"wait=5"), (b"Prefer", b"wait=-1, respond-async; q=,,"), (b"Prefer", b"\xff\xfe"),
    (b"Accept", b"text/html;q=zero"), (b"Accept-Encoding", b"gzip, br"), (b"Cookie", b"a=b; ;;="),
    (b"X-Forwarded-For", b"::1, unknown"), (b"DNT", b""), (b"traceparent", b"00-zz"),
    (b"If-Match", b"*"), (b"Range", b"bytes=9-1"), (b"X-Odd", "ünïcødé".encode()),
)  # fmt: skip


class Ending(Enum):
    """What becomes of the connection."""

    OPEN = "open"
    """The request is well framed: the next one may follow on the same connection."""
    CLOSED = "closed"
    """Where the request ends can't be told, so the gateway closes after its answer."""
    HALF_CLOSED = "half closed"
    """We end our side in the middle of the request; an answer can't be demanded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BadRequest:
    """Bytes to send on one connection."""

    data: bytes
    answers: tuple[frozenset[Refusal], ...] = ()
    """For each answer in turn, what it may be: several where HTTP itself leaves a choice."""
    ending: Ending = Ending.OPEN
    keys: tuple[str, ...] = ()
    """Idempotency keys in it. None of them may name a payment afterwards."""
    card_number: str = ""
    """Digits that no answer may show."""
    is_last_enough: bool = False
    """What follows the first requests is no HTTP: the last answer may then stand for all."""

    def refused(self, *refusals: Refusal) -> BadRequest:
        """Return it with this expectation: one answer, any of these."""
        return replace(self, answers=(frozenset(refusals),))

    def then(self, *refusals: Refusal) -> BadRequest:
        """Return it with the expectation of one more answer."""
        return replace(self, answers=(*self.answers, frozenset(refusals)))


Make = Callable[[Draw], BadRequest]


@dataclass(frozen=True, slots=True, kw_only=True)
class BadClass:
    """A kind of bad request. ``is_rare``: it takes seconds each, so few are sent."""

    name: str
    make: Make = field(repr=False)
    refusals: tuple[Refusal, ...]
    is_rare: bool = False

    def request(self, draw: Draw) -> BadRequest:
        """Make one; what it says itself about its answer goes before the class's expectation."""
        made = self.make(draw)
        return made if made.answers else made.refused(*self.refusals)


def refused(*refusals: Refusal, is_rare: bool = False) -> Callable[[Make], BadClass]:
    """Make a class of a function; all it makes is answered with one of the refusals."""

    def decorate(make: Make) -> BadClass:
        return BadClass(name=make.__name__, make=make, refusals=refusals, is_rare=is_rare)

    return decorate


def text(value: object) -> bytes:
    """Return JSON, everything beyond ASCII escaped."""
    return json.dumps(value).encode()


def members(*mappings: Mapping[str, bytes]) -> bytes:
    """Return a JSON object whose members' values are JSON texts already; later mappings win."""
    merged = {name: value for mapping in mappings for name, value in mapping.items()}
    return b"{" + b",".join(text(name) + b":" + value for name, value in merged.items()) + b"}"


def order(**changes: bytes) -> bytes:
    """Return an order with some members changed or added."""
    return members(ORDER, changes)


def seller(**changes: bytes) -> bytes:
    """Return a seller with some members changed or added."""
    return members(SELLER, changes)


def head(method: str, target: str | bytes, fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return a request's head, its empty line included."""
    target = target if isinstance(target, bytes) else target.encode()
    lines = [b"%s %s HTTP/1.1" % (method.encode(), target)]
    lines += [b"%s: %s" % header for header in fields]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def common_fields(
    draw: Draw, changes: Mapping[str, bytes | None] | None = None
) -> list[tuple[bytes, bytes]]:
    """Return the header fields of a good GET, some changed or (None) left out, and some noise."""
    wanted: dict[str, bytes | None] = {
        "Host": b"gateway",
        "Authorization": f"Bearer {draw.api_key}".encode(),
        **(changes or {}),
    }
    fields = [(name.encode(), value) for name, value in wanted.items() if value is not None]
    if draw.is_heads():
        fields.append(draw.choice(_NOISE))
    return fields


def get(
    draw: Draw,
    target: str | bytes,
    *,
    method: str = "GET",
    changes: Mapping[str, bytes | None] | None = None,
) -> BadRequest:
    """Return a request without a body."""
    return BadRequest(data=head(method, target, common_fields(draw, changes)))


def post(
    draw: Draw,
    body: bytes,
    *,
    target: str | bytes = PAYMENTS,
    changes: Mapping[str, bytes | None] | None = None,
    extra: Iterable[tuple[bytes, bytes]] = (),
) -> BadRequest:
    """Return a POST of the body; header fields changed, left out (None) or added in ``extra``."""
    key = draw.key()
    wanted: dict[str, bytes | None] = {
        "Idempotency-Key": key.encode(),
        "Content-Type": b"application/json",
        "Content-Length": b"%d" % len(body),
        **(changes or {}),
    }
    return BadRequest(
        data=head("POST", target, [*common_fields(draw, wanted), *extra]) + body, keys=(key,)
    )


def chunked(body: bytes, *cuts: int) -> bytes:
    """Return the body in chunks, cut at these places."""
    bounds = sorted({0, *cuts, len(body)})
    pieces = [body[start:end] for start, end in pairwise(bounds)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
