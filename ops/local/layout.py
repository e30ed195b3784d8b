"""Where a stack keeps its things: data, secrets, logs and run files below one home directory."""

from __future__ import annotations

import fcntl
import os
import secrets
import uuid
from dataclasses import dataclass
from pathlib import Path

from ops.local.durable import write_durably
from ops.local.faults import HomeInUse, HomeNotOurs, HomeUnusable

# Others may pass through (a Postgres that had to drop to an unprivileged user must reach its data
# directory, itself 0700) but list nothing.
PASSAGE_MODE = 0o711
PRIVATE_MODE = 0o700

# 32 bytes from the system's random source: not guessable, and short enough for any URL.
SECRET_BYTES = 32

# The environment variable that marks every process of one stack, so that stopping finds all of
# them and no other.
STACK_ID_VARIABLE = "TALLY_STACK_ID"


@dataclass(frozen=True, slots=True)
class StackHome:
    """The directory of one stack. Two stacks on one machine have two homes and share nothing."""

    root: Path

    @classmethod
    def prepare(cls, root: Path) -> StackHome:
        """Create what is missing below `root` and return the home.

        Raises HomeNotOurs when another user made it, HomeUnusable when it can't be written.
        """
        home = cls(root.resolve())  # /proc names directories without symbolic links
        try:
            home._make_directories()
        except OSError as error:
            path = Path(error.filename) if error.filename else home.root
            raise HomeUnusable(path, error.strerror or str(error)) from error
        return home

    def _make_directories(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        owner_uid = self.root.stat().st_uid
        if owner_uid != os.geteuid():
            raise HomeNotOurs(self.root, owner_uid, os.geteuid())
        for directory, mode in (
            (self.root, PASSAGE_MODE),
            (self.data, PASSAGE_MODE),
            (self.secrets, PRIVATE_MODE),
            (self.logs, PRIVATE_MODE),
            (self.run, PRIVATE_MODE),
        ):
            directory.mkdir(exist_ok=True)
            directory.chmod(mode)

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def secrets(self) -> Path:
        return self.root / "secrets"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def run(self) -> Path:
        return self.root / "run"

    def pid_path(self, name: str) -> Path:
        return self.run / f"{name}.pid"

    def log_path(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def stack_id(self) -> str:
        """The stack's UUID: made once, the same for as long as the home lives."""
        return self._made_once(self.data / "stack_id", str(uuid.uuid4()))

    def secret(self, name: str) -> str:
        """The secret of that name: made once, kept in a file only its owner can read."""
        return self._made_once(self.secrets / name, secrets.token_urlsafe(SECRET_BYTES))

    @staticmethod
    def _made_once(path: Path, fresh: str) -> str:
        if not path.exists():
            write_durably(path, fresh)
        return path.read_text(encoding="utf-8")


class HomeLock:
    """Held by the one process that runs a home's servers; the kernel releases it if that dies."""

    def __init__(self, home: StackHome) -> None:
        self._home = home
        self._descriptor: int | None = None

    @property
    def is_held(self) -> bool:
        return self._descriptor is not None

    def acquire(self) -> None:
        """Take the lock; taking it twice is harmless. Raises HomeInUse when another has it."""
        if self._descriptor is not None:
            return
        # Python opens files close-on-exec, so no server inherits, and thereby prolongs, the lock.
        descriptor = os.open(self._home.run / "servers.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise HomeInUse(self._home.root) from None
        self._descriptor = descriptor

    def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
