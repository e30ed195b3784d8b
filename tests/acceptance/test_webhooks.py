"""Webhooks on a whole stack: every event reaches its receivers, whoever dies, sleeps or is slow meanwhile."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import defaultdict
from typing import Any
from urllib.parse import quote

import aiohttp
import asyncpg

from loadtest.deliveries.storefront import Storefront, a_sink, arrived, told_by
from ops.local.postgres import DATABASE
from ops.local.postgres_settings import SUPERUSER
from ops.stack.state import Role, read_state
from payments.feed import parse_endpoint_id
from tests.acceptance.conftest import StackFactory
from tests.acceptance.running_stack import RunningStack

PAYMENTS = 60
KILLS = 2
SLOW_MS = 1_500


async def feed_behind(shop: Storefront, cursor: str | None) -> tuple[list[dict[str, Any]], str]:
    """Walk the feed to its end, as a receiver does that was away; return the events and the last cursor."""
    events: list[dict[str, Any]] = []
    while True:
        after = "" if cursor is None else f"&after={cursor}"
        page = await shop.ask("GET", f"/v1/events?limit=100{after}")
        events += page["data"]
        cursor = str(page["next_cursor"])
        if not page["has_more"]:
            return events, cursor


async def kill_dispatcher(stack: RunningStack, before: set[int]) -> set[int]:
    """SIGKILL the dispatcher, a new one each time; return which have been."""
    async with asyncio.timeout(60):
        while not (fresh := dispatchers(stack) - before):
            await asyncio.sleep(0.1)
    # Somewhere in the middle of its work.
    await asyncio.sleep(1.0)
    for pid in fresh:
        os.kill(pid, signal.SIGKILL)
    return before | fresh


def dispatchers(stack: RunningStack) -> set[int]:
    """The dispatchers that the stack's daemon knows of."""
    state = read_state(stack.home)
    assert state is not None
    return {one.pid for one in state.processes if one.role is Role.DISPATCHER and one.is_alive()}


async def sell_while_dispatchers_die(stack: RunningStack) -> None:
    """Take payments while the dispatcher is killed again and again, and look at what everybody got."""
    state = read_state(stack.home)
    assert state is not None
    assert state.addresses is not None
    url = state.addresses.gateway_url
    key = (stack.home / "secrets" / "sandbox_api_key").read_text().strip()
    headers = {"Authorization": f"Bearer {key}"}
    with a_sink() as port:
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            aiohttp.ClientSession() as plain,
        ):
            shop = Storefront(session, url)
            _, start = await feed_behind(shop, None)
            receivers = {
                path: await shop.endpoint(f"http://127.0.0.1:{port}{path}")
                for path in ("/quick", f"/slow?wait_ms={SLOW_MS}", "/down?status=503")
            }
            for endpoint in receivers.values():
                await shop.ask("POST", f"/v1/webhook_endpoints/{endpoint}/enable")
            selling = asyncio.create_task(shop.pay(PAYMENTS))
            killed: set[int] = set()
            for _ in range(KILLS):
                killed = await kill_dispatcher(stack, killed)
            await selling
            events, _ = await feed_behind(shop, start)
            assert_gapless(events)
            assert len(events) == 2 * PAYMENTS
            await arrived(plain, port, ["/quick", "/slow"], len(events))
            told = await told_by(plain, port)
            # Each was tried, and waits to be tried again.
            assert told["distinct"]["/down"] == len(events)
            quick = receivers["/quick"]
            log = await whole_log(shop, quick)
            assert {one["event"] for one in log} == {event["id"] for event in events}
            assert {one["state"] for one in log} == {"delivered"}
            down = await whole_log(shop, receivers["/down?status=503"])
            assert {one["state"] for one in down} == {"waiting"}
            assert {one["last_http_status"] for one in down} == {503}
            again = await shop.ask(
                "POST", f"/v1/webhook_endpoints/{quick}/deliveries/{log[0]['id']}/resend"
            )
            assert again["deliveries"] == 1
            async with asyncio.timeout(20):
                while (await whole_log(shop, quick))[0]["tries"] != log[0]["tries"] + 1:
                    await asyncio.sleep(0.2)
            await resend_a_range(shop, quick, events)
            await pause(stack, shop, receivers["/down?status=503"], killed)


