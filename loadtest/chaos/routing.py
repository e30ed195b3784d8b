"""Where the stack's processes are sent: through the proxy, by the overrides of its configuration."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from loadtest.chaos.proxy.modes import Route
from ops.local.layout import StackHome
from ops.local.ports import claim_ports, free_port
from ops.stack.config_file import CONFIG_FILE, OVERRIDES_FILE, write_config
from ops.stack.toml import render_toml

_ADDRESS = re.compile(r"127\.0\.0\.1:([0-9]+)")

_HEADER = "The way to every server leads through the proxy of `tally chaos`."


@dataclass(frozen=True, slots=True, kw_only=True)
class Routing:
    """The proxy's routes, and where the load finds the gateway."""

    routes: list[Route]
    gateway_port: int
    psp_ports: Mapping[str, int]
    """The simulators' own ports, for what must reach them whatever the proxy does."""


def route_through_proxy(
    home: StackHome,
    *,
    gateway_count: int,
    host_count: int,
    settings: Mapping[str, Mapping[str, Any]],
) -> Routing:
    """Choose ports and write the overrides of a home in which nothing runs yet."""
    ports = claim_ports(home, 0)
    write_config(home, ports, (ports["valkey_1"], ports["valkey_2"]), {})
    document = tomllib.loads((home.root / CONFIG_FILE).read_text(encoding="utf-8"))
    taken = set(ports.values())
    servers = _servers(document)
    routes: list[Route] = []
    for server, port in servers.items():
        listen_port = free_port(taken)
        taken.add(listen_port)
        client = "client" if server == "gateway" else None
        routes.append(Route(server=server, listen_port=listen_port, port=port, client=client))
    moved = {route.port: route.listen_port for route in routes if route.client is None}
    sections: dict[str, Any] = {
        "gateway": {"process_count": gateway_count, **settings.get("gateway", {})},
        "actors": {"host_count": host_count, **settings.get("actors", {})},
        "redis": _proxied(_plain(document["redis"]), moved),
        "postgres.shards": [_proxied(shard, moved) for shard in document["postgres"]["shards"]],
        "psps": [_proxied(psp, moved) for psp in document["psps"]],
        **{name: table for name, table in settings.items() if name not in ("gateway", "actors")},
    }
    text = render_toml(sections, header=_HEADER)
    (home.root / OVERRIDES_FILE).write_text(text, encoding="utf-8")
    return Routing(
        routes=routes,
        gateway_port=next(route.listen_port for route in routes if route.server == "gateway"),
        psp_ports={name: port for name, port in servers.items() if name.startswith("psp_")},
    )


def _servers(document: Mapping[str, Any]) -> dict[str, int]:
    """The port of each server that the configuration names."""
    redis = document["redis"]
    named = {"gateway": int(document["gateway"]["port"])}
    for number, address in enumerate([redis["address"], *redis["replica_addresses"]], start=1):
        named[f"redis_{number}"] = _port_of(address)
    (shard,) = document["postgres"]["shards"]
    for number, address in enumerate(shard["addresses"], start=1):
        named[f"postgres_{number}"] = _port_of(address)
    for letter, psp in zip("abcdefgh", document["psps"], strict=False):
        if psp.get("url"):
            named[f"psp_{letter}"] = _port_of(psp["url"])
    return named


def _port_of(text: str) -> int:
    found = _ADDRESS.search(text)
    if found is None:
        raise ValueError(f"{text!r} names no port on loopback")
    return int(found[1])


def _plain(section: Mapping[str, Any]) -> dict[str, Any]:
    """A section without the tables in it."""
    return {key: value for key, value in section.items() if not isinstance(value, dict)}


def _proxied(table: Mapping[str, Any], moved: Mapping[int, int]) -> dict[str, Any]:
    """The table with every address that has a route replaced by the proxy's."""

    def moved_text(value: Any) -> Any:
        if isinstance(value, list):
            return [moved_text(item) for item in value]
        if not isinstance(value, str):
            return value
        return _ADDRESS.sub(
            lambda found: f"127.0.0.1:{moved.get(int(found[1]), int(found[1]))}", value
        )

    return {key: moved_text(value) for key, value in table.items()}
