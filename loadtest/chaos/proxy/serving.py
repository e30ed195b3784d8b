"""The proxy itself: a port for each server, an edge for each kind of client, orders over a Unix socket."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from loadtest.chaos.proxy.edge import Edge, Link
from loadtest.chaos.proxy.modes import (
    CLIENTS,
    PASS,
    EdgeState,
    Order,
    OrderDone,
    ProxyJob,
    Route,
    edge_name,
)
from loadtest.chaos.proxy.namespaces import sockets_in
from loadtest.chaos.proxy.peers import Peers
from loadtest.chaos.proxy.sockets import short_path

HOST = "127.0.0.1"
# Gateways and hosts connect some tens at once when a server comes back.
BACKLOG = 1_024
# Who connects from inside a node: a whole other network, whose sockets are in no table of ours.
NODE_CLIENT = "host"

_ORDER = msgspec.json.Decoder(Order)


class Proxy:
    """Serves routes until it is closed."""

    def __init__(self, routes: list[Route]) -> None:
        self._routes = routes
        self.edges = {
            name: Edge(name)
            for route in routes
            for name in (
                edge_name(client, route.server)
                for client in ([route.client] if route.client else CLIENTS)
            )
        }
        self._peers = Peers()
        self._servers: list[asyncio.Server] = []
        self._in_node: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, control_path: Path) -> None:
        """Listen on every route's port, and for orders. Raises OSError for a port that is taken."""
        for route in self._routes:
            self._servers.append(
                await asyncio.start_server(
                    lambda reader, writer, route=route: self._begin(route, reader, writer),  # type: ignore[misc]
                    HOST,
                    route.listen_port,
                    backlog=BACKLOG,
                )
            )
        with short_path(control_path) as path:
            self._servers.append(await asyncio.start_unix_server(self._obey, path))

    async def close(self) -> None:
        """Stop listening and end every connection."""
        for server in (*self._servers, *self._in_node):
            server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def listen_in(self, node: str) -> None:
        """Serve every route that is not a client's inside a network namespace too, or in none any more.

        Raises OSError.
        """
        for server in self._in_node:
            server.close()
        self._in_node.clear()
        if not node:
            return
        routes = [route for route in self._routes if route.client is None]
        ports = [route.listen_port for route in routes]
        for route, listening in zip(
            routes, sockets_in(Path(node), HOST, ports, BACKLOG), strict=True
        ):
            of_node = msgspec.structs.replace(route, client=NODE_CLIENT)
            self._in_node.append(
                await asyncio.start_server(
                    lambda reader, writer, route=of_node: self._begin(route, reader, writer),  # type: ignore[misc]
                    sock=listening,
                )
            )

    def carry_out(self, order: Order) -> list[EdgeState]:
        """Do what is ordered; return the edges asked for. Raises KeyError for an unknown edge."""
        if order.edge is None:
            return [edge.state() for edge in self.edges.values()]
        edge = self.edges[order.edge]
        edge.set_mode(order.mode)
        return [edge.state()]

    def _begin(
        self, route: Route, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.create_task(self._serve(route, reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(
        self, route: Route, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if route.client is not None:
            await Link(self.edges[edge_name(route.client, route.server)], reader, writer).run(
                route.port
            )
            return
        peer_port = writer.get_extra_info("peername")[1]
        looking = asyncio.create_task(self._peers.client_of(peer_port, route.listen_port))
        edges = {client: self.edges[edge_name(client, route.server)] for client in CLIENTS}
        if any(edge.mode != PASS for edge in edges.values()):
            await Link(edges[await looking], reader, writer).run(route.port)
            return
        # While everything passes nobody has to wait until it is known who he is.
        link = Link(edges["other"], reader, writer)
        looking.add_done_callback(
            lambda done: None if done.cancelled() else link.move(edges[done.result()])
        )
        await link.run(route.port)

    async def _obey(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One order a line, one answer a line."""
        try:
            while line := await reader.readline():
                done = await self._done(_ORDER.decode(line))
                writer.write(msgspec.json.encode(done) + b"\n")
                await writer.drain()
        finally:
            writer.close()

    async def _done(self, order: Order) -> OrderDone:
        if order.node is not None:
            try:
                await self.listen_in(order.node)
            except OSError as fault:
                return OrderDone(edges=[], failed=str(fault))
        return OrderDone(edges=self.carry_out(order))


async def serve(job: ProxyJob, stop: asyncio.Event) -> None:
    """Run a proxy until told to stop."""
    proxy = Proxy(job.routes)
    await proxy.start(Path(job.control_path))
    try:
        await stop.wait()
    finally:
        await proxy.close()
