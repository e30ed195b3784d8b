"""One try over HTTP, against receivers that are good, bad and hostile."""

from __future__ import annotations

import asyncio
import base64
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from aiohttp import web
from standardwebhooks import Webhook, WebhookVerificationError

import actors.webhook_resolving
import actors.webhook_sending
from actors.webhook_sending import (
    ANSWER_BYTES_MAX,
    DELAYS_S,
    TryError,
    TryResult,
    WebhookSender,
    state_after,
)
from runtime.clock import SystemClock
from storage.webhook_ports import DeliveryState
from tests.raw_server import saying

OLD, NEW = b"o" * 32, b"n" * 32
BODY = b'{"id":"evt_b"}'


@dataclass
class Receiver:
    """A receiver, and what it got."""

    url: str = ""
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def _fine(_request: web.Request) -> web.StreamResponse:
    return web.Response(status=204)


@asynccontextmanager
async def receiving(handler: Handler = _fine) -> AsyncIterator[Receiver]:
    receiver = Receiver()

    async def handle(request: web.Request) -> web.StreamResponse:
        receiver.requests.append((dict(request.headers), await request.read()))
        return await handler(request)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    try:
        yield receiver
    finally:
        await runner.cleanup()


async def tried(
    url: str, *, secrets: Sequence[bytes] = (NEW,), is_sandbox: bool = True
) -> TryResult:
    sender = WebhookSender(SystemClock(), is_sandbox=is_sandbox)
    try:
        return await sender.send(url, secrets, "evt_b", BODY)
    finally:
        await sender.close()


async def test_a_try_is_signed_with_every_valid_secret() -> None:
    """During a rotation the receiver may know either secret: each verifies what came, as it came."""
    async with receiving() as receiver:
        result = await tried(receiver.url, secrets=(NEW, OLD))
        assert (result.http_status, result.error) == (204, None)
        ((headers, body),) = receiver.requests
        assert body == BODY
        assert headers["webhook-id"] == "evt_b"
        assert headers["Content-Type"] == "application/json"
        for secret in (OLD, NEW):
            # As a receiver has it, and verifies it: by the library of Standard Webhooks.
            text = f"whsec_{base64.b64encode(secret).decode()}"
            assert Webhook(text).verify(body, headers) == {"id": "evt_b"}
        with pytest.raises(WebhookVerificationError):
            Webhook(b"x" * 32).verify(body, headers)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (200, None),
        (201, None),
        (299, None),
        (300, TryError.HTTP_STATUS),
        (304, TryError.HTTP_STATUS),
        (400, TryError.HTTP_STATUS),
        (410, TryError.GONE),
        (429, TryError.HTTP_STATUS),
        (500, TryError.HTTP_STATUS),
    ],
)
async def test_only_2xx_is_a_delivery(status: int, error: TryError | None) -> None:
    """Every other answer is a failure with its status; 410 says that nothing more is wanted."""

    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=status)

    async with receiving(answer) as receiver:
        result = await tried(receiver.url)
        assert (result.http_status, result.error) == (status, error)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_redirect_is_followed(status: int) -> None:
    """A redirect is a failure: it could lead where nobody has looked."""
    async with receiving() as inside:

        async def redirect(_request: web.Request) -> web.StreamResponse:
            return web.Response(status=status, headers={"Location": inside.url})

        async with receiving(redirect) as receiver:
            result = await tried(receiver.url)
            assert (result.http_status, result.error) == (status, TryError.HTTP_STATUS)
            assert inside.requests == []


async def test_a_huge_answer_is_not_read() -> None:
    """What counts is the status; a body that never ends costs us some kilobytes."""
    sent_bytes = 0

    async def flood(request: web.Request) -> web.StreamResponse:
        nonlocal sent_bytes
        response = web.StreamResponse()
        await response.prepare(request)
        chunk = b"x" * 65_536
        for _ in range(2_000):
            await response.write(chunk)
            sent_bytes += len(chunk)
        return response

    async with receiving(flood) as receiver:
        result = await tried(receiver.url)
        assert (result.http_status, result.error) == (200, None)
    assert sent_bytes < 2_000 * 65_536
    assert ANSWER_BYTES_MAX < 65_536


async def test_a_slow_receiver_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an answer in time a try has failed, however long the receiver thinks."""
    monkeypatch.setattr(actors.webhook_sending, "TRY_S_MAX", 0.1)

    async def think(_request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(5)
        return web.Response()

    async with receiving(think) as receiver:
        result = await tried(receiver.url)
        assert (result.http_status, result.error) == (None, TryError.TIMEOUT)
        assert result.duration_ms < 2_000


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"hello\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: no\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000,
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
        b"\x00" * 200,
    ],
)
async def test_what_is_no_answer_is_a_failure(answer: bytes) -> None:
    """A receiver that speaks no HTTP, too much of it, or half of it, is told apart from a delivery."""
    async with saying(answer) as url:
        result = await tried(f"{url}/")
        assert result.error is TryError.CONNECTION


async def test_a_receiver_that_is_away_is_told() -> None:
    """A closed port and a name that nobody has are failures to connect."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    assert (await tried(f"http://127.0.0.1:{port}/")).error is TryError.CONNECT


