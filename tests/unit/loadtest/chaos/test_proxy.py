"""The fault proxy on real sockets: every mode does to a connection what its name says."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from loadtest.chaos.failures import NotPossible
from loadtest.chaos.proxy.client import ProxyProcess
from loadtest.chaos.proxy.modes import PASS, Mode, ModeName, Order, Route
from loadtest.chaos.proxy.peers import Pair, Peers, client_of_command, clients_of
from loadtest.chaos.proxy.serving import Proxy
from ops.local.ports import free_port
from ops.local.process import run_tool

EDGE = "client->echo"

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Connect = Callable[[], Awaitable[Streams]]


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


@asynccontextmanager
async def proxied(tmp_path: Path) -> AsyncIterator[tuple[Proxy, Connect]]:
    """A proxy before a server that sends back what it gets, and a way to connect through it."""
    opened: list[asyncio.StreamWriter] = []
    async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
        listen_port = free_port()
        port = server.sockets[0].getsockname()[1]
        route = Route(server="echo", listen_port=listen_port, port=port, client="client")
        proxy = Proxy([route])
        await proxy.start(tmp_path / "control.sock")

        async def connect() -> Streams:
            streams = await asyncio.open_connection("127.0.0.1", listen_port)
            opened.append(streams[1])
            return streams

        try:
            yield proxy, connect
        finally:
            for writer in opened:
                writer.transport.abort()
            await proxy.close()


def set_mode(proxy: Proxy, name: ModeName, value: int = 0) -> None:
    proxy.carry_out(Order(edge=EDGE, mode=Mode(name=name, value=value)))


async def asked(streams: Streams, data: bytes = b"ping", timeout_s: float = 5.0) -> bytes:
    reader, writer = streams
    writer.write(data)
    return await asyncio.wait_for(reader.readexactly(len(data)), timeout_s)


async def read_all(reader: asyncio.StreamReader, into: bytearray) -> None:
    while piece := await reader.read(100):
        into += piece


async def test_bytes_pass_unchanged_by_default(tmp_path: Path) -> None:
    """A proxy that nobody asked anything of is not noticed, and counts what it forwards."""
    async with proxied(tmp_path) as (proxy, connect):
        data = os.urandom(300_000)
        assert await asked(await connect(), data) == data
        (state,) = proxy.carry_out(Order(edge=EDGE))
        assert state.bytes_forwarded == 2 * len(data)
        assert (state.open_count, state.made_count, state.hurt_count) == (1, 1, 0)


async def test_a_delay_comes_in_each_direction(tmp_path: Path) -> None:
    """A round trip over an edge with 100 ms takes 200 ms."""
    async with proxied(tmp_path) as (proxy, connect):
        streams = await connect()
        await asked(streams)
        set_mode(proxy, ModeName.DELAY, 100)
        before_s = time.monotonic()
        await asked(streams)
        assert 0.2 <= time.monotonic() - before_s < 2.0


async def test_what_was_stalled_comes_after_the_heal(tmp_path: Path) -> None:
    """A stalled edge keeps its connections, and loses nothing that was on the way."""
    async with proxied(tmp_path) as (proxy, connect):
        streams = await connect()
        await asked(streams)
        set_mode(proxy, ModeName.STALL)
        streams[1].write(b"late")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(streams[0].readexactly(4), 0.2)
        proxy.carry_out(Order(edge=EDGE, mode=PASS))
        assert await asyncio.wait_for(streams[0].readexactly(4), 5) == b"late"


async def test_a_reset_hits_open_and_new_connections(tmp_path: Path) -> None:
    """Whoever is connected, or connects, gets a reset and not a good end."""
    async with proxied(tmp_path) as (proxy, connect):
        streams = await connect()
        await asked(streams)
        set_mode(proxy, ModeName.RESET)
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(streams[0].read(1), 5)
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await asked(await connect())
        assert proxy.edges[EDGE].hurt_count == 2
        proxy.carry_out(Order(edge=EDGE, mode=PASS))
        assert await asked(await connect()) == b"ping"


async def test_a_cut_falls_after_so_many_bytes_of_reply(tmp_path: Path) -> None:
    """The request arrives whole; of its answer just as much as was ordered."""
    async with proxied(tmp_path) as (proxy, connect):
        streams = await connect()
        await asked(streams)
        set_mode(proxy, ModeName.CUT, 3)
        streams[1].write(b"abcdef")
        received = bytearray()
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(read_all(streams[0], received), 5)
        # What a reset overtakes in the kernel is lost; more than ordered never passes.
        assert b"abc".startswith(received)
        assert proxy.edges[EDGE].hurt_count == 1


async def test_a_half_open_connection_is_dead_for_ever(tmp_path: Path) -> None:
    """Its client hears nothing, not even after the heal; new connections then work."""
    async with proxied(tmp_path) as (proxy, connect):
        streams = await connect()
        await asked(streams)
        set_mode(proxy, ModeName.HALF_OPEN)
        during = await connect()
        proxy.carry_out(Order(edge=EDGE, mode=PASS))
        for dead in (streams, during):
            dead[1].write(b"ping")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(dead[0].read(1), 0.3)
        assert await asked(await connect()) == b"ping"
        assert proxy.edges[EDGE].hurt_count == 2


async def test_a_half_open_connection_goes_when_its_client_gives_up(tmp_path: Path) -> None:
    """Dead connections don't pile up in the proxy."""
    async with proxied(tmp_path) as (proxy, connect):
        _, writer = await connect()
        set_mode(proxy, ModeName.HALF_OPEN)
        async with asyncio.timeout(5):
            while not proxy.edges[EDGE].links:
                await asyncio.sleep(0.01)
            writer.close()
            while proxy.edges[EDGE].links:
                await asyncio.sleep(0.05)