async def resend_a_range(shop: Storefront, endpoint: str, events: list[dict[str, Any]]) -> None:
    """All but the first event's are begun anew, by the times of the events, and delivered again."""
    before = {one["event"]: one["tries"] for one in await whole_log(shop, endpoint)}
    times = sorted(event["created_at"] for event in events)
    later = [event["id"] for event in events if event["created_at"] > times[0]]
    first_of_them = min(at for at in times if at > times[0])
    wanted = {"from": first_of_them, "to": "2999-01-01T00:00:00Z", "state": "delivered"}
    done = await shop.ask("POST", f"/v1/webhook_endpoints/{endpoint}/resend", wanted)
    assert (done["deliveries"], done["has_more"]) == (len(later), False)
    expected = {event: tries + (event in set(later)) for event, tries in before.items()}
    async with asyncio.timeout(30):
        while {one["event"]: one["tries"] for one in await whole_log(shop, endpoint)} != expected:
            await asyncio.sleep(0.2)


async def pause(stack: RunningStack, shop: Storefront, endpoint: str, killed: set[int]) -> None:
    """Where nothing has succeeded for three days, the next try that fails is the last one, for now."""
    dsn = await asyncio.to_thread(books_dsn, stack)
    connection = await asyncpg.connect(dsn)
    await connection.execute(
        "UPDATE webhook_progress SET failing_since = failing_since - interval '73 hours'"
        " WHERE endpoint_no = $1",
        parse_endpoint_id(endpoint),
    )
    await connection.close()
    # Who leads next reads it: dispatchers keep it in mind.
    await kill_dispatcher(stack, killed)
    await shop.pay(1)
    async with asyncio.timeout(60):
        while True:
            found = await shop.ask("GET", f"/v1/webhook_endpoints/{endpoint}")
            if found["status"] != "enabled":
                break
            await asyncio.sleep(0.2)
    assert found["status"] == "paused"
    assert found["status_reason"].startswith("no try has succeeded since ")
    assert {one["state"] for one in await whole_log(shop, endpoint)} == {"waiting"}


def books_dsn(stack: RunningStack) -> str:
    """The books, as their owner."""
    state = read_state(stack.home)
    assert state is not None
    assert state.addresses is not None
    password = quote((stack.home / "secrets" / "postgres_superuser").read_text().strip(), safe="")
    return f"postgresql://{SUPERUSER}:{password}@{state.addresses.postgres_primary}/{DATABASE}"


async def whole_log(shop: Storefront, endpoint: str) -> list[dict[str, Any]]:
    """Every delivery of an endpoint, newest first, once all of them have been recorded."""
    deliveries: list[dict[str, Any]] = []
    after = ""
    while True:
        page = await shop.ask(
            "GET", f"/v1/webhook_endpoints/{endpoint}/deliveries?limit=100{after}"
        )
        deliveries += page["data"]
        if not page["has_more"]:
            return deliveries
        after = f"&starting_after={deliveries[-1]['id']}"


def assert_gapless(events: list[dict[str, Any]]) -> None:
    """Of each object every sequence number from 1 on, once, in their order."""
    sequences: defaultdict[str, list[int]] = defaultdict(list)
    for event in events:
        sequences[event["object_id"]].append(event["sequence"])
    assert all(of == list(range(1, len(of) + 1)) for of in sequences.values())


def test_every_event_is_delivered_though_dispatchers_die(stack_factory: StackFactory) -> None:
    """SIGKILL in the middle of deliveries loses none; a slow endpoint and one that is down delay no other.

    What was delivered is sent again by one, or by a range of times; one that is down for days is paused.
    """
    stack = stack_factory()
    stack.up("--hosts-without-ray", "--no-demo")
    asyncio.run(sell_while_dispatchers_die(stack))
    status = stack.status()
    assert status["healthy"], status["problems"]
    assert status["webhooks"]["endpoints"] == {"enabled": 2, "paused": 1}
    # The receivers have gone by now: what the slow one had not answered waits, too.
    assert status["webhooks"]["waiting"] >= 2 * PAYMENTS
    listed = stack.json("webhooks", "list")["webhook_endpoints"]
    endpoint = next(one["id"] for one in listed if one["status"] == "enabled")
    done = stack.tally("webhooks", "disable", endpoint, "--reason", "it is a test")
    assert (done.returncode, done.stdout) == (0, f"{endpoint} is disabled\n")
    listed = stack.json("events", "list", "--limit", "2")
    assert [event["sequence"] for event in listed["data"]] == [1, 1]
