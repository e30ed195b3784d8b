"""Which services one stack has, and how each is run."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from ops.http_probe import http_status
from ops.local.layout import StackHome
from ops.local.ports import LOOPBACK
from ops.local.process import ProcessSpec
from ops.stack.config_file import (
    CONFIG_FILE,
    PSP_MANNERS,
    PSP_PORTS,
    SimulatorManner,
    webhook_secret_name,
)
from ops.stack.environment import python_environment
from ops.stack.host_fleet import HostFleet, ReleaseLease
from ops.stack.services import ProcessService, python_module
from ops.stack.state import Role
from runtime.config import Config

# More than a host's own drain: it ends its calls and hands its partitions over.
_DRAIN_MARGIN_S = 5.0

# The first simulator draws references and latencies by it, and the others by the numbers after it: the same
# stack behaves the same way again.
SIMULATOR_SEED = 1


def simulator_services(
    home: StackHome, ports: Mapping[str, int], gateway_port: int, passed: Mapping[str, str]
) -> list[ProcessService]:
    """The PSP simulators, each with its own log in the stack's data. They know where webhooks go."""

    def arguments(name: str, port_name: str, place: int) -> list[str]:
        url = f"http://{LOOPBACK}:{gateway_port}/v1/psp/{name}/webhooks"
        return [
            *("--port", str(ports[port_name]), "--name", name),
            *("--data", str(home.data / port_name.replace("_", "-"))),
            *("--seed", str(SIMULATOR_SEED + place)),
            *("--webhook-url", url),
            *("--webhook-secret-file", str(home.secrets / webhook_secret_name(name))),
            *_manner(PSP_MANNERS[name]),
        ]

    return [
        _simulator_service(
            home, ports[port_name], port_name, passed, arguments(name, port_name, place)
        )
        for place, (name, port_name) in enumerate(PSP_PORTS.items())
    ]


def _manner(manner: SimulatorManner) -> list[str]:
    arguments = ["--fee-basis-points", str(manner.cost_basis_points)]
    arguments += ["--fee-fixed", str(manner.cost_fixed)]
    for token, share in manner.varied.items():
        arguments += ["--varied", f"{token}={share}"]
    return arguments


def _simulator_service(
    home: StackHome,
    port: int,
    port_name: str,
    passed: Mapping[str, str],
    arguments: Sequence[str],
) -> ProcessService:
    async def is_ready() -> bool:
        return await http_status(LOOPBACK, port, "/_oracle/totals") == 200

    argv = python_module("psp.simulator", *arguments)
    spec = ProcessSpec(name=port_name, argv=argv, env=python_environment(passed))
    return ProcessService(home, spec, Role.PSP_SIMULATOR, is_ready=is_ready)


def gateway_services(
    home: StackHome, config: Config, passed: Mapping[str, str]
) -> list[ProcessService]:
    """The gateway processes: one port for all, and one each to be asked alone."""
    return [
        _gateway_service(home, config, passed, index)
        for index in range(config.gateway.process_count)
    ]


def _gateway_service(
    home: StackHome, config: Config, passed: Mapping[str, str], index: int
) -> ProcessService:
    name = f"gateway-{index}"
    gateway = config.gateway
    # Without ports of their own they can only be asked together.
    own_port = gateway.metrics_port + index if gateway.metrics_port else gateway.port

    async def is_ready() -> bool:
        return await http_status(gateway.host, own_port, "/readyz") == 200

    argv = python_module("gateway", "--config", str(home.root / CONFIG_FILE), "--name", name)
    return ProcessService(
        home,
        ProcessSpec(name=name, argv=argv, env=python_environment(passed)),
        Role.GATEWAY,
        is_ready=is_ready,
        stop_timeout_s=gateway.drain_s + _DRAIN_MARGIN_S,
    )


def dispatcher_service(
    home: StackHome, config: Config, passed: Mapping[str, str]
) -> ProcessService:
    """Who delivers webhooks. Ready at once: what it finds late it delivers late."""
    argv = python_module("actors", "dispatcher", "--config", str(home.root / CONFIG_FILE))
    return ProcessService(
        home,
        ProcessSpec(name="dispatcher", argv=argv, env=python_environment(passed)),
        Role.DISPATCHER,
        stop_timeout_s=config.webhooks.drain_s + _DRAIN_MARGIN_S,
    )


def host_fleet(
    home: StackHome,
    config: Config,
    passed: Mapping[str, str],
    read_host_count: Callable[[], Coroutine[Any, Any, int | None]],
    release_lease: ReleaseLease,
) -> HostFleet:
    """Partition hosts without Ray."""

    def make_host(name: str) -> ProcessService:
        argv = python_module(
            "actors", "host", "--config", str(home.root / CONFIG_FILE), "--name", name
        )
        return ProcessService(
            home,
            ProcessSpec(name=name, argv=argv, env=python_environment(passed)),
            Role.HOST,
            stop_timeout_s=config.actors.drain_s + _DRAIN_MARGIN_S,
        )

    return HostFleet(make_host, read_host_count, release_lease, host_count=config.actors.host_count)
