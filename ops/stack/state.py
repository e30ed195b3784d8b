"""What the stack's daemon tells everybody else: one small JSON file, written whole."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import msgspec

from ops.local.durable import PRIVATE_FILE_MODE
from ops.local.faults import HomeUnusable
from ops.local.layout import StackHome
from ops.local.pidfile import identity_of

STATE_FILE = "stack.json"


class Phase(StrEnum):
    """Where the stack is in its life."""

    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"
    """It could not start, and stopped what it had started; ``error`` says why."""


class Role(StrEnum):
    """What a process is for."""

    GATEWAY = "gateway"
    HOST = "host"
    SUPERVISOR = "supervisor"
    DISPATCHER = "dispatcher"
    PSP_SIMULATOR = "psp_simulator"
    POSTGRES_PRIMARY = "postgres_primary"
    POSTGRES_STANDBY = "postgres_standby"
    REDIS_PRIMARY = "redis_primary"
    REDIS_REPLICA = "redis_replica"
    RAY = "ray"


class ProcessRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A process of the stack. With its start ticks a pid can't be taken for a later process's."""

    name: str
    pid: int
    role: Role
    start_ticks: int = 0

    @classmethod
    def of(cls, name: str, pid: int, role: Role) -> ProcessRecord:
        identity = identity_of(pid)
        ticks = 0 if identity is None else identity.start_ticks
        return cls(name=name, pid=pid, role=role, start_ticks=ticks)

    def is_alive(self) -> bool:
        identity = identity_of(self.pid)
        return identity is not None and identity.start_ticks == self.start_ticks


class Addresses(msgspec.Struct, frozen=True, kw_only=True):
    """Where the stack's servers listen. No secrets."""

    gateway_url: str
    psp_url: str
    postgres_primary: str
    """``host:port``, as all of these."""
    postgres_standbys: list[str]
    redis_primary: str
    redis_replicas: list[str]
    ray: str | None = None


class StackState(msgspec.Struct, frozen=True, kw_only=True):
    """One moment of a stack. ``error`` ended it; ``problems`` are what is being mended."""

    phase: Phase
    stack_id: str
    daemon_pid: int
    daemon_start_ticks: int
    started_at: str
    progress: list[str] = []
    error: str | None = None
    is_config_wrong: bool = False
    """The error lies in the operator's configuration."""
    problems: Annotated[dict[str, str], msgspec.Meta(description="by process or service")] = {}
    processes: list[ProcessRecord] = []
    addresses: Addresses | None = None
    partition_count: int = 0
    is_ray_used: bool = True

    @property
    def is_daemon_alive(self) -> bool:
        identity = identity_of(self.daemon_pid)
        return identity is not None and identity.start_ticks == self.daemon_start_ticks


def write_state(home: StackHome, state: StackState) -> None:
    """Replace the file at once. Not fsynced: after a power cut no process of it lives anyway."""
    path = home.run / STATE_FILE
    part = path.with_name(f"{STATE_FILE}.part")
    part.touch(mode=PRIVATE_FILE_MODE)
    part.write_bytes(msgspec.json.format(msgspec.json.encode(state)))
    part.replace(path)


def read_state(root: Path) -> StackState | None:
    """What the home's last daemon told, or None when there was none (or of another version).

    Raises HomeUnusable when this user may not read it.
    """
    path = root / "run" / STATE_FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=StackState)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    except OSError as error:
        raise HomeUnusable(path, error.strerror or str(error)) from error
