"""The local Ray: one head node on ports of its own, with a token, and the supervisor in it."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ops.local.durable import PRIVATE_FILE_MODE
from ops.local.faults import HomeNotOurs
from ops.local.layout import PRIVATE_MODE, STACK_ID_VARIABLE, StackHome
from ops.local.ports import LOOPBACK, free_port
from ops.local.process import ProcessSpec, run_tool
from ops.stack.config_file import CONFIG_FILE, RAY_TOKEN
from ops.stack.environment import RAY_PART, ray_environment
from ops.stack.marked import end_marked, marked, title_of
from ops.stack.ray_keeper import CONTROL_SERVICE, READY_EVENT
from ops.stack.ray_vitals import RayVitals
from ops.stack.services import ProcessService, Progress, python_module
from ops.stack.state import ProcessRecord, Role

# Hosts take no CPU of Ray's (num_cpus=0); this only bounds what else would ever be scheduled.
CPU_COUNT = 4
# Nothing of ours goes through the object store; Ray wants 75 MB at least.
OBJECT_STORE_BYTES = 100_000_000

# Ray makes Unix sockets 69 characters below its directory, and their paths may have 107.
DIRECTORY_LENGTH_MAX = 107 - 72

# Between the request to stop and the kill: what Ray does at its end can be lost.
STOP_TIMEOUT_S = 4.0
# Starting the supervisor takes 4 s, of which importing Ray is one; a busy machine takes more.
SUPERVISOR_TIMEOUT_S = 90.0

# Where the control service keeps what it knows, below Ray's own directory: a fresh start forgets it.
CONTROL_STATE_DIRECTORY = "control"

CONTROL_AWAY = (
    "Ray's control service died and is started again. Payments go on; hosts are neither started nor"
    " stopped until it is back"
)

# On loopback an answer comes at once, or the port is closed.
_CONNECT_TIMEOUT_S = 0.1

_STARTED = READY_EVENT.encode()


class RayService:
    """Ray's head node. Its hosts and their supervisor are found by their titles: Ray runs them."""

    name = "ray"

    def __init__(
        self, home: StackHome, ports: Mapping[str, int], passed: Mapping[str, str]
    ) -> None:
        self._home = home
        self._ports = ports
        self._passed = passed
        self._directory = ray_directory(home)
        self._head: ProcessService | None = None
        self._vitals = RayVitals()
        self._environment: dict[str, str] = {}

    async def start(self, progress: Progress) -> None:
        """Start Ray and the supervisor in it."""
        await self.start_head(progress)
        await self.start_supervisor(progress)

    async def start_head(self, progress: Progress) -> None:
        """Start the head node alone. Raises PortInUse, ServerFailed."""
        await self._clear()
        progress("Ray: starting")
        free = _free_ports(4, taken=self._ports.values())
        token_path = self._home.secrets / RAY_TOKEN
        token_path.chmod(PRIVATE_FILE_MODE)
        self._environment = ray_environment(
            self._passed,
            token_path,
            metrics_port=free[0],
            control_state=self._directory / CONTROL_STATE_DIRECTORY,
        )
        log_path = self._home.log_path(self.name)
        read_from = log_path.stat().st_size if log_path.exists() else 0

        async def is_ready() -> bool:
            with log_path.open("rb") as log:
                # A log that was rotated at this start is shorter than before.
                log.seek(read_from if log_path.stat().st_size >= read_from else 0)
                return _STARTED in log.read()

        self._head = ProcessService(
            self._home,
            ProcessSpec(name=self.name, argv=self._arguments(free[1:]), env=self._environment),
            Role.RAY,
            is_ready=is_ready,
            stop_timeout_s=STOP_TIMEOUT_S,
        )
        await self._head.start(progress)
        _link(self._home.logs / "ray", self._directory / "session_latest" / "logs")
        self._vitals.note_head(self._records())
        progress("Ray: ready")

    async def start_supervisor(self, progress: Progress) -> None:
        """Make sure that the supervisor runs; it starts the hosts. Raises ToolFailed."""
        progress("Supervisor: starting")
        await run_tool(
            python_module("actors", "supervisor", "--config", str(self._home.root / CONFIG_FILE)),
            env={**self._environment, STACK_ID_VARIABLE: self._home.stack_id()},
            timeout_s=SUPERVISOR_TIMEOUT_S,
        )
        self._vitals.note_supervisor(time.monotonic())
        progress("Supervisor: running")

    def is_alive(self) -> bool:
        return (
            self._head is not None
            and self._head.is_alive()
            and self._vitals.trouble(time.monotonic()) is None
        )

    def describe_death(self) -> str:
        if self._head is None:
            return "Ray was never started"
        trouble = self._vitals.trouble(time.monotonic())
        if self._head.is_alive() and trouble is not None:
            return f"Ray does not work: {trouble}. Its logs are in {self._home.logs / 'ray'}"
        return self._head.describe_death()

    async def stop(self) -> None:
        if self._head is not None:
            await self._head.stop()
        await end_marked(self._home.stack_id(), RAY_PART)

    def processes(self) -> Sequence[ProcessRecord]:
        """Ray's own processes, and the supervisor and hosts that run in it."""
        if self._head is None:
            return []
        records = self._records()
        if self._vitals.is_control_new(records) and _listens(self._ports["ray_gcs"]):
            self._vitals.note_control(records)
        self._vitals.look(records, time.monotonic())
        return records

    def problems(self) -> Mapping[str, str | None]:
        """What is amiss without being this service's death, by process; None where nothing is."""
        # Where Ray is dead as a whole it takes its control service along: then nothing goes on.
        is_away = self.is_alive() and self._vitals.is_control_away(time.monotonic())
        return {CONTROL_SERVICE: CONTROL_AWAY if is_away else None}

    def _records(self) -> Sequence[ProcessRecord]:
        records: list[ProcessRecord] = []
        for identity in marked(self._home.stack_id(), RAY_PART):
            title = title_of(identity.pid)
            name, role = name_and_role(title)
            records.append(
                ProcessRecord(
                    name=name, pid=identity.pid, role=role, start_ticks=identity.start_ticks
                )
            )
        return records

    async def _clear(self) -> None:
        """End what a former head left, and forget its files: nothing in them is needed again."""
        await end_marked(self._home.stack_id(), RAY_PART)
        if self._head is not None:
            await self._head.stop()  # reaps the one that was just killed
        (self._home.logs / "ray").unlink(missing_ok=True)
        shutil.rmtree(self._directory, ignore_errors=True)
        if not self._directory.is_relative_to(self._home.root):
            _make_private(self._directory.parent)
        self._directory.mkdir(mode=PRIVATE_MODE)
        (self._directory / CONTROL_STATE_DIRECTORY).mkdir(mode=PRIVATE_MODE)

    def _arguments(self, agent_ports: Sequence[int]) -> list[str]:
        ports = self._ports
        # Not --block: that command would end the node when the control service dies.
        return python_module(
            "ops.stack.ray_keeper",
            *(sys.executable, "-P", "-m", "ray.scripts.scripts"),
            *("start", "--head", "--no-monitor", "--disable-usage-stats"),
            *("--include-dashboard=false", "--include-log-monitor=false"),
            *("--log-style=record", "--log-color=false"),
            f"--node-ip-address={LOOPBACK}",
            f"--port={ports['ray_gcs']}",
            f"--dashboard-port={ports['ray_dashboard']}",
            f"--ray-client-server-port={ports['ray_client']}",
            f"--node-manager-port={ports['ray_node']}",
            f"--object-manager-port={ports['ray_object']}",
            f"--dashboard-agent-listen-port={agent_ports[0]}",
            f"--dashboard-agent-grpc-port={agent_ports[1]}",
            f"--runtime-env-agent-port={agent_ports[2]}",
            f"--num-cpus={CPU_COUNT}",
            f"--object-store-memory={OBJECT_STORE_BYTES}",
            f"--temp-dir={self._directory}",
        )


