"""Who may ask: API keys over HTTP, and their cache."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.authentication import is_bearer, parse_bearer
from gateway.settings import CACHE_STALE_S_MAX
from payments.mode import Mode
from storage.read_ports import KeyRole
from tests.unit.gateway.stack import PEPPER, GatewayStack, settings


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (None, "api_key_missing"),
        ("", "api_key_invalid"),
        ("Bearer", "api_key_invalid"),
        ("Basic abc", "api_key_invalid"),
        ("Bearer sk_test_short", "api_key_invalid"),
        ("Bearer sk_test_aaaaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "api_key_invalid"),
    ],
)
async def test_without_a_valid_key_nothing_is_told(
    stack: GatewayStack, header: str | None, code: str
) -> None:
    """Requests without a key that exists are 401 and are told how to authenticate."""
    headers = {"Authorization": header} if header is not None else {}
    answer = await stack.request("GET", "/v1/payments", headers=headers, key="")
    assert (answer.status, answer.code) == (401, code)
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


async def test_a_wrong_secret_is_refused(stack: GatewayStack) -> None:
    """A key that exists with another secret, or with another mode written in, is refused."""
    last = "a" if stack.key[-1] != "a" else "b"
    for wrong in (stack.key[:-1] + last, stack.key.replace("sk_test", "sk_live")):
        assert (await stack.get("/v1/payments", key=wrong)).code == "api_key_invalid"


async def test_a_revoked_key_is_refused(stack: GatewayStack) -> None:
    """A revoked key opens nothing."""
    revoked = stack.issue_key(is_revoked=True)
    assert (await stack.get("/v1/payments", key=revoked)).code == "api_key_invalid"


async def test_operators_are_no_merchants(stack: GatewayStack) -> None:
    """An operator's key can't act as a merchant."""
    operator = stack.issue_key(role=KeyRole.OPERATOR)
    answer = await stack.get("/v1/payments", key=operator)
    assert (answer.status, answer.code) == (403, "merchant_key_required")


async def test_known_keys_go_on_while_the_directory_is_away() -> None:
    """With Postgres away, keys and sellers known before go on working, new ones get 503."""
    async with GatewayStack(gateway_settings=settings(cache_fresh_s=0)) as stack:
        unknown = stack.issue_key(mode=Mode.TEST)
        assert (await stack.pay(uuid4())).status == 202
        stack.directory.is_available = False
        assert (await stack.pay(uuid4())).status == 202
        answer = await stack.get("/v1/payments", key=unknown)
        assert (answer.status, answer.code) == (503, "store_unavailable")
        assert answer.json["details"] == {"may_run": False}


async def test_a_revocation_is_seen_when_the_cache_is_no_longer_fresh() -> None:
    """A key that is revoked after its first use is refused at the next reading."""
    async with GatewayStack(gateway_settings=settings(cache_fresh_s=0)) as stack:
        key = stack.issue_key()
        assert (await stack.get("/v1/payments", key=key)).status == 200
        (key_id,) = [key_id for key_id in stack.directory._api_keys if key_id in key]
        record = stack.directory._api_keys[key_id]
        stack.directory.put_api_key(replace(record, is_revoked=True))
        assert (await stack.get("/v1/payments", key=key)).status == 401


async def test_a_proof_ends_with_the_record_it_was_made_with() -> None:
    """A header proven before is no use once its record is another one, as after a new pepper."""
    async with GatewayStack(gateway_settings=settings(cache_fresh_s=0.3)) as stack:
        key = stack.issue_key()
        (key_id,) = [key_id for key_id in stack.directory._api_keys if key_id in key]
        record = stack.directory._api_keys[key_id]
        for _ in range(2):
            assert (await stack.get("/v1/payments", key=key)).status == 200
        stack.directory.put_api_key(replace(record, secret_hmac=bytes(32)))
        await asyncio.sleep(0.4)
        assert (await stack.get("/v1/payments", key=key)).status == 401


async def test_proofs_are_kept_for_a_bounded_number_of_headers(
    monkeypatch: pytest.MonkeyPatch, stack: GatewayStack
) -> None:
    """More headers than are remembered: each is still checked, and right or wrong as before."""
    monkeypatch.setattr("gateway.authentication.PROVEN_MAX", 2)
    keys = [stack.issue_key() for _ in range(5)]
    for key in (*keys, *keys):
        assert (await stack.get("/v1/payments", key=key)).status == 200
        wrong = key[:-1] + ("a" if key[-1] != "a" else "b")
        assert (await stack.get("/v1/payments", key=wrong)).status == 401


def test_the_cache_never_outlives_fifteen_minutes() -> None:
    """The promise about revoked keys during an outage."""
    assert CACHE_STALE_S_MAX == 15 * 60
    assert len(PEPPER) >= 32


KEY = "sk_test_" + "a" * 12 + "_" + "b" * 32


@given(
    scheme=st.sampled_from(["Bearer", "bearer", "BEARER", "Basic", "", "Bearer\t"]),
    gap=st.text(" \t\u00a0", max_size=3),
    key=st.sampled_from([KEY, KEY[:-1], KEY + "b", KEY.upper(), KEY.replace("sk_", "op_"), ""]),
    tail=st.text(" \t\r\u00a0x", max_size=2),
)
def test_only_what_is_a_key_is_spared_the_search_for_card_numbers(
    scheme: str, gap: str, key: str, tail: str
) -> None:
    """A header passes for one with a key only where a key is found in it; and every plain one does."""
    header = f"{scheme}{gap}{key}{tail}"
    if is_bearer(header.encode()):
        assert parse_bearer(header) is not None
    if (scheme.lower(), gap, tail) == ("bearer", " ", ""):
        assert is_bearer(header.encode()) == (parse_bearer(header) is not None)
