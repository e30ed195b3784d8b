"""One local Postgres server: its data directory, its process, and the programs that talk to it."""

from __future__ import annotations

import asyncio
import shutil
import signal
from pathlib import Path

from ops.local.durable import rename_durably
from ops.local.faults import ToolFailed
from ops.local.layout import StackHome
from ops.local.leftovers import kill_server, servers_of, stop_leftovers
from ops.local.ports import LOOPBACK, require_free
from ops.local.postgres_ping import reacts
from ops.local.postgres_programs import PostgresPrograms
from ops.local.postgres_settings import ACCESS_RULES, SUPERUSER, render_settings
from ops.local.process import BASE_ENV, ChildProcess, ProcessSpec, run_tool, start_process
from payments.defects import InvariantViolation

# Redoing a whole max_wal_size after a power cut takes tens of seconds on a slow disk.
READY_TIMEOUT_S = 120.0
READY_POLL_S = 0.1
# A server that lost its supervisor is already shutting down; this is how long it may take.
LEFTOVER_TIMEOUT_S = 10.0

_SETTINGS_FILE = "tallystick.conf"
_STANDBY_FILE = "standby.signal"


class PostgresNode:
    """A server that can be primary or standby: the file `standby.signal` in its data decides."""

    def __init__(
        self, home: StackHome, programs: PostgresPrograms, *, number: int, port: int, peer_port: int
    ) -> None:
        self._home = home
        self._programs = programs
        self._peer_port = peer_port
        self.number = number
        self.name = f"postgres_{number}"
        self.port = port
        self.directory = home.data / f"postgres-{number}"
        self.process: ChildProcess | None = None

    @property
    def has_data(self) -> bool:
        return (self.directory / "PG_VERSION").exists()

    @property
    def is_standby(self) -> bool:
        return (self.directory / _STANDBY_FILE).exists()

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.is_running

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process is not None and self.process.is_running else None

    def child(self) -> ChildProcess:
        """The process of a node that was started before."""
        if self.process is None:
            raise InvariantViolation(f"{self.name} is used before it was started")
        return self.process

    def begin(self) -> Path:
        """An empty directory to build the node's data in; `finish` puts it in place at once.

        So a power cut on the way leaves no half-made data behind, only a part to throw away.
        """
        part = self.directory.with_name(self.directory.name + ".part")
        shutil.rmtree(part, ignore_errors=True)
        self._programs.make_data_directory(part)
        return part

    def finish(self, part: Path, *, as_standby: bool) -> None:
        """Complete the configuration of a built directory and make it the node's data."""
        with (part / "postgresql.conf").open("r+", encoding="utf-8") as file:
            include = f"include_if_exists = '{_SETTINGS_FILE}'"
            if include not in file.read().splitlines():
                file.write(f"\n{include}\n")
        if as_standby:
            self._programs.write(part / _STANDBY_FILE, "")
        rename_durably(part, self.directory)

    def remove_data(self) -> None:
        """Throw the node's data away, to build it again from the other node."""
        if self.directory.exists():
            shutil.rmtree(self.directory)

    def retire_data(self) -> None:
        """Put what is left of a former primary's data aside, for whoever wants to compare it.

        Brought back by hand it would be a standby without a primary: it never leads again.
        """
        if not self.directory.exists():
            return
        retired = self.directory.with_name(self.directory.name + ".retired")
        if retired.exists():
            shutil.rmtree(retired)
        self._programs.write(self.directory / _STANDBY_FILE, "")
        rename_durably(self.directory, retired)

    async def make_way(self) -> None:
        """Make sure that nothing is in the way of a start. Raises PortInUse.

        The caller holds the home's lock, so a server that still stands in the data directory has
        lost its supervisor, and is stopped.
        """
        if self.is_running:
            return
        await stop_leftovers(servers_of(self.directory), timeout_s=LEFTOVER_TIMEOUT_S)
        # Nobody serves from here now. Postgres itself would trust the pid in the file if any other
        # process has it after a reboot, and refuse to start.
        (self.directory / "postmaster.pid").unlink(missing_ok=True)
        require_free({self.name: self.port}, [self.name])

    def write_settings(self, passfile: Path, *, is_standby_awaited: bool) -> None:
        """Write what the server reads at its start and when it is told to."""
        settings = render_settings(
            port=self.port,
            peer_port=self._peer_port,
            passfile=passfile,
            is_standby_awaited=is_standby_awaited,
        )
        self._programs.write(self.directory / _SETTINGS_FILE, settings)

    def start(self, passfile: Path, *, is_standby_awaited: bool = True) -> None:
        """Start the server on its data, after `make_way`. Raises ServerMissing."""
        self.write_settings(passfile, is_standby_awaited=is_standby_awaited)
        self._programs.write(self.directory / "pg_hba.conf", ACCESS_RULES)
        self.process = start_process(
            self._home,
            ProcessSpec(
                name=self.name,
                argv=self._programs.argv("postgres", "-D", str(self.directory)),
                stop_signal=signal.SIGINT,  # Postgres' fast shutdown
                uid=self._programs.uid,
            ),
        )

    async def wait_ready(self, *, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Wait until it takes connections. Raises ServerFailed when it ends or takes too long."""
        child = self.child()
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + timeout_s
        while not await self.answers():
            child.require_running()
            if loop.time() > deadline_s:
                raise child.failure(f"took no connection for {timeout_s} s")
            await asyncio.sleep(READY_POLL_S)

    async def answers(self) -> bool:
        """Does it take connections now?"""
        try:
            await self.run("pg_isready", "-q", "-h", LOOPBACK, "-p", str(self.port), "-t", "2")
        except ToolFailed:
            return False
        return True

    async def answers_at_all(self) -> bool:
        """Does its process react, were it by an error? A frozen one does not."""
        return await reacts(self.port)

    async def kill(self) -> None:
        """End it and its children, frozen or not; nothing of it lives on return."""
        await kill_server(self.pid, self.directory)
        await self.stop()

    async def stop(self) -> None:
        if self.process is not None:
            await self.process.stop()
            self.process = None

    async def run(
        self, program: str, *arguments: str, passfile: Path | None = None, timeout_s: float = 30.0
    ) -> str:
        """Run one of Postgres' programs as the user that owns the data. Raises ToolFailed."""
        env = dict(BASE_ENV) if passfile is None else {**BASE_ENV, "PGPASSFILE": str(passfile)}
        argv = self._programs.argv(program, *arguments)
        uid = self._programs.uid
        return await run_tool(argv, name=program, env=env, uid=uid, timeout_s=timeout_s)

    async def query(self, sql: str, *, database: str, passfile: Path) -> str:
        """Run SQL as the superuser; rows come as lines, columns parted by `|`. Raises ToolFailed.

        The SQL goes through standard input: arguments can be read by everybody on the machine.
        """
        arguments = ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"]
        target = ["-h", LOOPBACK, "-p", str(self.port), "-U", SUPERUSER, "-d", database]
        env = {**BASE_ENV, "PGPASSFILE": str(passfile), "PGCONNECT_TIMEOUT": "5"}
        # As ourselves: psql needs no data directory, and the passfile is ours.
        argv = [str(self._programs.bin_directory / "psql"), *arguments, *target, "-f", "-"]
        return (await run_tool(argv, env=env, stdin=sql)).rstrip("\n")
