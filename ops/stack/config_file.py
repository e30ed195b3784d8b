"""The stack's configuration file: written at each start from its ports, secrets and overrides."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ops.local.durable import write_durably
from ops.local.layout import StackHome
from ops.local.ports import LOOPBACK
from ops.stack.toml import render_toml
from runtime.config import Config, ConfigError, load_config

CONFIG_FILE = "tallystick.toml"
OVERRIDES_FILE = "overrides.toml"

PARTITION_COUNT = 16
PSP_NAME = "simulator"
"""The first of the stack's PSPs: the one that takes a payment when all is well."""

PSP_PORTS: Mapping[str, str] = {PSP_NAME: "psp_simulator", "simulator_b": "psp_simulator_b"}
"""The stack's PSPs in the order in which they are asked, and the name of each one's port."""


class SimulatorManner(NamedTuple):
    """How one of the stack's simulators differs from the others, in price and for ``tok_varied``."""

    cost_basis_points: int
    cost_fixed: int
    """In minor units, whatever the currency."""
    varied: Mapping[str, str]
    """By sandbox token: the share of ``tok_varied`` that fares so."""


PSP_MANNERS: Mapping[str, SimulatorManner] = {
    PSP_NAME: SimulatorManner(
        140, 10, {"tok_decline_issuer_unavailable": "0.2", "tok_slow_400": "0.3"}
    ),
    "simulator_b": SimulatorManner(290, 30, {"tok_decline_issuer_unavailable": "0.02"}),
}
"""The first is cheap, often slow, and often declines so that another may be asked; the second is dear and
dependable. Every other token does the same at both."""

# What the fixed part of a simulator's price is told in.
_COST_CURRENCIES = ("EUR", "GBP", "USD")

_SECRETS: Mapping[tuple[str, str], str] = {
    ("postgres", "gateway_password_file"): "postgres_gateway",
    ("postgres", "owner_password_file"): "postgres_owner",
    ("postgres", "reader_password_file"): "postgres_reader",
    ("redis", "password_file"): "valkey",
    ("secrets", "api_key_pepper_file"): "api_key_pepper",
    ("secrets", "fingerprint_key_file"): "fingerprint_key",
}
RAY_TOKEN = "ray_token"  # noqa: S105  # a file's name

_HEADER = f"""\
The configuration of this local stack, written anew by every `tally up`.
Changes made here are lost: put yours into {OVERRIDES_FILE} beside this file, or into variables
such as TALLY__GATEWAY__PROCESS_COUNT=2. docs/configuration.md explains every key.
"""


def webhook_secret_name(psp: str) -> str:
    """The file, among a home's secrets, of what signs a PSP's webhooks."""
    return f"psp_webhook_{psp}"


def write_config(
    home: StackHome,
    ports: Mapping[str, int],
    redis_ports: tuple[int, int],
    environment: Mapping[str, str],
) -> Config:
    """Write the file, make the secrets that it names, and return what it says.

    ``redis_ports`` are those of the present primary and its replica.

    Raises ConfigError when the overrides, or the variables, don't fit.
    """
    for name in [*_SECRETS.values(), RAY_TOKEN, *map(webhook_secret_name, PSP_PORTS)]:
        home.secret(name)
    overrides_path = home.root / OVERRIDES_FILE
    document = _defaults(home, ports, redis_ports)
    _override(document, overrides_path)
    _write(home, document)
    try:
        return read_config(home.root, environment)
    except ConfigError as error:
        if not overrides_path.exists():
            raise
        # The file is ours, the mistake is not: whose it is shows when the overrides are left out.
        _write(home, _defaults(home, ports, redis_ports))
        read_config(home.root, environment)
        reason = str(error).removeprefix(f"configuration {home.root / CONFIG_FILE}: ")
        raise ConfigError(f"{overrides_path}: {reason}") from error


def _write(home: StackHome, document: Mapping[str, Any]) -> None:
    write_durably(home.root / CONFIG_FILE, render_toml(_flat(document), header=_HEADER))


def read_config(root: Path, environment: Mapping[str, str]) -> Config:
    """The configuration of the stack at `root`. Raises ConfigError."""
    return load_config(root / CONFIG_FILE, environment)


def _defaults(
    home: StackHome, ports: Mapping[str, int], redis_ports: tuple[int, int]
) -> dict[str, Any]:
    document: dict[str, Any] = {
        "deployment": {
            "id": home.stack_id(),
            "partition_count": PARTITION_COUNT,
            "is_sandbox": True,
        },
        "postgres": {},
        "redis": {
            "address": f"{LOOPBACK}:{redis_ports[0]}",
            "replica_addresses": [f"{LOOPBACK}:{redis_ports[1]}"],
        },
        "gateway": {
            "host": LOOPBACK,
            "port": ports["gateway"],
            "metrics_port": ports["metrics"],
        },
        "actors": {},
        "psps": [
            {
                "name": name,
                "kind": "simulator",
                "url": f"http://{LOOPBACK}:{ports[port_name]}",
                "webhook_secret_files": [f"{home.secrets.name}/{webhook_secret_name(name)}"],
                "cost_basis_points": PSP_MANNERS[name].cost_basis_points,
                "cost_fixed": dict.fromkeys(_COST_CURRENCIES, PSP_MANNERS[name].cost_fixed),
            }
            for name, port_name in PSP_PORTS.items()
        ],
        "ray": {
            "address": f"{LOOPBACK}:{ports['ray_gcs']}",
            "token_file": f"{home.secrets.name}/{RAY_TOKEN}",
        },
        "secrets": {},
    }
    for (section, key), name in _SECRETS.items():
        document[section][key] = f"{home.secrets.name}/{name}"
    document["postgres"]["shards"] = [
        {
            "name": "shard-0",
            "partition_first": 0,
            "partition_end": PARTITION_COUNT,
            "addresses": [f"{LOOPBACK}:{ports[name]}" for name in ("postgres_1", "postgres_2")],
        }
    ]
    return document


def _override(document: dict[str, Any], path: Path) -> None:
    """Lay the operator's file over the defaults, key by key; lists are replaced whole."""
    try:
        overrides = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
    for name, value in overrides.items():
        if isinstance(value, dict) and isinstance(document.get(name), dict):
            document[name].update(value)
        else:
            document[name] = value


def _flat(document: Mapping[str, Any]) -> dict[str, Any]:
    """Sections as TOML wants them: a table within a section comes under its dotted name."""
    flat: dict[str, Any] = {}
    for name, section in document.items():
        if not isinstance(section, dict):
            flat[name] = section
            continue
        flat[name] = {key: value for key, value in section.items() if not _is_section(value)}
        flat.update(
            {f"{name}.{key}": value for key, value in section.items() if _is_section(value)}
        )
    return flat


def _is_section(value: object) -> bool:
    is_tables = isinstance(value, list) and any(isinstance(item, dict) for item in value)
    return is_tables or isinstance(value, dict)
