"""Starting and stopping the servers of the stack, and running one-shot tools."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ops.local.faults import ServerFailed, ServerMissing, ToolFailed
from ops.local.layout import STACK_ID_VARIABLE, StackHome
from ops.local.logs import log_tail, rotate_if_larger
from ops.local.pidfile import POLL_S, identity_of, stop_process, write_pid_file

# A fast Postgres shutdown writes a checkpoint, Valkey waits for its replica: seconds on a laptop.
STOP_TIMEOUT_S = 15.0
# Tools do bounded work (an empty cluster, one query); a base backup may take longer and says so.
TOOL_TIMEOUT_S = 30.0

# What servers and tools get to see of the environment: the same on every machine and in every test.
BASE_ENV: Mapping[str, str] = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LC_ALL": "C",
    "TZ": "UTC",
}

# prctl(2): have the kernel send this process a signal when its parent dies.
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSpec:
    """What to run. `uid`, where given, is also the group: an unprivileged user for the child."""

    name: str  # names the log, the pid file and the process in messages
    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=lambda: BASE_ENV)
    stop_signal: signal.Signals = signal.SIGTERM
    uid: int | None = None


class ChildProcess:
    """A server that this process started. It dies with us: nothing runs on unwatched."""

    def __init__(
        self, spec: ProcessSpec, popen: subprocess.Popen[bytes], pid_path: Path, log_path: Path
    ) -> None:
        self._spec = spec
        self._popen = popen
        self._pid_path = pid_path
        self.log_path = log_path

    @property
    def name(self) -> str:
        return self._spec.name

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def returncode(self) -> int | None:
        """None while it runs; negative when a signal ended it."""
        return self._popen.poll()

    @property
    def is_running(self) -> bool:
        return self.returncode is None

    async def wait(self) -> int:
        """Wait until it ends and return its code. May be called from any event loop."""
        # Polling, because asyncio's own child watchers tie a process to the loop that started it.
        while (code := self.returncode) is None:  # noqa: ASYNC110
            await asyncio.sleep(POLL_S)
        return code

    async def stop(self, *, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """Ask it to stop, kill it after `timeout_s`, reap it, and remove the pid file."""
        identity = identity_of(self.pid) if self.is_running else None
        if identity is not None:
            await stop_process(identity, stop_signal=self._spec.stop_signal, timeout_s=timeout_s)
        await self.wait()
        self._pid_path.unlink(missing_ok=True)

    def require_running(self) -> None:
        """Raises ServerFailed, with the end of the log, when it has ended."""
        if not self.is_running:
            raise self.failure(f"ended with code {self.returncode}")

    def failure(self, reason: str) -> ServerFailed:
        return ServerFailed(self.name, reason, self.log_path, log_tail(self.log_path))


def start_process(home: StackHome, spec: ProcessSpec) -> ChildProcess:
    """Start a server of this stack: own session, own log, marked, and tied to our life.

    Call it from a thread that lives as long as the server should: the kernel ties the child to the
    thread that made it. Raises ServerMissing when the program can't be run.
    """
    log_path = home.log_path(spec.name)
    rotate_if_larger(log_path)
    env = {**spec.env, STACK_ID_VARIABLE: home.stack_id()}
    with log_path.open("ab") as log:
        try:
            popen = subprocess.Popen(
                spec.argv,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a Ctrl-C in the terminal is for us to handle, not for it
                preexec_fn=_dies_with_parent(spec.stop_signal),
                user=spec.uid,
                group=spec.uid,
                extra_groups=None if spec.uid is None else (),
            )
        except OSError as error:
            raise ServerMissing(spec.name, f"{spec.argv[0]}: {error.strerror}") from error
    pid_path = home.pid_path(spec.name)
    write_pid_file(pid_path, popen.pid)
    return ChildProcess(spec, popen, pid_path, log_path)


def _dies_with_parent(stop_signal: signal.Signals) -> Callable[[], None]:
    """A function for the forked child that asks the kernel for `stop_signal` when we die."""
    # Everything is looked up before the fork: after it only plain calls are safe.
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    number = int(stop_signal)
    parent_pid = os.getpid()

    def arrange() -> None:
        prctl(_PR_SET_PDEATHSIG, number)
        if os.getppid() != parent_pid:  # we died before the request was made
            os.kill(os.getpid(), signal.SIGKILL)

    return arrange


async def run_tool(
    argv: Sequence[str],
    *,
    name: str | None = None,
    env: Mapping[str, str] = BASE_ENV,
    uid: int | None = None,
    stdin: str = "",
    timeout_s: float = TOOL_TIMEOUT_S,
) -> str:
    """Run a program to its end, feed it `stdin`, and return what it printed.

    `name` is what messages call it, where the first word of `argv` is only a wrapper.
    Raises ToolFailed when it can't be started, returns non-zero, or takes more than `timeout_s`.
    """
    tool = name or Path(argv[0]).name
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            env=dict(env),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            user=uid,
            group=uid,
            extra_groups=None if uid is None else (),
        )
    except OSError as error:
        raise ToolFailed(tool, f"can't be started: {error.strerror}", "") from error
    try:
        async with asyncio.timeout(timeout_s):
            output, errors = await process.communicate(stdin.encode())
    except TimeoutError:
        raise ToolFailed(tool, f"no end after {timeout_s} s", "") from None
    finally:
        if process.returncode is None:  # timed out, or we were cancelled: leave nobody behind
            process.kill()
            await process.wait()
    if process.returncode != 0:
        text = (errors or output).decode("utf-8", errors="replace").strip()
        raise ToolFailed(tool, f"code {process.returncode}", text)
    return output.decode("utf-8", errors="replace")
