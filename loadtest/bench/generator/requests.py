"""Requests as bytes: everything but the key is made once, before the clock runs."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

import msgspec

from loadtest.bench.generator.job import LoadJob, Shape

PATH = "/v1/payments"
AMOUNT_MINOR = 1999
CURRENCY = "USD"
PAYMENT_METHOD = "tok_approve"

# The API's longest wait: a held request is never answered before it settles while the stack works.
HELD_S = 30

# Sellers are drawn in blocks: one call of `choices` costs a tenth of so many single ones.
_BLOCK = 4_096


class Requests:
    """An endless seeded sequence of new payments."""

    def __init__(self, job: LoadJob) -> None:
        self._random = random.Random(job.seed)  # noqa: S311  # load, not secrets
        head = (
            f"POST {PATH} HTTP/1.1\r\nHost: {job.host}:{job.port}\r\n"
            f"Authorization: Bearer {job.api_key}\r\nContent-Type: application/json\r\n"
        )
        self._at_once = f"{head}Idempotency-Key: ".encode()
        self._held = f"{head}Prefer: wait={HELD_S}\r\nIdempotency-Key: ".encode()
        tails = [_tail(seller) for seller in job.sellers]
        self._tails = self._drawn(tails, job)

    def next(self, *, is_held: bool) -> bytes:
        """Return one whole request under a key of its own."""
        digits = f"{self._random.getrandbits(128):032x}"
        key = f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}".encode()
        return (self._held if is_held else self._at_once) + key + next(self._tails)

    def _drawn(self, tails: list[bytes], job: LoadJob) -> Iterator[bytes]:
        if job.shape is Shape.ONE:
            return itertools.repeat(tails[0])
        weights = None
        if job.shape is Shape.ZIPF:
            weights = [rank**-job.zipf_exponent for rank in range(1, len(tails) + 1)]
        cumulated = None if weights is None else list(itertools.accumulate(weights))
        return itertools.chain.from_iterable(
            self._random.choices(tails, cum_weights=cumulated, k=_BLOCK)
            for _ in itertools.repeat(None)
        )


def _tail(seller: str) -> bytes:
    body = msgspec.json.encode(
        {
            "amount": AMOUNT_MINOR,
            "currency": CURRENCY,
            "payment_method": PAYMENT_METHOD,
            "seller": seller,
        }
    )
    return f"\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
