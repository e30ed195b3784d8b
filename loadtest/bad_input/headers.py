"""Header fields of ours: who asks, under which key, in which version, in which form."""

from __future__ import annotations

from loadtest.bad_input.drawing import Draw
from loadtest.bad_input.refusals import (
    API_KEY_INVALID,
    API_KEY_MISSING,
    CONTENT_TYPE_UNSUPPORTED,
    KEY_INVALID,
    KEY_MISSING,
    REQUEST_MALFORMED,
    VERSION_UNKNOWN,
)
from loadtest.bad_input.requests import PAYMENTS, BadRequest, get, order, post, refused


@refused(API_KEY_MISSING)
def api_key_missing(draw: Draw) -> BadRequest:
    changes = {"Authorization": None}
    if draw.is_heads():
        return post(draw, order(), changes=changes)
    return get(draw, f"{PAYMENTS}/{draw.key()}", changes=changes)


@refused(API_KEY_INVALID)
def api_key_invalid(draw: Draw) -> BadRequest:
    """No key, a key of another form, or one that differs in a single character."""
    good = draw.api_key
    wrong = good[:-1] + ("a" if good[-1] != "a" else "b")
    odd = draw.choice(
        (
            "",
            "Bearer",
            "Bearer ",
            good,
            f"Basic {good}",
            f"Bearer {good} {good}",
            f"Bearer {good},",
            f'Bearer "{good}"',
            f"Bearer {wrong}",
            f"Bearer {good.upper()}",
            f"Bearer {good.replace('_test_', '_live_')}",
            f"Bearer {good}\u00a0{draw.word()}",
            "Bearer sk_test_" + draw.word(12, 12) + "_" + draw.word(32, 32),
            f"Bearer {draw.odd_text().splitlines()[-1]}".replace("\x7f", "").replace("\x1b", ""),
        )
    )
    return post(draw, order(), changes={"Authorization": odd.encode()})


@refused(API_KEY_INVALID)
def api_key_repeated(draw: Draw) -> BadRequest:
    """Two keys are no key, even when they are the same."""
    other = draw.choice((f"Bearer {draw.api_key}", "Bearer x", "Basic x"))
    return post(draw, order(), extra=[(b"Authorization", other.encode())])


@refused(KEY_MISSING)
def idempotency_key_missing(draw: Draw) -> BadRequest:
    return post(draw, order(), changes={"Idempotency-Key": None})


@refused(KEY_INVALID)
def idempotency_key_invalid(draw: Draw) -> BadRequest:
    """Anything but one UUID: what Python's own reader would take is refused as well."""
    key = draw.lettered_key()
    odd = draw.choice(
        (
            "",
            key[:-1],
            key + "a",
            key.replace("-", ""),
            "{" + key + "}",
            "urn:uuid:" + key,
            f'"{key}',
            f"'{key}'",
            f"{key}, {key}",
            key.replace("-", "\u2010"),
            key[:-1] + "g",
            key[:-1] + "\u0661",
            draw.word(),
        )
    )
    return post(draw, order(), changes={"Idempotency-Key": odd.encode()})


@refused(KEY_INVALID)
def idempotency_key_repeated(draw: Draw) -> BadRequest:
    """Two keys would name two payments."""
    return post(draw, order(), extra=[(b"idempotency-key", draw.lettered_key().encode())])


@refused(VERSION_UNKNOWN)
def version_unknown(draw: Draw) -> BadRequest:
    odd = draw.choice(
        (
            b"",
            b"1",
            b"2026-11-02",
            b"2026-11-01, 2026-11-01",
            b"latest",
            b"\xff",
            draw.word().encode(),
        )
    )
    changes = {"Tallystick-Version": odd}
    if draw.is_heads():
        return post(draw, order(), changes=changes)
    return get(draw, f"{PAYMENTS}/{draw.key()}", changes=changes)


@refused(VERSION_UNKNOWN)
def version_repeated(draw: Draw) -> BadRequest:
    """Two versions are none, also where the first is known, or both are."""
    first, second = draw.choice(
        ((b"2026-11-01", b"1999-01-01"), (b"1999-01-01", b"2026-11-01"), (b"2026-11-01",) * 2)
    )
    changes: dict[str, bytes | None] = {"Tallystick-Version": first}
    return post(draw, order(), changes=changes, extra=[(b"tallystick-version", second)])


@refused(CONTENT_TYPE_UNSUPPORTED)
def content_type(draw: Draw) -> BadRequest:
    odd = draw.choice(
        (
            None,
            b"",
            b"text/plain",
            b"application/json5",
            b"application/problem+json",
            b"application/x-www-form-urlencoded",
            b"multipart/form-data; boundary=a",
            b"*/*",
            b"application/json, text/plain",
            b"json",
            b"\xff\xff",
        )
    )
    return post(draw, order(), changes={"Content-Type": odd})


@refused(REQUEST_MALFORMED)
def content_type_repeated(draw: Draw) -> BadRequest:
    """Where HTTP allows a field once, two of them are no message."""
    return post(draw, order(), extra=[(b"Content-Type", b"text/plain")])


@refused(CONTENT_TYPE_UNSUPPORTED)
def charset(draw: Draw) -> BadRequest:
    name = draw.choice((b"latin-1", b"utf-16", b"utf-7", b"ebcdic", b"rot13", draw.word().encode()))
    return post(draw, order(), changes={"Content-Type": b"application/json; charset=" + name})


@refused(CONTENT_TYPE_UNSUPPORTED)
def content_encoding(draw: Draw) -> BadRequest:
    """Packed bodies are never unpacked, so none can grow in our hands."""
    coding = draw.choice((b"gzip", b"deflate", b"br", b"zstd", b"identity", b"gzip, gzip", b"x"))
    return post(draw, order(), changes={"Content-Encoding": coding})
