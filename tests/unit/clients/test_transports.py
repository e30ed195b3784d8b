"""Both transports against what networks and proxies do: answers are whole, in time, or none."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tallystick.async_transport import AsyncTransport
from tallystick.exchange import ANSWER_BYTES_MAX, NoAnswer, Request, Response
from tallystick.sync_transport import SyncTransport
from tests.unit.clients.scripted_server import Reply, ScriptedServer, answer

Result = Response | NoAnswer
Sender = Callable[..., list[Result]]

HEADERS = {"Authorization": "Bearer sk_test_secret"}
POST = Request(method="POST", target="/v1/payments?a=b%2Bc", headers={"X-Own": "1"}, body=b"{}")


def _send_blocking(url: str, count: int, timeout_s: float, pause_s: float) -> list[Result]:
    transport = SyncTransport(url, HEADERS)
    results: list[Result] = []
    for _ in range(count):
        results.append(transport.send(POST, timeout_s))
        time.sleep(pause_s)
    transport.close()
    return results


def _send_async(url: str, count: int, timeout_s: float, pause_s: float) -> list[Result]:
    async def run() -> list[Result]:
        transport = AsyncTransport(url, HEADERS)
        results: list[Result] = []
        for _ in range(count):
            results.append(await transport.send(POST, timeout_s))
            await asyncio.sleep(pause_s)
        await transport.close()
        return results

    return asyncio.run(run())


@pytest.fixture(params=[_send_blocking, _send_async], ids=["sync", "async"])
def send(request: pytest.FixtureRequest) -> Sender:
    """Sends a request so many times over one transport."""
    run = request.param

    def sender(
        url: str, *, count: int = 1, timeout_s: float = 5.0, pause_s: float = 0.0
    ) -> list[Result]:
        results: list[Result] = run(url, count, timeout_s, pause_s)
        return results

    return sender


def test_a_request_arrives_as_it_was_meant(send: Sender) -> None:
    """Method, target, headers of the client and of the call, and the body's bytes."""
    with ScriptedServer(answer(201, {"id": "a"})) as server:
        (result,) = send(server.url)
        (got,) = server.got
    assert isinstance(result, Response)
    assert (result.status, result.document()) == (201, {"id": "a"})
    assert result.headers["request-id"] == "req_abc"
    assert (got.method, got.target, got.body) == ("POST", "/v1/payments?a=b%2Bc", b"{}")
    assert got.headers["authorization"] == "Bearer sk_test_secret"
    assert got.headers["x-own"] == "1"


def test_a_connection_is_used_again(send: Sender) -> None:
    """Request after request goes over the same connection."""
    with ScriptedServer(answer(200, {})) as server:
        send(server.url, count=3)
        assert [got.connection for got in server.got] == [0, 0, 0]


def test_a_connection_that_the_server_closes_is_not_used_again(send: Sender) -> None:
    """``Connection: close`` is obeyed, and the answer before it is read to its end."""
    with ScriptedServer(answer(200, {"a": "b" * 100_000}, is_closed=True)) as server:
        results = send(server.url, count=2)
        assert [got.connection for got in server.got] == [0, 1]
    assert [isinstance(result, Response) for result in results] == [True, True]


def test_nobody_there_means_nothing_was_sent(send: Sender) -> None:
    """A refused connection had no effect for sure."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    (result,) = send(f"http://127.0.0.1:{port}")
    assert isinstance(result, NoAnswer)
    assert not result.was_sent


@pytest.mark.parametrize(
    "reply",
    [
        Reply(is_reset=True),
        Reply(is_closed=True),
        Reply(b"HTTP/1.1 201 Created\r\nContent-Le", is_closed=True),
        Reply(b'HTTP/1.1 201 Created\r\nContent-Length: 99\r\n\r\n{"id": ', is_closed=True),
        Reply(b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{}", is_closed=True),
        Reply(b"no HTTP at all\r\n\r\n", is_closed=True),
    ],
    ids=["reset", "closed", "cut head", "cut body", "cut chunk", "nonsense"],
)
def test_a_cut_answer_is_none_and_may_have_had_its_effect(send: Sender, reply: Reply) -> None:
    """Half an answer is never taken for a whole one."""
    with ScriptedServer(reply) as server:
        (result,) = send(server.url)
    assert isinstance(result, NoAnswer)
    assert result.was_sent
    assert "secret" not in result.reason


@pytest.mark.parametrize("piece_bytes", [0, 1], ids=["silent", "byte by byte"])
def test_an_answer_that_is_late_ends_in_time(send: Sender, piece_bytes: int) -> None:
    """The time is for the whole exchange, however slowly the bytes come."""
    slow = answer(200, {"a": "b" * 1_000})
    reply = slow._replace(pause_s=0.05 if piece_bytes else 60.0, piece_bytes=piece_bytes)
    with ScriptedServer(reply) as server:
        began_s = time.monotonic()
        (result,) = send(server.url, timeout_s=0.5)
        assert time.monotonic() - began_s < 3.0
    assert isinstance(result, NoAnswer)
    assert result.was_sent


def test_an_answer_without_bounds_is_not_read_to_its_end(send: Sender) -> None:
    """A broken server can't fill the storefront's memory."""
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {ANSWER_BYTES_MAX * 2}\r\n\r\n".encode()
    with ScriptedServer(Reply(head + b"a" * (ANSWER_BYTES_MAX + 100))) as server:
        (result,) = send(server.url, timeout_s=20.0)
    assert isinstance(result, NoAnswer)


def test_a_redirect_is_an_answer_and_not_followed(send: Sender) -> None:
    """The API key goes to nobody but the gateway."""
    with ScriptedServer(answer(302, {}, Location="http://127.0.0.1:1/")) as server:
        (result,) = send(server.url)
        assert len(server.got) == 1
    assert isinstance(result, Response)
    assert result.status == 302


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for this machine that nobody has signed, and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a test")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "certificate.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + private)
    return path


@pytest.mark.parametrize("is_trusted", [True, False])
def test_a_certificate_is_verified_before_anything_is_sent(
    send: Sender, certificate: Path, monkeypatch: pytest.MonkeyPatch, is_trusted: bool
) -> None:
    """The key goes to a gateway that the machine's authorities vouch for, and to nobody else."""
    if is_trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    with ScriptedServer(answer(200, {"a": "b" * 100_000}), tls=tls) as server:
        results = send(server.url, count=2)
        assert [got.connection for got in server.got] == [0, 0] * is_trusted
    assert [isinstance(result, Response) for result in results] == [is_trusted] * 2
    assert not any(isinstance(result, NoAnswer) and result.was_sent for result in results)


def test_threads_share_a_blocking_transport() -> None:
    """Each request has a connection to itself, and gets its own answer."""
    with ScriptedServer(answer(200, {})._replace(pause_s=0.05)) as server:
        transport = SyncTransport(server.url, HEADERS)
        results: list[Result] = []
        threads = [
            threading.Thread(target=lambda: results.append(transport.send(POST, 5.0)))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        transport.close()
    assert [isinstance(result, Response) for result in results] == [True] * 8


def test_a_forked_child_opens_a_connection_of_its_own() -> None:
    """Parent and child never mix their requests on one connection."""
    with ScriptedServer(answer(200, {})) as server:
        transport = SyncTransport(server.url, HEADERS)
        transport.send(POST, 5.0)
        child = os.fork()
        if child == 0:
            result = transport.send(POST, 5.0)
            os._exit(0 if isinstance(result, Response) else 1)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        transport.send(POST, 5.0)
        transport.close()
        assert [got.connection for got in server.got] == [0, 1, 0]