async def test_bandwidth_is_bounded(tmp_path: Path) -> None:
    """100 kB at 200 kB/s take half a second there, and as long back."""
    async with proxied(tmp_path) as (proxy, connect):
        streams = await connect()
        set_mode(proxy, ModeName.BANDWIDTH, 200_000)
        before_s = time.monotonic()
        await asked(streams, bytes(100_000))
        assert time.monotonic() - before_s >= 0.45


async def test_a_server_that_is_away_ends_the_connection(tmp_path: Path) -> None:
    """A proxy invents no life: without its server, whoever connects is told at once."""
    route = Route(server="gone", listen_port=free_port(), port=free_port(), client="client")
    proxy = Proxy([route])
    await proxy.start(tmp_path / "control.sock")
    reader, writer = await asyncio.open_connection("127.0.0.1", route.listen_port)
    assert await asyncio.wait_for(reader.read(1), 5) == b""
    writer.close()
    await proxy.close()


def test_clients_are_told_apart_by_their_command() -> None:
    """Gateways and hosts, plain and in Ray, are recognised; nobody else is."""
    python = "/usr/bin/python\0-P\0-m\0"
    assert client_of_command(f"{python}gateway\0--config\0x") == "gateway"
    assert client_of_command(f"{python}actors\0host\0--config\0x") == "host"
    assert client_of_command("ray::HostActor.run") == "host"
    assert client_of_command(f"{python}actors\0supervisor\0") == "other"
    assert client_of_command(f"{python}ops.stack\0--home\0x") == "other"
    assert client_of_command("") == "other"


async def test_a_connection_of_ours_is_not_a_gateways() -> None:
    """A look through /proc finds no gateway behind a test's own socket."""
    async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        own_port = writer.get_extra_info("sockname")[1]
        assert clients_of([(own_port, port)]) == {}
        assert await Peers().client_of(own_port, port) == "other"
        writer.close()
        await writer.wait_closed()


async def test_a_gateway_is_found_behind_its_socket(tmp_path: Path) -> None:
    """A process that runs as ``-m gateway`` is told by the port that it connects from."""
    (tmp_path / "gateway.py").write_text(
        "import socket, sys\n"
        "one = socket.create_connection(('127.0.0.1', int(sys.argv[1])))\n"
        "one.recv(1)\n"
    )
    connected: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()
    async with await asyncio.start_server(
        lambda _, writer: connected.put_nowait(writer), "127.0.0.1", 0
    ) as server:
        port = server.sockets[0].getsockname()[1]
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gateway", str(port)), cwd=tmp_path
        )
        writer = await asyncio.wait_for(connected.get(), 20)
        peer_port = writer.get_extra_info("peername")[1]
        peers = Peers()
        found, unknown = await asyncio.gather(
            peers.client_of(peer_port, port), peers.client_of(1, port)
        )
        writer.close()
        await process.wait()
    assert (found, unknown) == ("gateway", "other")


