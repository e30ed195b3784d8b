"""What each sandbox token does, and everything that is drawn by seed. Pure: no clock, no I/O.

Both sandbox PSPs, over HTTP and in process, read their rules here, so that the rules exist once.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from functools import lru_cache
from hashlib import blake2b
from statistics import NormalDist

from psp.simulator.wire import Denial

TOKEN_PREFIX = "tok_"  # noqa: S105 - a prefix, not a secret

PLAIN_TOKEN = "tok_approve"  # noqa: S105 - a sandbox token's name

VARIED_TOKEN = "tok_varied"  # noqa: S105 - a sandbox token's name
"""Fares as this simulator's own shares say, so that two of them differ; without any it approves."""

SLOW_MS_MAX = 120_000
"""The longest ``tok_slow_<ms>``: well past any client's timeout, short enough that no test hangs.
"""

DENIES_AFTER_CHARGE_MS = 3_000
"""How long a charge is denied, such as by ``tok_charge_then_refuse``: longer than an owner's first
few retries.
"""

FOR_EVER_MS = 20 * 365 * 86_400_000
"""How long a stored answer is replayed: twenty years."""

RETRY_AFTER_RATE_LIMITED_S = 1
"""What a rate-limited first try is told to wait; the smallest whole second that HTTP's header can
say.
"""

DIGEST_BYTES = 12
"""96 bits name a key: a million keys collide with a probability of about 2**-57."""

DIGESTS_CACHED_MAX = 4_096
"""One charge asks for its digest six times; this holds the keys of far more requests than run at
once.
"""

# Sixteen consonants stand for the hexadecimal digits: a reference without a single digit can never
# be taken for a card number, and one without vowels spells no word.
_HEX_TO_LETTERS = str.maketrans("0123456789abcdef", "bcdfghjklmnpqrst")
_LETTERS_TO_HEX = str.maketrans("bcdfghjklmnpqrst", "0123456789abcdef")
_REFERENCE = re.compile(r"ch_([bcdfghjklmnpqrst]{24})")
_DECLINE = re.compile(r"tok_decline_([a-z][a-z_]{0,39})")
_SLOW = re.compile(r"tok_slow_([0-9]{1,6})")
_LIMIT = re.compile(r"tok_limit_([0-9]{1,12})")


class FirstTry(Enum):
    """What becomes of the first try of a key; every later one runs."""

    RUNS = auto()
    HANGS = auto()
    """Nothing is charged and nothing is answered."""
    FAILS = auto()
    """A 500 without a charge."""
    RATE_LIMITED = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """What one token makes the PSP do."""

    decline_code: str | None = None
    limit_minor: int | None = None
    """Only a charge above it is declined; None: every charge that has a ``decline_code``."""
    needs_action: bool = False
    """The buyer has to confirm (3-D Secure) before anything is charged."""
    first_try: FirstTry = FirstTry.RUNS
    answer_delay_ms: int = 0
    """How long the answer waits after the charge was made."""
    drops_answer: bool = False
    """The charge is made, then the connection is closed without an answer."""
    denial: Denial | None = None
    """What is said of the charge against the truth."""
    denies_ms: int = 0
    """How long it is said."""
    is_refused_while_down: bool = False

    def decline_of(self, amount_minor: int) -> str | None:
        """Return why a charge of that amount is declined, or None."""
        is_within = self.limit_minor is not None and amount_minor <= self.limit_minor
        return None if is_within else self.decline_code


SCRIPTS: Mapping[str, Script] = {
    "tok_approve": Script(),
    "tok_3ds": Script(needs_action=True),
    "tok_timeout_before": Script(first_try=FirstTry.HANGS),
    "tok_charge_then_timeout": Script(drops_answer=True),
    "tok_charge_then_refuse": Script(
        drops_answer=True, denial=Denial.REFUSED, denies_ms=DENIES_AFTER_CHARGE_MS
    ),
    "tok_conflict_409": Script(
        drops_answer=True, denial=Denial.IN_PROGRESS, denies_ms=DENIES_AFTER_CHARGE_MS
    ),
    "tok_lie_not_found": Script(
        drops_answer=True, denial=Denial.NOT_FOUND, denies_ms=DENIES_AFTER_CHARGE_MS
    ),
    "tok_stored_500": Script(denial=Denial.FAILED, denies_ms=FOR_EVER_MS),
    "tok_error_500": Script(first_try=FirstTry.FAILS),
    "tok_rate_limited": Script(first_try=FirstTry.RATE_LIMITED),
    "tok_down": Script(is_refused_while_down=True),
}

