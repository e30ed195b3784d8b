"""The local Postgres pair: a primary and its synchronous standby, started, resumed and rebuilt."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from urllib.parse import quote

from ops.local.copies import RECORD_FILES, CopiesFile
from ops.local.durable import write_durably
from ops.local.faults import ToolFailed
from ops.local.health import ServerHealth, ServerRole
from ops.local.layout import StackHome
from ops.local.ports import LOOPBACK
from ops.local.postgres_building import copy_cluster, create_cluster
from ops.local.postgres_node import READY_POLL_S, READY_TIMEOUT_S, PostgresNode
from ops.local.postgres_programs import PostgresPrograms
from ops.local.postgres_roles import roles_of, without_primary
from ops.local.postgres_settings import REPLICATION_ROLE, STANDBY_NAME, SUPERUSER
from ops.local.postgres_sql import (
    BOOTSTRAP_SQL,
    DROP_IDLE_SLOT_SQL,
    PROMOTE_SQL,
    RELOAD_SQL,
    SLOT_IS_LOST_SQL,
    STANDBY_STATE_SQL,
)

DATABASE = "tallystick"
# A standby replays what it has received before it leads: seconds, unless a long read held it up.
PROMOTE_TIMEOUT_S = 60


class PostgresPair:
    """Two servers of one cluster. Which is the primary is read from their data at each start."""

    host = LOOPBACK
    superuser = SUPERUSER

    def __init__(
        self, home: StackHome, ports: Mapping[str, int], programs: PostgresPrograms
    ) -> None:
        self._home = home
        self._programs = programs
        self.file = CopiesFile(home.data / RECORD_FILES["postgres"], "Postgres")
        first_port, second_port = ports["postgres_1"], ports["postgres_2"]
        self._nodes = (
            PostgresNode(home, programs, number=1, port=first_port, peer_port=second_port),
            PostgresNode(home, programs, number=2, port=second_port, peer_port=first_port),
        )
        self.password = home.secret("postgres_superuser")
        self._replication_password = home.secret("postgres_replication")
        self.passfile = home.secrets / "pgpass"
        write_durably(self.passfile, f"{LOOPBACK}:*:*:{SUPERUSER}:{self.password}\n")
        # Apart from ours, because it may have to belong to another user, and holds less.
        self._replication_passfile = home.data / "postgres-replication.pgpass"
        line = f"{LOOPBACK}:*:*:{REPLICATION_ROLE}:{self._replication_password}\n"
        programs.write(self._replication_passfile, line)

    @property
    def primary(self) -> PostgresNode:
        return self._roles()[0]

    @property
    def standby(self) -> PostgresNode:
        return self._roles()[1]

    @property
    def port(self) -> int:
        return self.primary.port

    def dsn(self, role: str, password: str, *, database: str = DATABASE) -> str:
        """The URL of the present primary."""
        return self._dsn(f"{LOOPBACK}:{self.primary.port}", role, password, database)

    def standby_dsn(self, role: str, password: str, *, database: str = DATABASE) -> str:
        """The URL of the present standby, for reads."""
        return self._dsn(f"{LOOPBACK}:{self.standby.port}", role, password, database)

    def failover_dsn(self, role: str, password: str, *, database: str = DATABASE) -> str:
        """A URL that names both servers; clients find whichever is the primary."""
        hosts = ",".join(f"{LOOPBACK}:{node.port}" for node in self._nodes)
        return self._dsn(hosts, role, password, database) + "?target_session_attrs=primary"

    @staticmethod
    def _dsn(hosts: str, role: str, password: str, database: str) -> str:
        return f"postgresql://{quote(role, '')}:{quote(password, '')}@{hosts}/{quote(database, '')}"

    async def make_way(self) -> None:
        """Stop what a dead supervisor left running. Raises PortInUse if others have our ports."""
        for node in self._nodes:
            await node.make_way()

    async def start(self, progress: Callable[[str], None]) -> None:
        """Start what isn't running, make what is missing, and wait until both copies are in step.

        Comes after `make_way`. Raises DataRefused when it is not clear which copy is the primary,
        ServerFailed, ToolFailed.
        """
        primary, standby = self._roles()
        has_standby_data = self.has_data(standby)
        if not self.has_data(primary) and (
            has_standby_data or self.file.read().primary is not None
        ):
            raise without_primary(primary, has_standby_data=has_standby_data)
        if not self.has_data(primary):
            progress("Postgres: creating the database cluster")
            await create_cluster(primary, self._programs, self.password)
        progress("Postgres: starting")
        # A resumed standby starts beside the primary: it tries until it can connect.
        for node in (primary, standby):
            if self.has_data(node) and not node.is_running:
                self.start_node(node)
        await primary.wait_ready()
        if primary.is_standby:
            progress("Postgres: completing a promotion")
            await self.promote(primary)
        if self.has_data(standby) and await self._slot_is_lost():
            progress("Postgres: the standby was away for too long, building it again")
            await standby.stop()
            self._clear(standby)
        await self._bootstrap()
        if not self.has_data(standby):
            progress("Postgres: copying the standby")
            await self._copy(primary, standby)
            self.start_node(standby)
        await self._wait_synchronous()
        if self.file.read().one_copy is None:
            await self._drop_idle_slot(standby)
        progress("Postgres: primary and synchronous standby are ready")

    def has_data(self, node: PostgresNode) -> bool:
        """Has it data that may be used? Raises OSError when that can't be read."""
        return node.has_data and not self.file.is_given_up(node.number)

    def start_node(self, node: PostgresNode) -> None:
        """Start a node on its data, after `make_way`."""
        is_awaited = self.file.read().is_second_awaited
        node.start(self._replication_passfile, is_standby_awaited=is_awaited)

    async def rebuild_standby(self) -> None:
        """Copy the running primary anew over whatever the standby has, until it is in step.

        Raises ToolFailed, ServerFailed, PortInUse.
        """
        primary, standby = self._roles()
        self.file.forget(standby.number)
        await standby.kill()
        await standby.make_way()
        self._clear(standby)
        await self._bootstrap()
        await self._copy(primary, standby)
        self.start_node(standby)
        await self._wait_synchronous()

    async def promote(self, node: PostgresNode) -> None:
        """Make a running standby the primary. The former one must be dead. Raises ToolFailed."""
        sql = PROMOTE_SQL.format(timeout_s=PROMOTE_TIMEOUT_S)
        told = await node.query(sql, database="postgres", passfile=self.passfile)
        if told != "t":
            raise ToolFailed("pg_promote", f"not done after {PROMOTE_TIMEOUT_S} s", told)
        await self._bootstrap()

    async def await_standby(self, *, is_awaited: bool) -> None:
        """Have the running primary's commits wait for the standby, or no longer. Raises ToolFailed."""
        self.primary.write_settings(self._replication_passfile, is_standby_awaited=is_awaited)
        await self.query(RELOAD_SQL, database="postgres")

    async def is_standby_streaming(self) -> bool:
        """Whether the standby is connected and fetches what it lacks.

        Marks it as in sync once commits wait for it: it has all that was acknowledged before, and
        gets all that is acknowledged from then on.
        """
        state = await self._standby_state()
        if state is None or state[0] not in ("streaming", "catchup"):
            return False
        primary, standby = self._roles()
        if _is_synchronous(state):
            self.file.mark_in_sync(primary=primary.number, other=standby.number)
        return True

    async def stop(self) -> None:
        """Stop the primary, then the standby: so the standby gets the last record."""
        for node in sorted(self._nodes, key=lambda node: node.is_standby):
            await node.stop()

    async def query(self, sql: str, *, database: str = DATABASE) -> str:
        """Run SQL on the primary as the superuser; rows are lines, columns parted by `|`."""
        return await self.primary.query(sql, database=database, passfile=self.passfile)

    async def health(self) -> list[ServerHealth]:
        """The state of both servers; never raises for a server that is away."""
        primary, standby = self._roles()
        answers, standby_answers, state = await asyncio.gather(
            primary.answers(), standby.answers(), self._standby_state()
        )
        detail = f"{state[0]}, {state[1]}, {state[2]} bytes behind" if state else "cut off"
        return [
            ServerHealth(
                name=primary.name,
                role=ServerRole.POSTGRES_PRIMARY,
                port=primary.port,
                pid=primary.pid,
                is_healthy=answers,
                detail="takes connections" if answers else "takes no connection",
            ),
            ServerHealth(
                name=standby.name,
                role=ServerRole.POSTGRES_STANDBY,
                port=standby.port,
                pid=standby.pid,
                is_healthy=standby_answers and _is_synchronous(state),
                detail=detail if standby_answers else "takes no connection",
            ),
        ]

    def _roles(self) -> tuple[PostgresNode, PostgresNode]:
        """(primary, standby). Raises DataRefused when it is not clear which is which."""
        usable = [node for node in self._nodes if self.has_data(node)]
        return roles_of(self._nodes, usable, self.file.read().primary)

    def _clear(self, node: PostgresNode) -> None:
        """Make room for a new copy. What a former primary had is kept for whoever compares it."""
        if self.file.is_given_up(node.number):
            node.retire_data()
        node.remove_data()
        self.file.take_back(node.number)

    async def _bootstrap(self) -> None:
        """The replication role, the database and the standby's slot, where they are missing."""
        sql = BOOTSTRAP_SQL.format(
            role=REPLICATION_ROLE,
            password=self._replication_password,
            database=DATABASE,
            slot=STANDBY_NAME,
        )
        await self.query(sql, database="postgres")

    async def _copy(self, primary: PostgresNode, standby: PostgresNode) -> None:
        self._clear(standby)
        await copy_cluster(primary, standby, passfile=self._replication_passfile)

    async def _drop_idle_slot(self, standby: PostgresNode) -> None:
        """A standby that was the primary before still has a slot, and keeps WAL for nobody."""
        sql = DROP_IDLE_SLOT_SQL.format(slot=STANDBY_NAME)
        await standby.query(sql, database="postgres", passfile=self.passfile)

    async def _slot_is_lost(self) -> bool:
        sql = SLOT_IS_LOST_SQL.format(slot=STANDBY_NAME)
        return await self.query(sql, database="postgres") != "0"

    async def _standby_state(self) -> tuple[str, str, str] | None:
        """(state, sync_state, bytes behind) as the primary sees its standby; None when away."""
        try:
            sql = STANDBY_STATE_SQL.format(slot=STANDBY_NAME)
            row = await self.query(sql, database="postgres")
        except ToolFailed:
            return None
        if not row:
            return None
        state, sync_state, behind = row.splitlines()[0].split("|")
        return state, sync_state, behind

    async def _wait_synchronous(self) -> None:
        if self.file.read().one_copy is not None:
            return
        primary, standby = self._roles()
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + READY_TIMEOUT_S
        while not _is_synchronous(await self._standby_state()):
            for node in (primary, standby):
                node.child().require_running()
            if loop.time() > deadline_s:
                raise standby.child().failure(f"not in step after {READY_TIMEOUT_S} s")
            await asyncio.sleep(READY_POLL_S)
        self.file.mark_in_sync(primary=primary.number, other=standby.number)


def _is_synchronous(state: tuple[str, str, str] | None) -> bool:
    return state is not None and state[0] == "streaming" and state[1] in ("sync", "quorum")
