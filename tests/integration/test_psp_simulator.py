"""The simulator as a process that dies, and the connector against servers that misbehave."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from math import ceil
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import aiohttp
import msgspec
import pytest

from payments.attempts import PspAnswer, ResultClass
from psp.http_simulator import SimulatorPsp
from psp.port import ChargeTerms, PspUnavailable
from psp.simulator.log import LOG_NAME
from psp.simulator.wire import OracleRow
from tests.simulator_process import SimulatorProcess

TIMEOUT_S = 5.0
CHARGES = 400
KILL_AFTER_ANSWERS = 120
SENDERS = 48

# Closing makes a client that would follow open a connection, which the test counts.
ELSEWHERE = b"\r\nLocation: /v1/charges\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def connector(url: str, *, connections_max: int = 64) -> SimulatorPsp:
    return SimulatorPsp(name="s", account="a", url=url, connections_max=connections_max)


def request_of(psp: SimulatorPsp, token: str = "tok_approve", *, merchant: str = "m") -> bytes:
    terms = ChargeTerms(
        amount_minor=1_000,
        currency="EUR",
        token=token,
        merchant_id=merchant,
        order_key=uuid4(),
        capture=True,
    )
    return psp.canonical_charge(terms)


async def oracle(url: str) -> list[OracleRow]:
    async with aiohttp.ClientSession() as http, http.get(f"{url}/_oracle/charges") as response:
        return msgspec.json.Decoder(OracleRow).decode_lines(await response.read())


async def get(url: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as http, http.get(url) as response:
        return response.status, await response.text()


async def post(url: str, body: bytes, **headers: str) -> tuple[int, str]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with (
        aiohttp.ClientSession() as http,
        http.post(url, data=body, headers=named) as response,
    ):
        return response.status, await response.text()


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatorProcess]:
    """One simulator for the tests that only talk to it."""
    with SimulatorProcess(tmp_path_factory.mktemp("simulator")) as process:
        yield process


async def test_a_killed_simulator_keeps_every_charge_it_answered(tmp_path: Path) -> None:
    """After SIGKILL under load each answered charge is kept, and each key charges once."""
    answers: dict[str, PspAnswer] = {}
    with SimulatorProcess(tmp_path, options=("--latency-ms", "5")) as process:
        port, psp = process.port, connector(process.url)
        requests = {f"key.{n}": request_of(psp) for n in range(CHARGES)}
        waiting = list(requests.items())

        async def sender() -> None:
            while waiting:
                key, request = waiting.pop()
                answers[key] = await psp.charge(key, request, timeout_s=TIMEOUT_S)
                if len(answers) == KILL_AFTER_ANSWERS:
                    process.kill()

        await asyncio.gather(*(sender() for _ in range(SENDERS)))
    results = {answer.result for answer in answers.values()}
    assert results == {ResultClass.APPROVED, ResultClass.UNKNOWN, ResultClass.NOT_SENT}
    with SimulatorProcess(tmp_path, port=port) as process:
        kept = {row.key: row for row in await oracle(process.url)}
        for key, answer in answers.items():
            if answer.result is ResultClass.APPROVED:
                assert kept[key].reference == answer.reference
            if answer.result is ResultClass.NOT_SENT:
                assert key not in kept
        for key, request in requests.items():
            again = await psp.charge(key, request, timeout_s=TIMEOUT_S)
            assert again.result is ResultClass.APPROVED
        rows = await oracle(process.url)
        assert sorted(row.key for row in rows) == sorted(requests)
        await psp.close()


async def test_a_torn_tail_is_cut_and_the_rest_kept(tmp_path: Path) -> None:
    """A half-written group at the end of the log is forgotten; what was answered stays."""
    with SimulatorProcess(tmp_path) as process:
        psp = connector(process.url)
        await psp.charge("kept", request_of(psp), timeout_s=TIMEOUT_S)
        await psp.close()
        assert process.stop() == 0
    with (tmp_path / LOG_NAME).open("ab") as log:
        log.write(b'#999 00000000\n{"t":"charge","key":"torn"')
    with SimulatorProcess(tmp_path) as process:
        assert [row.key for row in await oracle(process.url)] == ["kept"]


def test_two_simulators_never_share_a_log(tmp_path: Path) -> None:
    """A second process on the same data, or another seed, refuses to start and says why."""
    with SimulatorProcess(tmp_path) as process:
        with pytest.raises(RuntimeError, match="another process"):
            SimulatorProcess(tmp_path).__enter__()
        assert process.stop() == 0
    with pytest.raises(RuntimeError, match="seed 1"):
        SimulatorProcess(tmp_path, options=("--seed", "2")).__enter__()


async def test_sigterm_ends_it_also_while_a_client_hangs(tmp_path: Path) -> None:
    """A graceful stop doesn't wait for clients that are being left to hang."""
    with SimulatorProcess(tmp_path) as process:
        psp = connector(process.url)
        hanging = asyncio.create_task(
            psp.charge("h", request_of(psp, "tok_timeout_before"), timeout_s=30)
        )
        await asyncio.sleep(0.3)
        assert await asyncio.to_thread(process.stop) == 0
        assert (await hanging).result is ResultClass.UNKNOWN
        await psp.close()