PAGE = Script(needs_action=True)
"""A charge whose buyer pays on our page: what the card does is decided there."""

NO_FUNDS = "insufficient_funds"
"""What a charge above its token's limit is declined with."""

UNKNOWN_TOKEN = Script(decline_code="invalid_token")
"""A token that we don't know is a decline like any other: stored, and replayed under its key."""


def script_of(token: str) -> Script:
    """Return what a token does; one outside the table is declined as ``invalid_token``."""
    if (script := SCRIPTS.get(PLAIN_TOKEN if token == VARIED_TOKEN else token)) is not None:
        return script
    if (declined := _DECLINE.fullmatch(token)) is not None:
        return Script(decline_code=declined[1])
    if (limit := _LIMIT.fullmatch(token)) is not None:
        return Script(decline_code=NO_FUNDS, limit_minor=int(limit[1]))
    if (slow := _SLOW.fullmatch(token)) is not None:
        return Script(answer_delay_ms=min(int(slow[1]), SLOW_MS_MAX))
    return UNKNOWN_TOKEN


@lru_cache(maxsize=DIGESTS_CACHED_MAX)
def digest_of_key(seed: int, key: str) -> bytes:
    """Return the 12 bytes that name a key inside; the same seed and key give the same bytes."""
    return blake2b(key.encode(), digest_size=DIGEST_BYTES, key=_seed_bytes(seed)).digest()


def reference_of_digest(digest: bytes) -> str:
    """Return the public id of a charge, ``ch_`` and 24 letters. It is the digest, so no index is
    needed.
    """
    return "ch_" + digest.hex().translate(_HEX_TO_LETTERS)


def digest_of_reference(reference: str) -> bytes | None:
    """Return the digest inside a reference, or None if it isn't one of ours."""
    found = _REFERENCE.fullmatch(reference)
    return None if found is None else bytes.fromhex(found[1].translate(_LETTERS_TO_HEX))


def fingerprint_of_request(request: bytes) -> int:
    """Return 56 bits that tell one request body from another (exact in every JSON reader)."""
    return int.from_bytes(blake2b(request, digest_size=7).digest(), "big")


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """How long the PSP thinks: log-normal, so that most answers are near the median and few very
    late.
    """

    median_ms: float = 0.0
    sigma: float = 0.0

    def delay_s(self, seed: int, key: str) -> float:
        """Return the seconds this key takes: drawn from seed and key alone, whatever the order of
        arrival.
        """
        if self.median_ms <= 0:
            return 0.0
        drawn = blake2b(key.encode(), digest_size=8, key=_seed_bytes(seed), person=b"latency")
        # The middle of one of 2**53 equal steps: never 0 or 1, where the quantile is infinite.
        share = ((int.from_bytes(drawn.digest(), "big") >> 11) + 0.5) / 2**53
        return self.median_ms / 1000 * math.exp(self.sigma * NormalDist().inv_cdf(share))


def varied_token(shares: Mapping[str, float], seed: int, key: str, token: str) -> str:
    """Return what ``VARIED_TOKEN`` is to fare by: the plain token, or one drawn by its share."""
    return drawn_token(shares, seed, key, PLAIN_TOKEN) if token == VARIED_TOKEN else token


def drawn_token(rates: Mapping[str, float], seed: int, key: str, token: str) -> str:
    """Return the token that a charge is to fare by: drawn from seed and key, whatever came before.

    Only charges that would simply succeed are drawn for: the other tokens ask for what they get.
    """
    if not rates or token != PLAIN_TOKEN:
        return token
    drawn = blake2b(key.encode(), digest_size=8, key=_seed_bytes(seed), person=b"faults")
    share = int.from_bytes(drawn.digest(), "big") / 2**64
    for name, rate in rates.items():
        share -= rate
        if share < 0:
            return name
    return token


def _seed_bytes(seed: int) -> bytes:
    return seed.to_bytes(8, "big")
