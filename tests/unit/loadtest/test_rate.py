"""The first rate: what is wrong is told, and never counted as speed."""

from __future__ import annotations

import asyncio

import click
import pytest
from aiohttp import web
from click.testing import CliRunner

from loadtest import rate
from ops.local.ports import free_port


async def _probed(status: int) -> None:
    """Probe a server that answers everything so."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status)

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        port = free_port(set())
        await web.TCPSite(runner, "127.0.0.1", port).start()
        await rate.probe(f"http://127.0.0.1:{port}", "sk_test_any")
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("status", "why"), [(401, "does not know this API key"), (404, "is it the gateway")]
)
def test_a_refused_probe_is_told(status: int, why: str) -> None:
    """A wrong key and a wrong address each end the command before anything is measured."""
    with pytest.raises(click.ClickException, match=why):
        asyncio.run(_probed(status))


def test_a_probe_that_may_read_passes() -> None:
    """A gateway that knows the key goes on to be measured."""
    asyncio.run(_probed(200))


@pytest.mark.parametrize("url", ["http://127.0.0.1:{free}", "nonsense", "ftp://x"])
def test_nobody_there_is_one_sentence(url: str) -> None:
    """A stopped stack, or what is no address, is one line on stderr and exit code 1."""
    url = url.format(free=free_port(set()))
    result = CliRunner().invoke(rate.main, ["--url", url, "--key", "k", "--seconds", "0.1"])
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith(f"Error: {url} can't be asked")
    assert len(result.stderr.splitlines()) == 1


def test_refusals_are_counted_and_not_timed() -> None:
    """A fast refusal improves no percentile, and an answer that never came is named."""
    measured = rate.Measured(seconds=2.0)
    for status, latency_s in ((201, 0.2), (202, 0.1), (503, 0.001), (None, 40.0)):
        measured.note(status, latency_s)
    assert measured.summary() == {
        "rate_per_s": 1.0,
        "p50_ms": 100.0,
        "p99_ms": 200.0,
        "answers": {"201": 1, "202": 1, "503": 1, "none": 1},
        "seconds": 2.0,
    }


def test_without_success_there_are_no_percentiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """When every order is refused, the figures say so and the exit code is 1."""

    async def refused(*_: object, **__: object) -> rate.Measured:
        measured = rate.Measured(seconds=1.0)
        measured.note(503, 0.001)
        return measured

    async def passed(*_: object) -> None:
        pass

    monkeypatch.setattr(rate, "measure", refused)
    monkeypatch.setattr(rate, "probe", passed)
    result = CliRunner().invoke(rate.main, ["--url", "http://gateway", "--key", "k"])
    assert result.exit_code == 1
    assert '"p50_ms":null,"p99_ms":null,"answers":{"503":1}' in result.stdout