async def test_pages_escape_what_came_from_outside(simulator: SimulatorProcess) -> None:
    """A merchant named like a script is shown as text."""
    psp = connector(simulator.url)
    request = request_of(psp, merchant="<script>alert(1)</script>")
    await psp.charge("page.1", request, timeout_s=TIMEOUT_S)
    await psp.close()
    status, page = await get(simulator.url)
    assert status == 200
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "10.00 EUR" in page


async def test_a_buyer_confirms_on_the_page_of_the_next_action(simulator: SimulatorProcess) -> None:
    """The URL of a 3-D Secure answer is a page whose form completes the charge."""
    psp = connector(simulator.url)
    answer = await psp.charge("page.2", request_of(psp, "tok_3ds"), timeout_s=TIMEOUT_S)
    assert answer.next_action_url is not None
    _, page = await get(answer.next_action_url)
    assert 'value="complete"' in page
    assert 'value="fail"' in page
    form = "application/x-www-form-urlencoded"
    status, after = await post(answer.next_action_url, b"decision=complete", Content_Type=form)
    assert (status, "Nothing left to do" in after) == (200, True)
    asked = await psp.query(psp_key="page.2", reference=None, timeout_s=TIMEOUT_S)
    await psp.close()
    assert asked.result is ResultClass.APPROVED


@pytest.mark.parametrize(
    ("path", "body", "key"),
    [
        ("/v1/charges", b"{", "k"),
        ("/v1/charges", b'{"amount": 0, "currency": "USD", "token": "tok_approve"}', "k"),
        ("/v1/charges", b'{"amount": 1, "currency": "usd", "token": "tok_approve"}', "k"),
        ("/v1/charges", b'{"amount": 1, "currency": "USD", "token": "t", "more": 1}', "k"),
        ("/v1/charges", b'{"amount": 1, "currency": "USD", "token": "tok_approve"}', ""),
        ("/_sim/scenario", b'{"dwon": true}', "k"),
        ("/_sim/scenario", b'{"latency_ms_median": -1}', "k"),
    ],
)
async def test_an_unreadable_request_changes_nothing(
    simulator: SimulatorProcess, path: str, body: bytes, key: str
) -> None:
    """What can't be understood is answered 400, and the oracle stays as it was."""
    before = await oracle(simulator.url)
    headers = {"Idempotency_Key": key} if key else {}
    status, _ = await post(simulator.url + path, body, **headers)
    assert status == 400
    assert await oracle(simulator.url) == before


