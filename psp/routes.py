"""What the PSPs of a configuration take, and the routing table over them. No secret is needed for it."""

from __future__ import annotations

from payments.mode import Mode
from payments.routing import FREE, Cost, Route
from payments.routing_table import RoutingTable
from psp import sandbox_format
from psp.port import Capabilities
from psp.stripe import format as stripe_format
from runtime.config import Config, ConfigError
from runtime.psp_config import PspConfig


def capabilities_of(psp: PspConfig) -> Capabilities:
    """Return what a PSP promises. Raises ConfigError for a kind that there is not."""
    match psp.kind:
        case "simulator" | "in_process":
            return sandbox_format.CAPABILITIES
        case "stripe":
            return stripe_format.capabilities(is_live=psp.mode == "live")
        case _:
            raise ConfigError(f"psps: {psp.name}: unknown kind {psp.kind!r}")


def route_of(name: str, able: Capabilities, cost: Cost = FREE) -> Route:
    """Return what one PSP takes, and what it costs."""
    return Route(
        name,
        able.token_prefixes,
        able.currencies,
        able.minimum_minor,
        able.multiple_minor,
        Mode.TEST if able.is_sandbox else Mode.LIVE,
        cost,
    )


def table_of(config: Config) -> RoutingTable:
    """Return the routes and rules of a configuration. Raises ConfigError."""
    return RoutingTable(
        [route_of(psp.name, capabilities_of(psp), psp.cost) for psp in config.psps],
        [rule.rule() for rule in config.routing.rules],
        prefer=config.routing.prefer,
    )
