"""The daemon's care for its stores on real servers: promoted, rebuilt, frozen, without room."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import pytest

from ops.local.faults import DataRefused, LocalFault
from ops.local.pidfile import identity_of
from ops.local.ports import LOOPBACK
from ops.local.postgres import DATABASE
from ops.local.resp import RespError, ask
from ops.local.stores import LocalStores
from ops.stack import one_copy
from ops.stack.offline_promotion import promote_stopped
from ops.stack.store_requests import StoreAnswer, StoreRequest, ask_daemon
from ops.stack.store_serving import StoreCare
from runtime.clock import SystemClock
from storage.connections import Connector, ensure_server_marked, is_server_marked
from storage.one_copy import OneCopyWatch
from storage.read_pool import ReadPool
from tests.books import PASSWORDS, install_books
from tests.integration.stacks import StartStores, get_key, until

# What is promised, on an idle machine; tests share theirs with others.
REDIS_BACK_S_MAX = 5.0
POSTGRES_BACK_S_MAX = 10.0
BUSY_FACTOR = 2.0


class Site:
    """Stores under care, and what was told of them."""

    def __init__(self, stores: LocalStores) -> None:
        self.stores = stores
        self.problems: dict[str, str] = {}
        self.care = StoreCare(stores, self._report, clock=SystemClock())

    def _report(self, name: str, problem: str | None) -> None:
        self.problems.pop(name, None)
        if problem is not None:
            self.problems[name] = problem

    async def request(self, action: str, store: str, *, for_s: float = 0.0) -> StoreAnswer:
        """Ask as the command line does."""
        request = StoreRequest(action=action, store=store, actor="test", for_s=for_s)
        root = self.stores.home.root
        told = await asyncio.to_thread(ask_daemon, root, request, timeout_s=30)
        assert told is not None
        return told

    async def accept(self, name: str) -> bool:
        """Store a key as a gateway does: on both copies, or not acknowledged."""
        valkey = self.stores.valkey
        try:
            replies = await ask(
                valkey.primary.port, valkey.password, ("SET", name, "1"), ("WAIT", "1", "500")
            )
        except RespError:
            return False
        return replies == ["OK", 1]

    async def settle(self, number: int) -> bool:
        """Commit a row as a host does: on both copies."""
        try:
            await self.stores.postgres.query(f"INSERT INTO kept VALUES ({number})")
        except LocalFault:
            return False
        return True

    async def masters(self) -> list[str]:
        """Whoever says that it is the primary."""
        named: list[str] = []
        for node in (self.stores.valkey.primary, self.stores.valkey.replica):
            try:
                facts = await node.info("replication")
            except RespError:
                continue
            if facts["role"] == "master":
                named.append(node.name)
        return named

    async def until_whole(self) -> None:
        """Until both second copies are in sync and nothing is wrong."""

        def is_whole() -> bool:
            records = (self.stores.postgres.file.read(), self.stores.valkey.file.read())
            return not self.problems and all(record.in_sync for record in records)

        await until(is_whole, timeout_s=40)

    async def until_audited(self) -> None:
        """Until the books have all that they are to be told."""
        files = (self.stores.postgres.file, self.stores.valkey.file)
        await until(lambda: not any(file.read().audits_owed for file in files))


@asynccontextmanager
async def caring(stores: LocalStores) -> AsyncIterator[Site]:
    site = Site(stores)
    task = asyncio.create_task(site.care.run())
    try:
        yield site
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def seconds_until(works: Callable[[], Awaitable[bool]]) -> float:
    """How long it takes until something works again."""
    began_s = time.monotonic()
    while not await works():
        assert time.monotonic() - began_s < 60, "never"
        await asyncio.sleep(0.02)
    return time.monotonic() - began_s


async def test_lost_primaries_are_replaced_and_copied_anew(start_stores: StartStores) -> None:
    """With its data gone a primary is killed, frozen or not; the copy in sync leads with everything.

    The former one never says that it leads, follows the new one, and the next start keeps the roles.
    Lost while nothing runs, the copies lead by the operator's word.
    """
    stores = await start_stores()
    await install_books(stores.postgres.dsn(stores.postgres.superuser, stores.postgres.password))
    await stores.postgres.query("CREATE TABLE kept (n int PRIMARY KEY)")
    async with caring(stores) as site:
        for number in range(20):
            assert await site.accept(f"before-{number}")
            assert await site.settle(number)
        pids = [stores.valkey.primary.child().pid, stores.postgres.primary.child().pid]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        shutil.rmtree(stores.valkey.primary.directory)
        stores.postgres.primary.directory.rename(stores.home.data / "elsewhere")
        redis_s, postgres_s = await asyncio.gather(
            seconds_until(lambda: site.accept("after")), seconds_until(lambda: site.settle(100))
        )
        assert redis_s < REDIS_BACK_S_MAX * BUSY_FACTOR
        assert postgres_s < POSTGRES_BACK_S_MAX * BUSY_FACTOR
        assert all(identity_of(pid) is None for pid in pids)
        assert stores.valkey.primary.name == "valkey_2"
        assert stores.postgres.primary.name == "postgres_2"
        assert await site.masters() == ["valkey_2"]
        await site.until_whole()
        for number in range(20):
            assert await get_key(stores, stores.valkey.replica.port, f"before-{number}") == "1"
        assert await stores.postgres.query("SELECT count(*) FROM kept") == "21"
        await _assert_marked_anew(stores)
        await site.until_audited()
        actions = await stores.postgres.query("SELECT action, subject FROM audit ORDER BY subject")
        assert actions.splitlines() == ["stores.promote|postgres", "stores.promote|redis"]
    await stores.stop()
    stores = await start_stores()
    assert stores.valkey.primary.name == "valkey_2"
    assert stores.postgres.primary.name == "postgres_2"
    assert await stores.postgres.query("SELECT count(*) FROM kept") == "21"
    await stores.stop()
    await _promoted_while_stopped(start_stores, stores.home.root)


async def _promoted_while_stopped(start_stores: StartStores, root: Path) -> None:
    """When the primaries' data is lost while nothing runs, the operator's word promotes the copies."""
    shutil.rmtree(root / "data" / "postgres-2")
    shutil.rmtree(root / "data" / "valkey-2")
    with pytest.raises(DataRefused, match="tally stores promote"):
        await start_stores()
    for store in ("postgres", "redis"):
        told = await promote_stopped(
            root, store, actor="test", is_forced=False, clock=SystemClock()
        )
        assert "leads from the next start on" in told
    stores = await start_stores()
    for copies in (stores.postgres.file, stores.valkey.file):
        assert [audit.action for audit in copies.read().audits_owed] == ["stores.promote"]
    assert stores.valkey.primary.name == "valkey_1"
    assert stores.postgres.primary.name == "postgres_1"
    assert await stores.postgres.query("SELECT count(*) FROM kept") == "21"
    assert all(server.is_healthy for server in await stores.health())


async def _assert_marked_anew(stores: LocalStores) -> None:
    """A promoted server is a new one to owners: its own start has never been marked before."""
    postgres = stores.postgres
    dsn = postgres.failover_dsn(postgres.superuser, postgres.password)
    session = await Connector(dsn, application_name="tests").open()
    try:
        assert not await is_server_marked(session)
        await ensure_server_marked(session, "tests")
        assert await is_server_marked(session)
    finally:
        await session.close()


async def test_data_that_is_refused_is_replaced_and_kept_aside(start_stores: StartStores) -> None:
    """A primary whose data is damaged in the middle does not start; after three tries the other leads."""
    stores = await start_stores()
    async with caring(stores) as site:
        for number in range(50):
            assert await site.accept(f"before-{number}")
        primary = stores.valkey.primary
        assert primary.pid is not None
        (log,) = primary.manifest.parent.glob("*.incr.aof")
        content = bytearray(log.read_bytes())
        middle = len(content) // 2
        content[middle : middle + 64] = b"x" * 64
        log.write_bytes(content)
        os.kill(primary.pid, signal.SIGKILL)
        await seconds_until(lambda: site.accept("after"))
        assert stores.valkey.primary.name == "valkey_2"
        await site.until_whole()
        for number in range(50):
            assert await get_key(stores, stores.valkey.replica.port, f"before-{number}") == "1"
        assert (stores.home.data / "valkey-1.retired").is_dir()


@contextmanager
def kept_away(pid: int | None, port: int) -> Iterator[None]:
    """Kill a server and listen on its port before it is started again: it can't come back.

    Whoever connects is let go at once: a stranger that is silent costs each look its time limit.
    """
    assert pid is not None
    with socket.socket() as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        os.kill(pid, signal.SIGKILL)
        while True:
            try:
                stranger.bind((LOOPBACK, port))
                break
            except OSError:
                time.sleep(0.001)
        stranger.listen()
        turning_away = threading.Thread(target=_turn_away, args=(stranger,))
        turning_away.start()
        try:
            yield
        finally:
            stranger.shutdown(socket.SHUT_RDWR)
            turning_away.join()


def _turn_away(stranger: socket.socket) -> None:
    with suppress(OSError):  # it is shut down
        while True:
            stranger.accept()[0].close()


async def test_one_copy_is_accepted_for_a_time(
    start_stores: StartStores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the standby is away commits go on by the operator's word; then they wait for it again.

    Meanwhile nothing is promoted, and afterwards the standby must have caught up to be in sync.
    """
    monkeypatch.setattr(one_copy, "GRACE_S", 0.5)
    stores = await start_stores()
    postgres = stores.postgres
    await install_books(postgres.dsn(postgres.superuser, postgres.password))
    await postgres.query("CREATE TABLE kept (n int PRIMARY KEY)")
    async with caring(stores) as site:
        told = await site.request("accept_one_copy", "postgres", for_s=2)
        assert not told.is_done
        assert "nothing to accept" in told.text
        with kept_away(postgres.standby.pid, postgres.standby.port):
            await until(lambda: "is in use" in site.problems.get("postgres_2", ""))
            waiting = asyncio.create_task(site.settle(1))
            await asyncio.sleep(0.5)
            assert not waiting.done()
            told = await site.request("accept_one_copy", "postgres", for_s=2)
            assert told.is_done, told.text
            assert await waiting
            assert postgres.file.read().in_sync == []
            told = await site.request("promote", "postgres")
            assert not told.is_done
            told = await site.request("accept_one_copy", "redis", for_s=3)
            assert not told.is_done
            await until(lambda: postgres.file.read().one_copy is None)
            waiting = asyncio.create_task(site.settle(2))
            await asyncio.sleep(0.5)
            assert not waiting.done()
            assert postgres.file.read().in_sync == []
        assert await waiting
        await site.until_whole()
        await _accept_one_redis_copy(site)
        rows = await postgres.query("SELECT action, subject FROM audit", database=DATABASE)
        assert rows.splitlines() == [
            "stores.accept_one_copy|postgres",
            "stores.accept_one_copy|redis",
        ]


async def _accept_one_redis_copy(site: Site) -> None:
    """The gateways learn of it with the rights that they have, and of its end."""
    stores = site.stores
    dsn = stores.postgres.dsn("tally_gateway", PASSWORDS.gateway)
    pool = ReadPool(Connector(dsn, application_name="tests"), session_count_max=1)
    watch = OneCopyWatch(pool)
    session = await Connector(
        stores.postgres.dsn(stores.postgres.superuser, stores.postgres.password),
        application_name="tests",
    ).open_marked()
    await session.close()
    try:
        await watch.look()
        assert not watch.is_accepted
        with kept_away(stores.valkey.replica.pid, stores.valkey.replica.port):
            await until(lambda: "is in use" in site.problems.get("valkey_2", ""))
            told = await site.request("accept_one_copy", "redis", for_s=2)
            assert told.is_done, told.text
            await watch.look()
            assert watch.is_accepted
            assert stores.valkey.file.read().in_sync == []
            await until(lambda: stores.valkey.file.read().one_copy is None)
            await watch.look()
            assert not watch.is_accepted
        await site.until_whole()
    finally:
        await pool.close()