async def test_a_target_that_cant_be_read_ends_its_connection(simulator: SimulatorProcess) -> None:
    """A head that no request can be made of is answered, and holds no connection."""
    where = urlsplit(simulator.url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    writer.write(b"GET http://xn--a/healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    async with asyncio.timeout(5):
        assert (await reader.read()).startswith(b"HTTP/1.0 400 ")
    writer.close()


async def test_a_charge_is_answered_alike_on_both_ways(simulator: SimulatorProcess) -> None:
    """A query takes a request through the router, and a connection that ends has aiohttp write the headers."""
    body = request_of(connector(simulator.url))
    answers = []
    async with aiohttp.ClientSession() as http:
        for query, ends in (("", {}), ("?a=1", {"Connection": "close"})):
            url = f"{simulator.url}/v1/charges{query}"
            headers = {"Idempotency-Key": "both-ways", **ends}
            async with http.post(url, data=body, headers=headers) as response:
                kept = {
                    name: text
                    for name, text in response.headers.items()
                    if name not in ("Date", "Connection")
                }
                answers.append((response.status, kept, await response.text()))
    assert answers[0] == answers[1]
    assert answers[0][0] == 200
    assert answers[0][1]["Content-Type"] == "application/json"
    assert answers[0][1]["Server"] == "psp-simulator"


async def test_a_refusal_says_of_what_and_when_to_come_again(simulator: SimulatorProcess) -> None:
    """A first try that met the rate limit is told for how long, in whole seconds, as the header has it, and its key."""
    body = request_of(connector(simulator.url), "tok_rate_limited")
    async with (
        aiohttp.ClientSession() as http,
        http.post(
            f"{simulator.url}/v1/charges", data=body, headers={"Idempotency-Key": "limited"}
        ) as response,
    ):
        assert response.status == 429
        told = await response.json()
        assert told["key"] == "limited"
        assert response.headers["Retry-After"] == str(ceil(told["retry_after_s"]))


@asynccontextmanager
async def tcp_server(serve: Serve) -> AsyncIterator[str]:
    """Serve raw TCP on a free port; yields its URL."""
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.close()
        await server.wait_closed()


async def read_request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
    return head + await reader.readexactly(int(fields.get(b"Content-Length", b"0")))


async def test_a_post_is_never_sent_twice_on_a_broken_connection() -> None:
    """A keep-alive connection that breaks under a charge makes it UNKNOWN, not sent again."""
    seen: list[bytes] = []
    body = b'{"key":"k1","object":"charge","status":"captured"}'

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await read_request(reader))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        await writer.drain()
        seen.append(await read_request(reader))
        writer.close()

    async with tcp_server(serve) as url:
        psp = connector(url)
        first = await psp.charge("k1", request_of(psp), timeout_s=TIMEOUT_S)
        second = await psp.charge("k2", request_of(psp), timeout_s=TIMEOUT_S)
        await psp.close()
    assert (first.result, second.result) == (ResultClass.APPROVED, ResultClass.UNKNOWN)
    assert len(seen) == 2


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 303 See Other" + ELSEWHERE,
        b"HTTP/1.1 307 Temporary Redirect" + ELSEWHERE,
        b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 7\r\n\r\nno luck",
        b"nonsense\r\n\r\n",
        b"",
    ],
)
async def test_an_answer_that_proves_nothing_is_unknown(answer: bytes) -> None:
    """Redirects, cut, oversized, unreadable and missing answers are UNKNOWN, and sent once."""
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await read_request(reader))
        writer.write(answer)
        await writer.drain()
        writer.close()

    async with tcp_server(serve) as url:
        psp = connector(url)
        result = (await psp.charge("k", request_of(psp), timeout_s=TIMEOUT_S)).result
        await psp.close()
    assert result is ResultClass.UNKNOWN
    assert len(seen) == 1


async def test_a_refused_connection_sent_nothing() -> None:
    """Where nobody listens a charge is NOT_SENT, a query UNKNOWN, and a report is unavailable."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    psp = connector(f"http://127.0.0.1:{port}")
    sent = await psp.charge("k", request_of(psp), timeout_s=TIMEOUT_S)
    asked = await psp.query(psp_key="k", reference=None, timeout_s=TIMEOUT_S)
    canceled = await psp.cancel(psp_key="k", reference=None, timeout_s=TIMEOUT_S)
    with pytest.raises(PspUnavailable) as unavailable:
        await anext(psp.settlement_report(since=datetime(2026, 1, 1, tzinfo=UTC)))
    await psp.close()
    assert sent.result is ResultClass.NOT_SENT
    assert {asked.result, canceled.result} == {ResultClass.UNKNOWN}
    assert unavailable.value.psp == "s"


async def test_waiting_for_a_connection_in_vain_sent_nothing(tmp_path: Path) -> None:
    """A charge that got no connection from a full pool in time is NOT_SENT."""
    with SimulatorProcess(tmp_path) as process:
        psp = connector(process.url, connections_max=1)
        hanging = asyncio.create_task(
            psp.charge("h", request_of(psp, "tok_timeout_before"), timeout_s=1.5)
        )
        await asyncio.sleep(0.1)
        blocked = await psp.charge("b", request_of(psp), timeout_s=0.4)
        assert blocked.result is ResultClass.NOT_SENT
        assert (await hanging).result is ResultClass.UNKNOWN
        assert await oracle(process.url) == []
        await psp.close()


async def test_a_closed_port_refuses_and_opens_again(tmp_path: Path) -> None:
    """As with a dead server nobody gets in, old connections are cut, and nothing of it ran."""
    with SimulatorProcess(tmp_path) as process:
        psp = connector(process.url)
        request = request_of(psp)
        assert (await psp.charge("a", request, timeout_s=TIMEOUT_S)).result is ResultClass.APPROVED
        status, _ = await post(f"{process.url}/_faults", b'{"refuse_ms": 1500}')
        assert status == 200
        await asyncio.sleep(0.3)
        refused = [await psp.charge(f"r{n}", request, timeout_s=TIMEOUT_S) for n in range(3)]
        assert refused[-1].result is ResultClass.NOT_SENT
        await asyncio.sleep(1.6)
        assert [row.key for row in await oracle(process.url)] == ["a"]
        again = await psp.charge("b", request, timeout_s=TIMEOUT_S)
        assert again.result is ResultClass.APPROVED
        status, text = await post(f"{process.url}/_faults", b'{"rates": {"tok_down": 2}}')
        assert status == 400
        assert "invalid_request" in text
        await psp.close()