async def test_a_receiver_without_tls_is_told() -> None:
    """An https URL that leads to plain HTTP fails as TLS, and nothing was sent in the clear."""
    async with receiving() as receiver:
        result = await tried(receiver.url.replace("http://", "https://"))
        assert result.error in (TryError.TLS, TryError.CONNECTION)
        assert receiver.requests == []


async def test_without_a_secret_nothing_is_sent() -> None:
    """An endpoint whose secrets have all ended gets nothing that it could not verify."""
    async with receiving() as receiver:
        assert (await tried(receiver.url, secrets=())).error is TryError.UNSIGNED
        assert receiver.requests == []


async def test_a_url_is_looked_at_again_before_each_try() -> None:
    """What a sandbox had taken is not sent to where money is real."""
    async with receiving() as receiver:
        result = await tried(receiver.url, is_sandbox=False)
        assert result.error is TryError.TARGET_REFUSED
        assert receiver.requests == []


def _resolving(monkeypatch: pytest.MonkeyPatch, *answers: Sequence[str]) -> list[str]:
    """Have names resolve to these addresses, one answer after the other; return the names asked for."""
    asked: list[str] = []
    left = list(answers)

    def addresses(host: str, port: int, _family: int) -> list[tuple[object, ...]]:
        asked.append(host)
        found = left.pop(0) if len(left) > 1 else left[0]
        return [
            (
                socket.AF_INET6 if ":" in one else socket.AF_INET,
                socket.SOCK_STREAM,
                6,
                "",
                (one, port, 0, 0) if ":" in one else (one, port),
            )
            for one in found
        ]

    monkeypatch.setattr(actors.webhook_resolving, "_addresses", addresses)
    return asked


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["10.0.0.1"],
        ["169.254.169.254"],
        ["::1"],
        ["::ffff:127.0.0.1"],
        ["93.184.215.14", "127.0.0.1"],
    ],
)
async def test_a_name_that_leads_inside_is_refused(
    monkeypatch: pytest.MonkeyPatch, addresses: list[str]
) -> None:
    """A public name with an address of ours, alone or among others, is not connected to."""
    asked = _resolving(monkeypatch, addresses)
    result = await tried("https://rebound.example.org/", is_sandbox=False)
    assert result.error is TryError.TARGET_REFUSED
    assert asked == ["rebound.example.org"]


async def test_the_address_that_was_checked_is_the_one_connected_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A name that says something else a moment later (DNS rebinding) is asked once, and its answer used."""
    connected: list[str] = []
    real = actors.webhook_resolving.require_allowed

    def noting(address: str, *, is_sandbox: bool) -> None:
        connected.append(address)
        real(address, is_sandbox=is_sandbox)

    monkeypatch.setattr(actors.webhook_sending, "require_allowed", noting)
    async with receiving() as receiver:
        port = receiver.url.rpartition(":")[2]
        asked = _resolving(monkeypatch, ["127.0.0.1"], ["127.0.0.2"])
        result = await tried(f"http://rebinding.example.org:{port}")
        assert result.error is None
        assert connected == ["127.0.0.1"]
        assert asked == ["rebinding.example.org"]


async def test_a_socket_is_never_made_for_a_refused_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The last look is at the socket itself, also where the resolver was fooled."""

    def blind(_self: object, host: str, port: int = 0, family: int = 0) -> object:
        raise AssertionError("an address is not resolved")

    monkeypatch.setattr(actors.webhook_sending, "url_refusal", lambda _url, is_sandbox: None)
    monkeypatch.setattr(actors.webhook_resolving.CheckedResolver, "resolve", blind)
    result = await tried("https://127.0.0.1:1/", is_sandbox=False)
    assert result.error is TryError.TARGET_REFUSED


def test_tries_are_made_over_three_days_and_then_given_up() -> None:
    """Ten tries: at once, then after 5 s, 5 m, 30 m, 2 h, 5 h, 10 h, 14 h, 20 h and 24 h."""
    waits = [state_after(TryError.TIMEOUT, tries) for tries in range(1, 11)]
    hour = 3_600.0
    assert [delay_s for _, delay_s in waits] == [
        5.0, 300.0, 1_800.0, 2 * hour, 5 * hour, 10 * hour, 14 * hour, 20 * hour, 24 * hour, 0.0,
    ]  # fmt: skip
    assert [state for state, _ in waits] == [DeliveryState.WAITING] * 9 + [DeliveryState.DEAD]
    assert state_after(None, 7) == (DeliveryState.DELIVERED, 0.0)
    assert sum(DELAYS_S) > 72 * hour
