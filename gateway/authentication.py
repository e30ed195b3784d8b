"""Who is asking: Bearer API keys, checked in constant time, cached so that an outage of Postgres
does not stop those who are known."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections import OrderedDict
from typing import NamedTuple

from aiohttp import web

from gateway.caches import ReadThroughCache
from gateway.problems import Code, Problem, store_unavailable
from gateway.settings import CACHE_STALE_S_MAX, GatewaySettings
from payments.mode import Mode
from runtime.clock import Clock
from runtime.faults import StorageUnavailable
from storage.api_keys import API_KEY_PATTERN, ParsedKey, matches, parse_api_key
from storage.read_ports import ApiKeyRecord, Directory, KeyRole

# One record is about 300 bytes: 3 MiB for as many keys as a gateway sees in a day.
KEYS_CACHED_MAX = 10_000
# Proofs of headers just seen: spared the HMAC, the larger half of the check.
PROVEN_MAX = 1_000
# A key that was just created may be asked for by someone too fast; a flood of bad keys is no load.
ABSENT_S = 5.0

# Spaces around the key are those that str.strip takes away, as far as a header can hold them.
_BEARER = re.compile(rb"[Bb][Ee][Aa][Rr][Ee][Rr] [\t ]*" + API_KEY_PATTERN.encode() + rb"[\t ]*")

_MISSING = Problem(
    code=Code.API_KEY_MISSING,
    detail="Send an API key: Authorization: Bearer sk_test_…",
    param="header:Authorization",
)
_INVALID = Problem(
    code=Code.API_KEY_INVALID,
    detail="The API key does not exist, was revoked, or is written wrongly.",
    param="header:Authorization",
)
_NOT_A_MERCHANT = Problem(
    code=Code.MERCHANT_KEY_REQUIRED,
    detail="An operator's key names no merchant. Use a merchant's key here.",
    param="header:Authorization",
)
_NOT_AN_OPERATOR = Problem(
    code=Code.OPERATOR_KEY_REQUIRED,
    detail="Only an operator's key may do this.",
    param="header:Authorization",
)
_DIRECTORY_AWAY = store_unavailable(
    "API keys can't be checked at the moment. Nothing was kept.", may_run=False
)


class Merchant(NamedTuple):
    """The merchant and mode that a request acts for."""

    merchant_no: int
    merchant_id: str
    mode: Mode


MERCHANT: web.RequestKey[Merchant] = web.RequestKey("merchant", Merchant)
"""Whom an authenticated request acts for."""


class Operator(NamedTuple):
    """The operator's key that a request acts under, and the mode that it sees."""

    key_id: str
    mode: Mode


class _Proven(NamedTuple):
    """A header that was checked against this very record."""

    record: ApiKeyRecord
    merchant: Merchant


class Authentication:
    """Checks the Authorization header of requests.

    A header that was proven is known again by a digest under a key of this process's own, so that
    no secret is kept; the proof holds as long as the record it was made with is the present one.
    """

    def __init__(self, directory: Directory, settings: GatewaySettings, *, clock: Clock) -> None:
        self._pepper = settings.api_key_pepper
        self._records: ReadThroughCache[str, ApiKeyRecord] = ReadThroughCache(
            directory.api_key,
            clock=clock,
            fresh_s=settings.cache_fresh_s,
            stale_s_max=CACHE_STALE_S_MAX,
            absent_s=ABSENT_S,
            count_max=KEYS_CACHED_MAX,
        )
        self._proven: OrderedDict[bytes, _Proven] = OrderedDict()
        self._proof_key = secrets.token_bytes(hashlib.blake2b.MAX_KEY_SIZE)

    def proven(self, header: str | None) -> Merchant | None:
        """Return whom the header stands for, if that is known: the way without a task switch."""
        proven = None if header is None else self._proven.get(self._digest(header))
        if proven is not None and self._records.fresh(proven.record.key_id) is proven.record:
            return proven.merchant
        return None

    async def merchant(self, header: str | None) -> Merchant | Problem:
        """Return whom the header stands for, or the problem with it: of one that ``proven`` does not know."""
        if header is None:
            return _MISSING
        found = await self._proved(header)
        return found if isinstance(found, Problem) else self._keep(header, found)

    def _digest(self, header: str) -> bytes:
        # Undecodable bytes come as lone surrogates.
        text = header.encode(errors="surrogateescape")
        return hashlib.blake2b(text, digest_size=16, key=self._proof_key).digest()

    def _keep(self, header: str, proven: _Proven) -> Merchant:
        self._proven[self._digest(header)] = proven
        if len(self._proven) > PROVEN_MAX:
            self._proven.popitem(last=False)
        return proven.merchant

    async def operator(self, header: str | None) -> Operator | Problem:
        """Return which operator the header stands for, or the problem with it."""
        if header is None:
            return _MISSING
        record = await self._checked(header)
        if isinstance(record, Problem):
            return record
        if record.role is not KeyRole.OPERATOR:
            return _NOT_AN_OPERATOR
        return Operator(key_id=record.key_id, mode=record.mode)

    async def _proved(self, header: str) -> _Proven | Problem:
        record = await self._checked(header)
        if isinstance(record, Problem):
            return record
        if record.role is not KeyRole.MERCHANT:
            return _NOT_A_MERCHANT
        # A merchant's record names its merchant: checked where keys are issued and stored.
        assert record.merchant_no is not None
        assert record.merchant_id is not None
        merchant = Merchant(
            merchant_no=record.merchant_no, merchant_id=record.merchant_id, mode=record.mode
        )
        return _Proven(record, merchant)

    async def _checked(self, header: str) -> ApiKeyRecord | Problem:
        """Return the record of a key that is good, whoever's it is."""
        claimed = parse_bearer(header)
        if claimed is None:
            return _INVALID
        text, key = claimed
        record = self._records.fresh(key.key_id)
        if record is None:
            try:
                record = await self._records.get(key.key_id)
            except StorageUnavailable:
                return _DIRECTORY_AWAY
        if record is None or not matches(record, text, self._pepper) or record.is_revoked:
            return _INVALID
        return record


def is_bearer(header: bytes) -> bool:
    """Whether ``parse_bearer`` would find a key in the header, decoded as UTF-8."""
    return _BEARER.fullmatch(header) is not None


def parse_bearer(header: str) -> tuple[str, ParsedKey] | None:
    """Return the key's text and what it claims, or None when the header has not that form."""
    scheme, _, text = header.partition(" ")
    if scheme.lower() != "bearer":
        return None
    text = text.strip()
    key = parse_api_key(text)
    return None if key is None else (text, key)
