"""What an edge can be made to do to its connections. Pure: the plan draws from it, the proxy obeys it."""

from __future__ import annotations

from enum import StrEnum

import msgspec

CLIENTS = ("client", "gateway", "host", "other")
"""Who connects. ``other`` is whatever is not told apart: it never suffers."""


class ModeName(StrEnum):
    """How the connections of an edge behave."""

    PASS = "pass"  # noqa: S105  # a word of the wire
    DELAY = "delay"
    """Every piece, in both directions, comes ``value`` ms late."""
    STALL = "stall"
    """Nothing passes, connections stay open, and what waited passes afterwards."""
    RESET = "reset"
    """Open connections, and new ones, are reset."""
    CUT = "cut"
    """Each connection is reset when ``value`` further bytes of replies have passed."""
    HALF_OPEN = "half_open"
    """The far side is gone and the near side is never told: its connections are dead for ever."""
    BANDWIDTH = "bandwidth"
    """``value`` bytes a second in each direction of each connection."""


class Mode(msgspec.Struct, frozen=True, kw_only=True):
    """A mode with its number, in the unit that the mode's name says."""

    name: ModeName = ModeName.PASS
    value: int = 0


PASS = Mode()


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """One server behind the proxy."""

    server: str
    listen_port: int
    port: int
    client: str | None = None
    """Who connects there, where that is known; else it is looked up for each connection."""


class ProxyJob(msgspec.Struct, frozen=True, kw_only=True):
    """What a proxy process is told at its start."""

    control_path: str
    routes: list[Route]


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """A change of one edge, or, without an edge, a question."""

    edge: str | None = None
    mode: Mode = PASS
    node: str | None = None
    """The path of a network namespace: listen there, too, and there alone; "" listens in none any more."""


class EdgeState(msgspec.Struct, frozen=True, kw_only=True):
    """One edge as it is now; counts are since the proxy's start."""

    edge: str
    mode: Mode
    open_count: int
    """Connections open now."""
    made_count: int
    hurt_count: int
    """Connections that a mode reset, cut or left for dead."""
    bytes_forwarded: int


class OrderDone(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to an order."""

    edges: list[EdgeState]
    failed: str = ""
    """Why it could not be carried out."""


def edge_name(client: str, server: str) -> str:
    """How an edge is called everywhere: ``host->redis_1``."""
    return f"{client}->{server}"