def ray_directory(home: StackHome) -> Path:
    """Where Ray keeps its sockets and logs: in the home, unless the path would be too long."""
    inside = home.run / "ray"
    if len(str(inside)) <= DIRECTORY_LENGTH_MAX:
        return inside
    # Ray opens its own directory to everybody; the one around it, made by us, is ours alone.
    return outside_directory(home) / "r"


def outside_directory(home: StackHome) -> Path:
    """What holds Ray's directory where it can't lie in the home."""
    return Path("/tmp") / f"tally-{home.stack_id()[:8]}"  # noqa: S108  # made 0700 by us


def name_and_role(title: str) -> tuple[str, Role]:
    """What a process of Ray's is, by its title."""
    if title.startswith("ray::HostActor"):
        return "host", Role.HOST
    if title.startswith("ray::SupervisorActor"):
        return "supervisor", Role.SUPERVISOR
    if title.startswith("ray::"):
        return title.partition(" ")[0], Role.RAY
    for word in ("gcs_server", "raylet", "dashboard.py", "ray.util.client.server"):
        if word in title.split(" --", 1)[0]:
            return word, Role.RAY
    return "ray", Role.RAY


def _make_private(directory: Path) -> None:
    """Make a directory below a place where everybody may write. Raises HomeNotOurs."""
    directory.mkdir(mode=PRIVATE_MODE, exist_ok=True)
    status = directory.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        raise HomeNotOurs(directory, status.st_uid, os.geteuid())
    directory.chmod(PRIVATE_MODE)


def _free_ports(count: int, *, taken: Iterable[int]) -> list[int]:
    found: list[int] = []
    unwanted = set(taken)
    for _ in range(count):
        found.append(free_port(unwanted | set(found)))
    return found


def _listens(port: int) -> bool:
    try:
        socket.create_connection((LOOPBACK, port), timeout=_CONNECT_TIMEOUT_S).close()
    except OSError:
        return False
    return True


def _link(link: Path, target: Path) -> None:
    link.unlink(missing_ok=True)
    link.symlink_to(target)
