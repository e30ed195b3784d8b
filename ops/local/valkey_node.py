"""One local Valkey server: its data directory, its process, and questions to it."""

from __future__ import annotations

import shutil
from pathlib import Path

from ops.local.allocator import allocator_environment
from ops.local.durable import rename_durably, write_durably
from ops.local.layout import PRIVATE_MODE, StackHome
from ops.local.leftovers import kill_server, servers_of, stop_leftovers
from ops.local.ports import require_free
from ops.local.process import BASE_ENV, ChildProcess, ProcessSpec, start_process
from ops.local.resp import NoAnswer, RespError, ask, info_fields
from ops.local.valkey_settings import APPEND_DIRECTORY, APPEND_FILE, render_settings
from payments.defects import InvariantViolation

# A server that lost its supervisor is already shutting down; this is how long it may take.
LEFTOVER_TIMEOUT_S = 10.0


class ValkeyNode:
    """One server: its data directory, its process, and questions to it."""

    def __init__(self, home: StackHome, *, number: int, port: int, password: str) -> None:
        self._home = home
        self._password = password
        self.number = number
        self.port = port
        self.name = f"valkey_{number}"
        self.directory = home.data / f"valkey-{number}"
        # Beside the data, not in it: it must outlive the loss of the data that it speaks of.
        self._used_marker = home.data / f"valkey-{number}.used"
        self.process: ChildProcess | None = None

    @property
    def manifest(self) -> Path:
        return self.directory / APPEND_DIRECTORY / f"{APPEND_FILE}.manifest"

    @property
    def has_data(self) -> bool:
        return self.manifest.exists()

    @property
    def was_used(self) -> bool:
        return self._used_marker.exists()

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

    def mark_used(self) -> None:
        if not self.was_used:
            write_durably(self._used_marker, "orders may have been accepted here\n")

    def remove_data(self) -> None:
        """Throw the node's data away, to copy the primary anew."""
        if self.directory.exists():
            shutil.rmtree(self.directory)

    def retire_data(self) -> None:
        """Put what is left of the data aside: nobody starts on it again by accident."""
        if not self.directory.exists():
            return
        retired = self.directory.with_name(self.directory.name + ".retired")
        if retired.exists():
            shutil.rmtree(retired)
        rename_durably(self.directory, retired)

    async def make_way(self) -> None:
        """Make sure that nothing is in the way of a start. Raises PortInUse.

        The caller holds the home's lock, so a server that still stands in the data directory has
        lost its supervisor, and is stopped.
        """
        if self.is_running:
            return
        await stop_leftovers(servers_of(self.directory), timeout_s=LEFTOVER_TIMEOUT_S)
        require_free({self.name: self.port}, [self.name])

    def start(self, program: Path, *, memory_bytes_max: int, primary_port: int | None) -> None:
        """Start the server, after `make_way`; as a replica where `primary_port` is given."""
        self.directory.mkdir(mode=PRIVATE_MODE, exist_ok=True)
        settings_path = self._home.secrets / f"{self.name}.conf"  # it holds the password
        settings = render_settings(
            port=self.port,
            directory=self.directory,
            password=self._password,
            memory_bytes_max=memory_bytes_max,
            primary_port=primary_port,
        )
        write_durably(settings_path, settings)
        spec = ProcessSpec(
            name=self.name,
            argv=[str(program), str(settings_path)],
            env={**BASE_ENV, **allocator_environment(program)},
        )
        self.process = start_process(self._home, spec)

    async def answers_at_all(self) -> bool:
        """Does its process react, were it by an error? A frozen one does not."""
        try:
            await ask(self.port, self._password, ("PING",))
        except NoAnswer:
            return False
        except RespError:
            return True  # it reads its data, for example
        return True

    async def kill(self) -> None:
        """End it, frozen or not; nothing of it lives on return."""
        await kill_server(self.pid, self.directory)
        await self.stop()

    async def stop(self) -> None:
        if self.process is not None:
            await self.process.stop()
            self.process = None

    async def info(self, section: str) -> dict[str, str]:
        """The fields of one INFO section. Raises RespError."""
        (reply,) = await ask(self.port, self._password, ("INFO", section))
        return info_fields(reply)

    async def is_loaded(self) -> bool:
        """Does it answer, with all its data read?"""
        try:
            return (await self.info("persistence")).get("loading") == "0"
        except RespError:
            return False
