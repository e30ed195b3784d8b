"""What a storefront's receiver lives through on a whole stack: rotations, hours away, streams that break, SSRF."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from standardwebhooks import Webhook, WebhookVerificationError

from loadtest.deliveries.storefront import RunFailed, Storefront
from tests.acceptance.running_stack import RunningStack

SUCCEEDED = ["payment_order.succeeded"]
# Of a beat of the dispatcher, within which it knows of a change, and a try after the shortest wait.
HEARD_S_MAX = 30.0
WHILE_AWAY = 25
# Of `webhooks.connections_per_endpoint` as it is delivered.
HELD_MAX = 32
PAGE = 7


@dataclass
class Receiver:
    """A program that takes webhooks, and can go away and come back at its port."""

    port: int = 0
    status: int = 204
    location: str | None = None
    held: asyncio.Event | None = None
    """While it is not set, nothing is answered."""
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    _runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hooks"

    async def start(self) -> None:
        app = web.Application()
        app.router.add_post("/hooks", self._take)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def until(self, count: int) -> None:
        """Wait until so many came. Fails when they don't."""
        async with asyncio.timeout(HEARD_S_MAX):
            while len(self.got) < count:
                await asyncio.sleep(0.05)

    async def _take(self, request: web.Request) -> web.Response:
        self.got.append((dict(request.headers), await request.read()))
        if self.held is not None:
            await self.held.wait()
        headers = {} if self.location is None else {"Location": self.location}
        return web.Response(status=self.status, headers=headers)


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    await receiver.start()
    try:
        yield receiver
    finally:
        await receiver.stop()


class Shop(Storefront):
    """A storefront that listens, too."""

    @asynccontextmanager
    async def stream(self, last: str | None) -> AsyncIterator[aiohttp.StreamReader]:
        """Open the stream of events behind an id, or from now on."""
        headers = {} if last is None else {"Last-Event-ID": last}
        async with self._session.get(f"{self._url}/v1/events/stream", headers=headers) as response:
            assert response.status == 200
            yield response.content


@asynccontextmanager
async def storefront(stack: RunningStack, name: str) -> AsyncIterator[Shop]:
    """A new merchant's, so that nobody else's events are in its feed."""
    created = await asyncio.to_thread(stack.json, "merchants", "create", name)
    url = (await asyncio.to_thread(stack.status))["gateway_url"]
    headers = {"Authorization": f"Bearer {created['api_key']}"}
    async with aiohttp.ClientSession(headers=headers) as session:
        shop = Shop(session, url)
        try:
            yield shop
        finally:
            for endpoint in (await shop.ask("GET", "/v1/webhook_endpoints"))["data"]:
                await shop.ask("DELETE", f"/v1/webhook_endpoints/{endpoint['id']}")


async def listen_at(shop: Shop, url: str, types: list[str]) -> dict[str, Any]:
    body = {"url": url, "types": types}
    made: dict[str, Any] = await shop.ask("POST", "/v1/webhook_endpoints", body)
    return made


def is_verified(secret: str, sent: tuple[dict[str, str], bytes]) -> bool:
    """Whether the library of Standard Webhooks believes it, under the secret as the API showed it."""
    headers, body = sent
    try:
        event = Webhook(secret).verify(body, headers)
    except WebhookVerificationError:
        return False
    assert event == json.loads(body)
    return True


async def feed(shop: Shop, cursor: str | None) -> tuple[list[dict[str, Any]], str | None]:
    """Walk the feed to its end in small pages; return its events and the last cursor."""
    events: list[dict[str, Any]] = []
    while True:
        after = "" if cursor is None else f"&after={cursor}"
        page = await shop.ask("GET", f"/v1/events?limit={PAGE}{after}")
        events += page["data"]
        cursor = page["next_cursor"]
        if not page["has_more"]:
            return events, cursor


def assert_each_once_in_order(events: list[dict[str, Any]]) -> None:
    """No event twice, and of each object every number from 1 on, the lower one first."""
    assert len({event["id"] for event in events}) == len(events)
    numbers: defaultdict[str, list[int]] = defaultdict(list)
    for event in events:
        numbers[event["object_id"]].append(event["sequence"])
    assert all(of == list(range(1, len(of) + 1)) for of in numbers.values()), numbers


def test_both_secrets_verify_during_a_rotation(stack: RunningStack) -> None:
    """A receiver that has the old secret, or the new one, believes each webhook; afterwards the new one alone."""
    asyncio.run(rotate(stack))


async def rotate(stack: RunningStack) -> None:
    async with storefront(stack, "Rotating") as shop, receiving() as receiver:
        endpoint = await listen_at(shop, receiver.url, SUCCEEDED)
        old = endpoint["secret"]
        await shop.pay(1)
        await receiver.until(1)
        assert is_verified(old, receiver.got[0])
        path = f"/v1/webhook_endpoints/{endpoint['id']}/rotate_secret"
        new = (await shop.ask("POST", path))["secret"]
        both = await until_signed(shop, receiver, new)
        assert is_verified(old, both)
        assert not is_verified(new, receiver.got[0])
        last = (await shop.ask("POST", path, {"overlap_s": 0}))["secret"]
        alone = await until_signed(shop, receiver, last)
        assert not is_verified(old, alone)
        assert not is_verified(new, alone)


async def until_signed(shop: Shop, receiver: Receiver, secret: str) -> tuple[dict[str, str], bytes]:
    """Sell until a webhook is signed with a secret: the dispatcher learns of it within a beat."""
    async with asyncio.timeout(HEARD_S_MAX):
        while not is_verified(secret, receiver.got[-1]):
            count = len(receiver.got)
            await shop.pay(1)
            await receiver.until(count + 1)
    return receiver.got[-1]


