"""The local Postgres pair: a primary and its synchronous standby, started, resumed and rebuilt."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from urllib.parse import quote

from ops.local.durable import write_durably
from ops.local.faults import DataRefused, ToolFailed
from ops.local.health import ServerHealth, ServerRole
from ops.local.layout import StackHome
from ops.local.ports import LOOPBACK
from ops.local.postgres_node import READY_POLL_S, READY_TIMEOUT_S, PostgresNode
from ops.local.postgres_programs import PostgresPrograms
from ops.local.postgres_settings import REPLICATION_ROLE, STANDBY_NAME, SUPERUSER

DATABASE = "tallystick"
# Copying a laptop's worth of payments: gigabytes at tens of MB/s.
BACKUP_TIMEOUT_S = 900.0

# Run at each start, so that an interrupted first start is completed by the second. No commit may
# wait for the standby here: it doesn't exist yet. The password stays out of the server's log.
_BOOTSTRAP_SQL = """
SET synchronous_commit = local;
SET log_min_duration_statement = -1;
SET log_min_error_statement = panic;
SELECT 'CREATE ROLE {role} LOGIN REPLICATION PASSWORD ''{password}'''
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') \\gexec
SELECT 'CREATE DATABASE {database}'
 WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = '{database}') \\gexec
SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots
 WHERE slot_name = '{slot}' AND wal_status = 'lost';
SELECT pg_create_physical_replication_slot('{slot}', true)
 WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = '{slot}');
"""

_SLOT_IS_LOST_SQL = """
SELECT count(*) FROM pg_replication_slots
 WHERE slot_name = '{slot}' AND wal_status = 'lost';
"""

_DROP_IDLE_SLOT_SQL = """
SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots
 WHERE slot_name = '{slot}' AND NOT active;
"""

_STANDBY_STATE_SQL = """
SELECT state, sync_state, coalesce(pg_wal_lsn_diff(pg_current_wal_flush_lsn(), flush_lsn), 0)
  FROM pg_stat_replication WHERE application_name = '{slot}';
"""


class PostgresPair:
    """Two servers of one cluster. Which is the primary is read from their data at each start."""

    host = LOOPBACK
    superuser = SUPERUSER

    def __init__(
        self, home: StackHome, ports: Mapping[str, int], programs: PostgresPrograms
    ) -> None:
        self._home = home
        self._programs = programs
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
        if not primary.has_data:
            progress("Postgres: creating the database cluster")
            await self._create(primary)
        progress("Postgres: starting")
        # A resumed standby starts beside the primary: it tries until it can connect.
        for node in (primary, standby):
            if node.has_data and not node.is_running:
                node.start(self._replication_passfile)
        await primary.wait_ready()
        if standby.has_data and await self._slot_is_lost():
            progress("Postgres: the standby was away for too long, building it again")
            await standby.stop()
            standby.remove_data()
        await self._bootstrap()
        if not standby.has_data:
            progress("Postgres: copying the standby")
            await self._copy(primary, standby)
            standby.start(self._replication_passfile)
        await self._wait_synchronous()
        await self._drop_idle_slot(standby)
        progress("Postgres: primary and synchronous standby are ready")

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
        """(primary, standby), from the data. Raises DataRefused when that names no one primary."""
        with_data = [node for node in self._nodes if node.has_data]
        if not with_data:
            return self._nodes
        primaries = [node for node in with_data if not node.is_standby]
        if len(primaries) == 2:
            raise DataRefused(
                "Postgres",
                "both data directories are primaries, and they may have diverged",
                f"Compare {self._nodes[0].directory} and {self._nodes[1].directory}, then move "
                "the one to give up out of the way: it is rebuilt from the other",
            )
        if not primaries:
            raise DataRefused(
                "Postgres",
                "there is a standby but no primary",
                "Bring the primary's data directory back. If it is lost, make the standby the "
                f"primary by removing standby.signal in {with_data[0].directory}",
            )
        first, second = self._nodes
        return (first, second) if primaries[0] is first else (second, first)

    async def _create(self, node: PostgresNode) -> None:
        part = node.begin()
        password_file = part.with_name("postgres-initial-password")
        self._programs.write(password_file, self.password + "\n")
        try:
            await node.run(
                "initdb",
                *("-D", str(part), "-U", SUPERUSER, f"--pwfile={password_file}"),
                *("--auth-local=scram-sha-256", "--auth-host=scram-sha-256", "--data-checksums"),
                *locale_options(await node.run("postgres", "--version")),
            )
        finally:
            password_file.unlink()
        node.finish(part, as_standby=False)

    async def _bootstrap(self) -> None:
        """The replication role, the database and the standby's slot, where they are missing."""
        sql = _BOOTSTRAP_SQL.format(
            role=REPLICATION_ROLE,
            password=self._replication_password,
            database=DATABASE,
            slot=STANDBY_NAME,
        )
        await self.query(sql, database="postgres")

    async def _copy(self, primary: PostgresNode, standby: PostgresNode) -> None:
        part = standby.begin()
        # Under its own name: as STANDBY_NAME it would count as the synchronous standby.
        connection = (
            f"host={LOOPBACK} port={primary.port} user={REPLICATION_ROLE} "
            "application_name=base_backup"
        )
        await standby.run(
            "pg_basebackup",
            *("-d", connection, "-D", str(part), "--no-password"),
            *("-X", "stream", "-S", STANDBY_NAME, "--checkpoint=fast"),
            passfile=self._replication_passfile,
            timeout_s=BACKUP_TIMEOUT_S,
        )
        standby.finish(part, as_standby=True)

    async def _drop_idle_slot(self, standby: PostgresNode) -> None:
        """A standby that was the primary before still has a slot, and keeps WAL for nobody."""
        sql = _DROP_IDLE_SLOT_SQL.format(slot=STANDBY_NAME)
        await standby.query(sql, database="postgres", passfile=self.passfile)

    async def _slot_is_lost(self) -> bool:
        sql = _SLOT_IS_LOST_SQL.format(slot=STANDBY_NAME)
        return await self.query(sql, database="postgres") != "0"

    async def _standby_state(self) -> tuple[str, str, str] | None:
        """(state, sync_state, bytes behind) as the primary sees its standby; None when away."""
        try:
            sql = _STANDBY_STATE_SQL.format(slot=STANDBY_NAME)
            row = await self.query(sql, database="postgres")
        except ToolFailed:
            return None
        if not row:
            return None
        state, sync_state, behind = row.splitlines()[0].split("|")
        return state, sync_state, behind

    async def _wait_synchronous(self) -> None:
        primary, standby = self._roles()
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + READY_TIMEOUT_S
        while not _is_synchronous(await self._standby_state()):
            for node in (primary, standby):
                node.child().require_running()
            if loop.time() > deadline_s:
                raise standby.child().failure(f"not in step after {READY_TIMEOUT_S} s")
            await asyncio.sleep(READY_POLL_S)


def locale_options(version: str) -> tuple[str, ...]:
    """initdb's options for text as UTF-8 in code point order, for a `postgres --version`.

    The same on every machine: an index built under one machine's locale is wrong under another's.
    """
    major = re.search(r"\(PostgreSQL\) (\d+)", version)
    if major is not None and int(major[1]) < 17:  # the builtin provider came with 17
        return ("--encoding=UTF8", "--no-locale")
    return ("--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")


def _is_synchronous(state: tuple[str, str, str] | None) -> bool:
    return state is not None and state[0] == "streaming" and state[1] in ("sync", "quorum")
