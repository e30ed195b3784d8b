"""``python -m ops.stack.ray_keeper``: Ray's head node, whose control service may die alone.

``ray start --block`` ends the whole node, hosts with it, when the control service (``gcs_server``) dies.
So the node is started without it, and its processes become ours: whatever loses its parent below us is
handed to us by the kernel. The control service is started again as it was; it keeps its state in files, so
it finds node, hosts and supervisor as they were, and they find it. A node whose ``raylet`` died is ended.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ops.stack.deaths import Deaths
from runtime.logs import configure_logs, get_logger

_log = get_logger(__name__)

READY_EVENT = "ray_node_ready"
"""Logged once the node runs and is watched."""

CONTROL_SERVICE = "gcs_server"
NODE_PROCESS = "raylet"

# A node process that is told to stop ends its workers; what it has not ended by then is killed.
STOP_TIMEOUT_S = 2.0
_LOOK_EVERY_S = 0.05

_STANDARD_ERROR = 2

# prctl(2): give us the orphans among our descendants.
_PR_SET_CHILD_SUBREAPER = 36

# Blocked at all times, and waited for: a handler's word comes too late when its signal comes between the
# last look and the wait.
_STOPS = frozenset({signal.SIGTERM, signal.SIGINT})
_AWAITED = _STOPS | {signal.SIGCHLD}
# Python ignores these, and its children would too.
_IGNORED = frozenset({signal.SIGPIPE, signal.SIGXFSZ})

_PROC = Path("/proc")


class _StopWanted(Exception):
    """SIGTERM came, or SIGINT."""


@dataclass(frozen=True, slots=True)
class Program:
    """How a running process was started, to start it once more."""

    argv: list[bytes]
    environment: dict[bytes, bytes]

    @classmethod
    def of(cls, pid: int) -> Program:
        """Raises OSError when it has ended."""
        directory = _PROC / str(pid)
        argv = (directory / "cmdline").read_bytes().removesuffix(b"\0").split(b"\0")
        settings = (directory / "environ").read_bytes().split(b"\0")
        pairs = (setting.partition(b"=") for setting in settings if b"=" in setting)
        return cls(argv, {name: value for name, _, value in pairs})

    def start(self) -> int:
        """Start it as a child of ours, with signals as they are by default, and return its pid.

        Raises OSError.
        """
        return os.posix_spawnp(
            self.argv[0], self.argv, self.environment, setsigmask=(), setsigdef=_IGNORED
        )


def pause(seconds: float) -> None:
    """Do nothing for so long. Raises _StopWanted when a stop is wanted, or was before."""
    if signal.sigtimedwait(_STOPS, seconds) is not None:
        raise _StopWanted


class Keeper:
    """Starts a node by a command that leaves it behind, and keeps it. One a process."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        deaths: Deaths,
        sleep: Callable[[float], None] = pause,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._command = command
        self._deaths = deaths
        self._sleep = sleep
        self._now_s = now_s
        self._raylet: int | None = None

    def run(self) -> int:
        """Keep the node until SIGTERM or SIGINT (0) or its end (1), and leave nothing of it behind."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _AWAITED)
        keep_descriptors()
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        try:
            return self._keep()
        except _StopWanted:
            return 0
        finally:
            self._end()

    def _keep(self) -> int:
        command = [os.fsencode(argument) for argument in self._command]
        starting = Program(command, Program.of(os.getpid()).environment).start()
        pid, code = next_death()
        while pid != starting:
            pid, code = next_death()
        if code != 0:
            _log.error("ray_start_failed", code=code)
            return 1
        control = child_named(CONTROL_SERVICE)
        self._raylet = child_named(NODE_PROCESS)
        if control is None or self._raylet is None:
            _log.error("ray_node_incomplete", control_service=control, raylet=self._raylet)
            return 1
        program = Program.of(control)
        _log.info(READY_EVENT, control_service=control, raylet=self._raylet)
        while True:
            pid, code = next_death()
            if pid == self._raylet:
                _log.error("ray_node_died", pid=pid, code=code)
                self._raylet = None
                return 1
            if pid == control:
                _log.warning("control_service_died", pid=pid, code=code)
                self._deaths.note(self._now_s())
                if self._deaths.is_loop(self._now_s()):
                    _log.error("control_service_given_up")
                    return 1
                self._sleep(self._deaths.backoff_s(self._now_s()))
                control = program.start()
                _log.info("control_service_started", pid=control)

    def _end(self) -> None:
        """Stop the node process, then kill whatever is left until nothing is."""
        # The signal to end may come right after its death was waited for.
        if self._raylet in children():
            os.kill(self._raylet, signal.SIGTERM)
            give_up_at_s = time.monotonic() + STOP_TIMEOUT_S
            while time.monotonic() < give_up_at_s:
                if os.waitpid(self._raylet, os.WNOHANG)[0]:
                    break
                time.sleep(_LOOK_EVERY_S)
        while pids := children():
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
            for pid in pids:
                os.waitpid(pid, 0)  # what it leaves behind is ours from now on


def keep_descriptors() -> None:
    """Hand on none of our open files but the standard ones: the node would hold them for as long as it lives."""
    for name in os.listdir(_PROC / "self" / "fd"):
        # The list itself was read by one that is closed by now.
        with suppress(OSError):
            os.set_inheritable(int(name), int(name) <= _STANDARD_ERROR)


def next_death() -> tuple[int, int]:
    """Wait until a child has ended, and return its pid and exit code. There must be one.

    Raises _StopWanted when a stop is wanted first, or was before.
    """
    while True:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid:
            return pid, os.waitstatus_to_exitcode(status)
        if signal.sigwait(_AWAITED) in _STOPS:
            raise _StopWanted


def children() -> list[int]:
    """The processes whose parent we are, those that ended and were not waited for among them."""
    me = os.getpid()
    found: list[int] = []
    for name in os.listdir(_PROC):
        if not name.isdigit():
            continue
        try:
            stat = (_PROC / name / "stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue  # ended meanwhile
        # The command, in parentheses, may hold spaces and parentheses: count from its end.
        if int(stat.rpartition(")")[2].split()[1]) == me:
            found.append(int(name))
    return found


def child_named(name: str) -> int | None:
    """Our child that runs a program of that name."""
    for pid in children():
        try:
            program = Program.of(pid).argv[0]
        except OSError:
            continue
        if Path(os.fsdecode(program)).name == name:
            return pid
    return None


def main() -> None:
    """Run the command that our arguments are."""
    configure_logs(process_name="ray")
    sys.exit(Keeper(sys.argv[1:], deaths=Deaths()).run())


if __name__ == "__main__":
    main()
