"""The main job on the real stack, from POST to ledger: without Ray, with real processes and stores."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from tests.rig import Rig
from tests.servers import SharedServers
from tests.shop import (
    Answer,
    Shop,
    complete_action,
    open_shop,
    set_scenario,
    successful_charges,
)

# Long enough to act in a test, short enough to wait for its end.
ACTION_LIFETIME_S = 5
ACTION_RULE = {
    "TALLY__RETRY__REQUIRES_ACTION": (
        f'{{strategy = "fixed", first_ms = 1000, age_s_max = {ACTION_LIFETIME_S}}}'
    )
}


@pytest.fixture(scope="module")
def rig(servers: SharedServers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """Two hosts and a gateway, for the whole module."""
    directory: Path = tmp_path_factory.mktemp("main-job")
    with Rig(servers, directory) as rig:
        rig.start_gateway()
        for name in ("host-0", "host-1"):
            rig.start_host(name, ACTION_RULE)
        asyncio.run(rig.until_owned_by("host-0", "host-1"))
        asyncio.run(rig.until_ready())
        yield rig


async def test_a_payment_is_settled_and_can_be_read(rig: Rig) -> None:
    """One POST that waits gets its frozen answer; order, transfers and wallet can be read at once."""
    async with open_shop(rig.url, rig.api_key) as shop:
        before = (await shop.get("/v1/wallets/me")).body
        answer = await shop.post(amount_minor=1999, wait_s=10)
        assert answer.status == 201, answer.raw
        assert answer.body["status"] == "succeeded"
        read = await shop.get(f"/v1/payments/{answer.key}")
        assert read.body["psp_reference"] == answer.body["psp_reference"]
        transfers = (await shop.get(f"/v1/payments/{answer.key}/transfers")).body["data"]
        assert [transfer["amount"] for transfer in transfers] == [1999, 88]
        after = (await shop.get("/v1/wallets/me")).body
    gained = after["balances"][0]["posted"] - (
        before["balances"][0]["posted"] if before["balances"] else 0
    )
    assert gained == 1999 - 88


async def test_a_thousand_posts_with_repeats(rig: Rig) -> None:
    """1,000 concurrent POSTs of which 200 repeat a key make 800 orders, each charged once."""
    merchant_id, api_key = await rig.create_merchant("Repeating shop")
    other_id, other_key = await rig.create_merchant("Other shop")
    keys = [uuid4() for _ in range(800)]
    sent = keys + keys[:200]
    async with open_shop(rig.url, api_key, connection_count=1_000) as shop:
        answers = await asyncio.gather(
            *(_until_settled(shop, key, amount_minor=1_000 + key.int % 997) for key in sent)
        )
        assert {answer.status for answer in answers} == {201}, _statuses(answers)
        by_key: dict[object, set[bytes]] = {}
        for answer in answers:
            by_key.setdefault(answer.key, set()).add(answer.raw)
        assert all(len(bodies) == 1 for bodies in by_key.values())
        conflict = await shop.post(keys[0], amount_minor=5)
        assert (conflict.status, conflict.body["code"]) == (422, "idempotency_key_reused")
        assert conflict.body["details"]["differs"] == ["amount"]
        wallet = (await shop.get("/v1/wallets/me")).body
    async with open_shop(rig.url, other_key, connection_count=1_000) as other_shop:
        others = await asyncio.gather(*(_until_settled(other_shop, key) for key in keys))
        assert {answer.status for answer in others} == {201}, _statuses(others)
    orders = await rig.fetch(
        "SELECT count(*) AS n, sum(amount_minor - fee_minor) AS net FROM payment_order"
        " JOIN merchant USING (merchant_no) WHERE merchant_id = $1",
        merchant_id,
    )
    transfers = await rig.fetch(
        "SELECT count(*) AS n FROM transfer JOIN payment_order USING (partition_index, order_no)"
        " JOIN merchant USING (merchant_no) WHERE merchant_id = $1",
        merchant_id,
    )
    assert orders[0]["n"] == 800
    assert transfers[0]["n"] == 1_600
    assert wallet["balances"][0]["posted"] == orders[0]["net"]
    for merchant in (merchant_id, other_id):
        charges = await successful_charges(rig.simulator.url, merchant)
        assert charges == {str(key): 1 for key in keys}


@pytest.mark.parametrize(
    ("token", "status"),
    [
        ("tok_approve", "succeeded"),
        ("tok_decline_do_not_honor", "failed"),
        ("tok_decline_insufficient_funds", "failed"),
        ("tok_decline_expired_card", "failed"),
        ("tok_slow_200", "succeeded"),
        ("tok_slow_2500", "succeeded"),
        ("tok_timeout_before", "succeeded"),
        ("tok_charge_then_timeout", "succeeded"),
        ("tok_charge_then_refuse", "succeeded"),
        ("tok_error_500", "succeeded"),
        ("tok_rate_limited", "succeeded"),
    ],
)
async def test_each_sandbox_token_ends_as_its_row_says(rig: Rig, token: str, status: str) -> None:
    """Whatever the simulator does with a token, the order ends as documented, charged at most once."""
    async with open_shop(rig.url, rig.api_key) as shop:
        posted = await shop.post(token=token)
        assert posted.status in (201, 202, 402), posted.raw
        ended = await shop.settled(posted.key)
    assert ended["status"] == status
    if status == "failed":
        assert ended["failure"]["decline_code"] == token.removeprefix("tok_decline_")
    charges = await successful_charges(rig.simulator.url, rig.merchant_id)
    assert charges.get(str(posted.key), 0) == (1 if status == "succeeded" else 0)


async def test_a_buyer_who_acts_pays(rig: Rig) -> None:
    """3-D Secure: the order asks for an action with a URL, and succeeds once the buyer has acted."""
    async with open_shop(rig.url, rig.api_key) as shop:
        posted = await shop.post(token="tok_3ds", wait_s=2)
        assert posted.status == 202
        assert posted.body["status"] == "requires_action"
        assert posted.body["next_action"]["url"].startswith(rig.simulator.url)
        await complete_action(rig.simulator.url, posted.body["psp_reference"])
        assert (await shop.settled(posted.key))["status"] == "succeeded"
        repeated = await shop.post(posted.key, token="tok_3ds")
        assert (repeated.status, repeated.headers["Idempotent-Replayed"]) == (201, "true")
    charges = await successful_charges(rig.simulator.url, rig.merchant_id)
    assert charges[str(posted.key)] == 1


async def test_a_buyer_who_does_not_act_is_not_charged(rig: Rig) -> None:
    """3-D Secure: after its deadline the order is canceled at the PSP and expires."""
    async with open_shop(rig.url, rig.api_key) as shop:
        posted = await shop.post(token="tok_3ds", wait_s=1)
        ended = await shop.settled(posted.key, timeout_s=ACTION_LIFETIME_S + 20)
    assert ended["status"] == "expired"
    assert str(posted.key) not in await successful_charges(rig.simulator.url, rig.merchant_id)


async def test_an_order_waits_while_its_psp_is_down(rig: Rig) -> None:
    """While the PSP refuses to run it, the order says when it is tried next; then it succeeds, charged once."""
    async with open_shop(rig.url, rig.api_key) as shop:
        await set_scenario(rig.simulator.url, down=True)
        posted = await shop.post(token="tok_down", wait_s=1)
        await set_scenario(rig.simulator.url, down=False)
        assert (posted.status, posted.body["status"]) == (202, "processing")
        assert posted.body["next_retry_at"] is not None
        assert (await shop.settled(posted.key))["status"] == "succeeded"
    charges = await successful_charges(rig.simulator.url, rig.merchant_id)
    assert charges[str(posted.key)] == 1


async def _until_settled(shop: Shop, key: UUID, *, amount_minor: int = 1_999) -> Answer:
    """Post again under the same key what a busy machine had no room or time for, as a storefront does."""
    async with asyncio.timeout(80):
        while True:
            answer = await shop.post(key, amount_minor=amount_minor, wait_s=30)
            if answer.status not in {202, 503}:
                return answer
            await asyncio.sleep(0.2)


def _statuses(answers: list[Answer]) -> dict[int, int]:
    counts: dict[int, int] = {}
    for answer in answers:
        counts[answer.status] = counts.get(answer.status, 0) + 1
    return counts


def test_the_rate_command_measures_what_it_says(rig: Rig) -> None:
    """``python -m loadtest.rate`` reports a rate, latencies and every answer it got."""
    printed = subprocess.run(
        [
            *(sys.executable, "-m", "loadtest.rate", "--url", rig.url, "--key", rig.api_key),
            *("--seconds", "1", "--concurrency", "4"),
        ],
        capture_output=True,
        check=True,
        timeout=60,
    ).stdout
    figures = json.loads(printed)
    assert set(figures["answers"]) == {"201"}
    assert figures["rate_per_s"] > 0
    assert 0 < figures["p50_ms"] <= figures["p99_ms"]
