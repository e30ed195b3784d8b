"""What the tests of the local servers share: asking a stack, and waiting for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from ops.local.leftovers import marked_leftovers
from ops.local.resp import Reply, ask
from ops.local.stores import LocalStores, store_directories

StartStores = Callable[[], Awaitable[LocalStores]]


def quiet(_: str) -> None:
    """Progress that nobody reads."""


def living(stores: LocalStores) -> list[int]:
    """The pids of everything that the stack runs, Postgres' own children included."""
    home = stores.home
    found = marked_leftovers(home.stack_id(), store_directories(home))
    return [leftover.identity.pid for leftover in found]


async def until(is_true: Callable[[], bool], timeout_s: float = 20.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not is_true():
        assert time.monotonic() < deadline_s, "not in time"
        await asyncio.sleep(0.05)


async def on_standby(stores: LocalStores, sql: str) -> str:
    postgres = stores.postgres
    return await postgres.standby.query(sql, database="tallystick", passfile=postgres.passfile)


async def set_key(stores: LocalStores, name: str, value: str) -> None:
    valkey = stores.valkey
    commands = (("SET", name, value), ("WAIT", "1", "2000"))
    assert await ask(valkey.primary.port, valkey.password, *commands) == ["OK", 1]


async def get_key(stores: LocalStores, port: int, name: str) -> Reply:
    return (await ask(port, stores.valkey.password, ("GET", name)))[0]