async def test_many_connections_at_once_are_looked_up_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three hundred at one time are no fault: one pass over all processes is for many of them."""
    counts: list[int] = []

    def counted(pairs: list[Pair]) -> dict[Pair, str]:
        counts.append(len(pairs))
        return clients_of(pairs)

    monkeypatch.setattr("loadtest.chaos.proxy.peers.clients_of", counted)
    async with await asyncio.start_server(echo, "127.0.0.1", 0, backlog=1_024) as server:
        port = server.sockets[0].getsockname()[1]
        route = Route(server="echo", listen_port=free_port(), port=port)
        proxy = Proxy([route])
        await proxy.start(tmp_path / "control.sock")

        async def one() -> None:
            streams = await asyncio.open_connection("127.0.0.1", route.listen_port)
            assert await asked(streams) == b"ping"
            streams[1].close()

        try:
            await asyncio.gather(*(one() for _ in range(300)))
            assert proxy.edges["other->echo"].made_count == 300
        finally:
            await proxy.close()
    assert sum(counts) == 300
    assert max(counts) >= 10


async def test_who_connects_under_a_fault_meets_it_at_once(tmp_path: Path) -> None:
    """While any client of a server suffers, nobody is served before it is known who he is."""
    async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        route = Route(server="echo", listen_port=free_port(), port=port)
        proxy = Proxy([route])
        await proxy.start(tmp_path / "control.sock")
        reset = Mode(name=ModeName.RESET)
        proxy.carry_out(Order(edge="host->echo", mode=reset))
        streams = await asyncio.open_connection("127.0.0.1", route.listen_port)
        assert await asked(streams) == b"ping"
        streams[1].close()
        proxy.carry_out(Order(edge="other->echo", mode=reset))
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await asked(await asyncio.open_connection("127.0.0.1", route.listen_port))
        await proxy.close()


async def test_a_proxy_process_obeys_and_ends(tmp_path: Path) -> None:
    """In a process of its own it takes orders over its socket, and heals every edge at once."""
    async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        route = Route(server="echo", listen_port=free_port(), port=port, client="client")
        proxy = await ProxyProcess.start([route], tmp_path, tmp_path / "proxy.log")
        try:
            streams = await asyncio.open_connection("127.0.0.1", route.listen_port)
            assert await asked(streams) == b"ping"
            state = await proxy.set_mode(EDGE, Mode(name=ModeName.STALL))
            assert state.mode.name is ModeName.STALL
            streams[1].write(b"ping")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(streams[0].read(1), 0.2)
            await proxy.heal()
            assert await asyncio.wait_for(streams[0].readexactly(4), 5) == b"ping"
            assert [edge.mode for edge in await proxy.edges()] == [PASS]
        finally:
            await proxy.stop()
        assert await asyncio.wait_for(streams[0].read(1), 5) == b""
        streams[1].close()


NODE_CLIENT = """
import socket, sys
with socket.create_connection(("127.0.0.1", int(sys.argv[1])), 5.0) as link:
    for line in sys.stdin:
        link.sendall(line.encode())
        print(link.recv(100).decode(), end="", flush=True)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="a network namespace takes root")
@pytest.mark.skipif(shutil.which("ip") is None, reason="a network namespace takes iproute2's ip")
async def test_a_node_is_cut_off_without_being_told(tmp_path: Path) -> None:
    """What runs in a namespace reaches the proxy until its link goes down; and again once it is up."""
    node = f"tally-test-{os.getpid()}"
    await run_tool(["ip", "netns", "add", node])
    try:
        await run_tool(["ip", "-n", node, "link", "set", "lo", "up"])
        async with behind_proxy(tmp_path) as (proxy, listen_port):
            await proxy.listen_in(f"/run/netns/{node}")
            client = await asyncio.create_subprocess_exec(
                *("ip", "netns", "exec", node, sys.executable, "-c", NODE_CLIENT, str(listen_port)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
            )
            assert client.stdin is not None
            assert client.stdout is not None
            client.stdin.write(b"one\n")
            assert await asyncio.wait_for(client.stdout.readline(), 5.0) == b"one\n"
            assert proxy.edges["host->echo"].state().open_count == 1
            await run_tool(["ip", "-n", node, "link", "set", "lo", "down"])
            client.stdin.write(b"two\n")
            answer = asyncio.create_task(client.stdout.readline())
            await asyncio.sleep(0.3)
            assert not answer.done()
            assert client.returncode is None
            await run_tool(["ip", "-n", node, "link", "set", "lo", "up"])
            assert await asyncio.wait_for(answer, 5.0) == b"two\n"
            client.stdin.close()
            await client.wait()
            await proxy.listen_in("")
    finally:
        await run_tool(["ip", "netns", "delete", node])


async def test_a_node_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """The fault that wanted it is skipped with the reason, and the proxy goes on."""
    proxy = await ProxyProcess.start([], tmp_path, tmp_path / "proxy.log")
    try:
        with pytest.raises(NotPossible, match="no-such-node"):
            await proxy.listen_in(tmp_path / "no-such-node")
        assert await proxy.edges() == []
    finally:
        await proxy.stop()


@asynccontextmanager
async def behind_proxy(tmp_path: Path) -> AsyncIterator[tuple[Proxy, int]]:
    """A proxy on the way to a server that sends back what it gets; and the proxy's port."""
    async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
        listen_port = free_port()
        port = server.sockets[0].getsockname()[1]
        proxy = Proxy([Route(server="echo", listen_port=listen_port, port=port)])
        await proxy.start(tmp_path / "control.sock")
        try:
            yield proxy, listen_port
        finally:
            await proxy.close()
