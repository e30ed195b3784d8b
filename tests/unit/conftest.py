"""Unit tests stay on this machine and start no cluster: reaching out fails, loudly."""

from __future__ import annotations

import ipaddress
import sys
from collections.abc import Iterator
from typing import Any

import pytest


class ReachedOut(AssertionError):
    """A unit test tried to leave the machine, or to start Ray."""


class _Watch:
    """Sees every connect of the interpreter. An audit hook can't be removed, so it is switched."""

    def __init__(self) -> None:
        self.is_on = False

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.is_on and event == "socket.connect" and not _is_local(arguments[1]):
            raise ReachedOut(f"a unit test connects to {arguments[1]!r}")


_watch = _Watch()
sys.addaudithook(_watch)


@pytest.fixture(autouse=True)
def _on_this_machine_alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # Nothing here imports Ray by itself: it takes a second, and the layers forbid it.
    if (ray := sys.modules.get("ray")) is not None:
        monkeypatch.setattr(ray, "init", _no_ray)
    _watch.is_on = True
    yield
    _watch.is_on = False


def _is_local(address: object) -> bool:
    """Whether the address is a Unix socket's, or on this machine."""
    if not isinstance(address, tuple):
        return True
    host = str(address[0])
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _no_ray(*_arguments: object, **_options: object) -> None:
    raise ReachedOut("a unit test calls ray.init")