def test_a_receiver_that_was_away_catches_up_by_the_feed(stack: RunningStack) -> None:
    """Behind its cursor it finds all it missed, once, in order; its webhooks come later, the same bytes again."""
    asyncio.run(be_away(stack))


async def be_away(stack: RunningStack) -> None:
    async with storefront(stack, "Away") as shop, receiving() as receiver:
        await listen_at(shop, receiver.url, ["*"])
        await shop.pay(2)
        await receiver.until(4)
        before, cursor = await feed(shop, None)
        assert len(before) == 4
        await receiver.stop()
        await shop.pay(WHILE_AWAY)
        # Back, it reads while more is sold, as a receiver does that has an hour behind it.
        selling = asyncio.create_task(shop.pay(WHILE_AWAY))
        missed: list[dict[str, Any]] = []
        while not selling.done():
            found, cursor = await feed(shop, cursor)
            missed += found
        await selling
        async with asyncio.timeout(HEARD_S_MAX):
            while len(missed) < 4 * WHILE_AWAY:
                found, cursor = await feed(shop, cursor)
                missed += found
        assert_each_once_in_order(before + missed)
        assert len(missed) == 4 * WHILE_AWAY
        again, end = await feed(shop, None)
        assert (again, end) == (before + missed, cursor)
        await receiver.start()
        async with asyncio.timeout(HEARD_S_MAX):
            while len({headers["webhook-id"] for headers, _ in receiver.got}) < len(again):
                await asyncio.sleep(0.1)
        told = {headers["webhook-id"]: json.loads(body) for headers, body in receiver.got}
        assert told == {event["id"]: event for event in again}


def test_a_receiver_that_answers_nothing_delays_no_other(stack: RunningStack) -> None:
    """While one holds all that it is sent, another one of the same merchant gets everything."""
    asyncio.run(hold(stack))


async def hold(stack: RunningStack) -> None:
    async with storefront(stack, "Holding") as shop, receiving() as slow, receiving() as quick:
        slow.held = asyncio.Event()
        for receiver in (slow, quick):
            await listen_at(shop, receiver.url, ["*"])
        await shop.pay(HELD_MAX)
        await quick.until(2 * HELD_MAX)
        # Nothing was answered: it is sent no more than it may have on its way.
        assert len(slow.got) == HELD_MAX
        slow.held.set()
        await slow.until(2 * HELD_MAX)
    for receiver in (slow, quick):
        assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 2 * HELD_MAX


def test_a_stream_that_breaks_goes_on_where_it_was(stack: RunningStack) -> None:
    """By Last-Event-ID, through whichever gateway: what happened meanwhile is told, and nothing twice."""
    asyncio.run(break_streams(stack))


async def break_streams(stack: RunningStack) -> None:
    async with storefront(stack, "Streaming") as shop:
        async with asyncio.timeout(HEARD_S_MAX):
            # Nothing was told yet when it breaks: the stream's own beginning is where it goes on.
            last, heard = await hear(shop, None, 0)
            await shop.pay(3)
            for count in (1, 2):
                last, events = await hear(shop, last, count)
                heard += events
                await shop.pay(2)
            last, events = await hear(shop, last, 11)
            heard += events
        assert_each_once_in_order(heard)
        assert heard == (await feed(shop, None))[0]


async def hear(shop: Shop, last: str | None, count: int) -> tuple[str | None, list[dict[str, Any]]]:
    """Listen until so many events were told, and cut; return the last id and the events."""
    events: list[dict[str, Any]] = []
    async with shop.stream(last) as content:
        async for line in content:
            name, _, value = line.decode().rstrip("\n").partition(": ")
            if name == "id":
                last = value
            if name == "data":
                events.append(json.loads(value))
            # A message ends with an empty line; the id stands before the data.
            if not name and last is not None and len(events) >= count:
                break
    return last, events


REFUSED_URLS = (
    "http://169.254.169.254/latest/meta-data",
    "http://[::ffff:169.254.169.254]/",
    "http://[fe80::1]/",
    "http://2852039166/",
    "http://0xa9.0xfe.0xa9.0xfe/",
    "http://0.0.0.0/",
    "http://shop:secret@127.0.0.1/",
    "ftp://127.0.0.1/",
    "file:///etc/passwd",
)


def test_webhooks_go_nowhere_that_they_must_not(stack: RunningStack) -> None:
    """No endpoint at a metadata service, however it is spelled; and no redirect is followed to one."""
    asyncio.run(lead_astray(stack))


async def lead_astray(stack: RunningStack) -> None:
    async with storefront(stack, "Astray") as shop, receiving() as inside, receiving() as receiver:
        for url in REFUSED_URLS:
            with pytest.raises(RunFailed, match="422 webhook_url_invalid"):
                await listen_at(shop, url, ["*"])
        receiver.status, receiver.location = 307, inside.url
        endpoint = await listen_at(shop, receiver.url, SUCCEEDED)
        await shop.pay(1)
        await receiver.until(1)
        path = f"/v1/webhook_endpoints/{endpoint['id']}/deliveries"
        async with asyncio.timeout(HEARD_S_MAX):
            while not (log := (await shop.ask("GET", path))["data"]):
                await asyncio.sleep(0.1)
        assert (log[0]["last_http_status"], log[0]["last_error"]) == (307, "http_status")
        assert log[0]["state"] == "waiting"
        assert inside.got == []
