"""The queue's settings, the names on its server, and its scripts."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import pytest

from storage.queue import QueueSettings, QueueSettingsInvalid
from storage.queue_keys import record_key, stream_key
from storage.queue_settings import QueueMode
from storage.redis_script import RedisScript

VALID = QueueSettings(
    url="redis://127.0.0.1:7001/2",
    replicas_awaited=1,
    replica_count=2,
    stream_length_max=10,
    record_count_max=100,
)


def test_an_address_has_all_its_parts() -> None:
    """Host, port, database, TLS and credentials come from one URL, a separate password wins."""
    address = VALID.address()
    assert (address.host, address.port, address.database) == ("127.0.0.1", 7001, 2)
    assert (address.has_tls, address.username, address.password) == (False, None, None)
    address = replace(VALID, url="rediss://gate:p%40ss@queue").address()
    assert (address.host, address.port, address.database) == ("queue", 6379, 0)
    assert (address.has_tls, address.username, address.password) == (True, "gate", "p@ss")
    assert replace(VALID, url="redis://:one@queue", password="two").address().password == "two"


def test_a_password_is_not_shown() -> None:
    """Settings may be logged."""
    settings = replace(VALID, url="redis://:hidden@queue", password="hidden")
    assert "hidden" not in f"{settings!r} {settings.address()!r}"


def test_every_server_is_reached_with_the_same_credentials() -> None:
    """The other addresses differ in host and port alone; Sentinels have a password of their own."""
    settings = replace(
        VALID,
        url="rediss://gate:secret@queue:1/3",
        replica_count=1,
        other_addresses=("other:2", "[::1]:3"),
        mode=QueueMode.SENTINEL,
        sentinel_addresses=("watch:4",),
        sentinel_name="orders",
        sentinel_password="theirs",
    )
    first, *others = settings.addresses()
    assert [(a.host, a.port) for a in (first, *others)] == [("queue", 1), ("other", 2), ("::1", 3)]
    assert all(replace(a, host="queue", port=1) == first for a in others)
    (sentinel,) = settings.sentinels()
    assert (sentinel.host, sentinel.port, sentinel.has_tls) == ("watch", 4, True)
    assert (sentinel.username, sentinel.password, sentinel.database) == (None, "theirs", 0)
    assert "theirs" not in repr(settings)


@pytest.mark.parametrize(
    "changes",
    [
        {"replicas_awaited": 3},
        {"replicas_awaited": -1},
        {"stream_length_max": 0},
        {"record_count_max": 10},
        {"connect_timeout_s": 0.0},
        {"reply_timeout_s": -1.0},
        {"url": "http://queue"},
        {"url": "redis://"},
        {"url": "redis://queue:notaport"},
        {"url": "redis://queue/name"},
        {"url": "redis://queue?db=1"},
        {"other_addresses": ("queue",)},
        {"other_addresses": ("queue:port",)},
        {"probe_timeout_s": 0.0},
        {"mode": QueueMode.CLUSTER},
        {"sentinel_addresses": ("watch:1",)},
        {"mode": QueueMode.SENTINEL, "replica_count": 1},
        {"mode": QueueMode.SENTINEL, "replica_count": 1, "sentinel_addresses": ("watch:1",)},
    ],
)
def test_contradictions_are_refused(changes: dict[str, object]) -> None:
    """A queue that could acknowledge nothing, or take nothing, does not start."""
    with pytest.raises(QueueSettingsInvalid):
        replace(VALID, **changes)  # type: ignore[arg-type]


def test_keys_of_a_partition_share_a_slot() -> None:
    """The names are a contract with what is already on the server."""
    key = UUID("0190a5b0-5c3e-7c1a-9c64-1f0d4b0a9c11")
    assert stream_key(17) == b"{p017}:orders"
    assert record_key(17, key) == b"{p017}:key:0190a5b0-5c3e-7c1a-9c64-1f0d4b0a9c11"


@pytest.mark.parametrize("name", ["append", "find"])
def test_scripts_come_with_the_package(name: str) -> None:
    """A script is found where the package is installed, and named as the server will name it."""
    script = RedisScript.from_package(name)
    assert script.source.startswith(f"-- {name}:".encode())
    assert len(script.sha) == 40
