"""The small server of hosts' metrics: one question, and nothing that a client does can hurt."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from prometheus_client.parser import text_string_to_metric_families

from runtime import metrics_server
from runtime.metrics import GATEWAY_PROBLEMS, Metrics
from runtime.metrics_server import HEAD_BYTES_MAX, MetricsServer

REQUEST = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"


@asynccontextmanager
async def serving(server: MetricsServer) -> AsyncIterator[tuple[str, int]]:
    await server.start()
    assert server.address is not None
    host, _, port = server.address.rpartition(":")
    try:
        yield host, int(port)
    finally:
        await server.close()


async def exchange(address: tuple[str, int], request: bytes) -> bytes:
    """Send, and read until the server closes."""
    reader, writer = await asyncio.open_connection(*address)
    try:
        writer.write(request)
        return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


async def test_a_scrape_gets_what_prometheus_reads() -> None:
    """GET /metrics is answered whole, refreshed before, in a form that Prometheus' parser reads."""
    metrics = Metrics()

    async def refresh() -> None:
        metrics.counter(GATEWAY_PROBLEMS, "not_found").inc()

    async with serving(MetricsServer(metrics, host="127.0.0.1", port=0, refresh=refresh)) as at:
        head, _, body = (await exchange(at, REQUEST)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    [family] = text_string_to_metric_families(body.decode())
    assert [sample.value for sample in family.samples] == [1.0]


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"GET / HTTP/1.1", b"404"),
        (b"GET /metrics/x HTTP/1.1", b"404"),
        (b"GET /metrics?a=b HTTP/1.1", b"200"),
        (b"HEAD /metrics HTTP/1.1", b"200"),
        (b"POST /metrics HTTP/1.1", b"405"),
        (b"\x16\x03\x01\x02", b"405"),
        (b"", b"405"),
    ],
)
async def test_nothing_else_is_served(request_line: bytes, status: bytes) -> None:
    """Other paths and methods, and what is no HTTP at all, are refused; HEAD has no body."""
    async with serving(MetricsServer(Metrics(), host="127.0.0.1", port=0)) as at:
        answer = await exchange(at, request_line + b"\r\n\r\n")
    assert answer.split()[1] == status
    if request_line.startswith(b"HEAD"):
        assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("request_bytes", [b"", b"GET /metr", b"G" * (2 * HEAD_BYTES_MAX)])
async def test_a_client_that_hangs_or_babbles_is_let_go(
    request_bytes: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request that does not end, or is too long, ends its own connection and no other."""
    monkeypatch.setattr(metrics_server, "REQUEST_S_MAX", 0.1)
    async with serving(MetricsServer(Metrics(), host="127.0.0.1", port=0)) as at:
        async with asyncio.timeout(5):
            assert await exchange(at, request_bytes) == b""
        assert (await exchange(at, REQUEST)).startswith(b"HTTP/1.1 200")


async def test_too_many_at_once_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever comes while too many wait is told so at once."""
    monkeypatch.setattr(metrics_server, "CONNECTIONS_MAX", 1)
    async with serving(MetricsServer(Metrics(), host="127.0.0.1", port=0)) as at:
        _, idle = await asyncio.open_connection(*at)
        await asyncio.sleep(0.05)
        assert (await exchange(at, REQUEST)).startswith(b"HTTP/1.1 503")
        idle.close()


async def test_a_port_that_is_taken_costs_the_metrics_alone() -> None:
    """A process whose metrics find no port goes on, and says that it serves none."""
    async with serving(MetricsServer(Metrics(), host="127.0.0.1", port=0)) as (host, port):
        second = MetricsServer(Metrics(), host=host, port=port)
        await second.start()
        assert second.address is None
        await second.close()
    too_high = MetricsServer(Metrics(), host="127.0.0.1", port=70_000)
    await too_high.start()
    assert too_high.address is None
