"""Commands of `tally` as forks of one process that has imported all of them.

Importing takes most of the time of a command that only asks, and these tests ask hundreds of times. That the
command starts from nothing, too, is shown by the documentation's commands and by the wheel's.

``python -m tests.acceptance.forked_commands <socket>`` serves until whoever started it has ended: a connection
brings one command, and is told its process and then its exit code.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import os
import pkgutil
import signal
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

ROOT = Path(__file__).parents[2]
# Imports take a second on an idle machine; tests share theirs with others.
START_S_MAX = 60.0


class Command(msgspec.Struct):
    """What is to be run, and where its output goes."""

    arguments: list[str]
    environment: dict[str, str]
    out: str
    err: str


_addresses: list[str] = []
_starting = threading.Lock()


def _server() -> str:
    """Where the process that forks listens; the first call starts it."""
    with _starting:
        if not _addresses:
            _addresses.append(_start())
    return _addresses[0]


def _start() -> str:
    address = str(Path(tempfile.mkdtemp(prefix="tally-forks-")) / "socket")
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.acceptance.forked_commands", address],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
    )
    atexit.register(_end, process, Path(address).parent)
    ends_s = time.monotonic() + START_S_MAX
    while not Path(address).exists():
        assert process.poll() is None, "the process of the commands has ended"
        assert time.monotonic() < ends_s, "the process of the commands does not start"
        time.sleep(0.02)
    return address


def _end(process: subprocess.Popen[bytes], directory: Path) -> None:
    process.kill()
    process.wait()
    for path in directory.iterdir():
        path.unlink()
    directory.rmdir()


def run_forked(
    arguments: Sequence[str], environment: Mapping[str, str], *, timeout_s: float
) -> subprocess.CompletedProcess[str]:
    """Run `tally` to its end, as `subprocess.run` would. Raises subprocess.TimeoutExpired."""
    address = _server()
    with (
        tempfile.TemporaryDirectory(prefix="tally-command-") as directory,
        socket.socket(socket.AF_UNIX) as connection,
    ):
        out, err = Path(directory) / "out", Path(directory) / "err"
        command = Command(list(arguments), dict(environment), str(out), str(err))
        connection.settimeout(timeout_s)
        connection.connect(address)
        connection.sendall(msgspec.json.encode(command) + b"\n")
        with connection.makefile("rb") as told:
            pid = int(told.readline())
            try:
                code = int(told.readline())
            except TimeoutError:
                os.kill(pid, signal.SIGKILL)
                raise subprocess.TimeoutExpired(["tally", *arguments], timeout_s) from None
        return subprocess.CompletedProcess(
            ["tally", *arguments],
            code,
            out.read_text(encoding="utf-8"),
            err.read_text(encoding="utf-8"),
        )


class _Handler(socketserver.StreamRequestHandler):
    """In a process of its own: runs one command in a further one, and tells of it."""

    def handle(self) -> None:
        command = msgspec.json.decode(self.rfile.readline(), type=Command)
        pid = os.fork()
        if pid == 0:
            _become(command)
        self.wfile.write(b"%d\n" % pid)
        _, status = os.waitpid(pid, 0)
        self.wfile.write(b"%d\n" % os.waitstatus_to_exitcode(status))


def _become(command: Command) -> None:
    """Be the command from here on; never returns."""
    code = 1
    try:
        nothing = os.open(os.devnull, os.O_RDONLY)
        flags = os.O_WRONLY | os.O_CREAT
        os.dup2(nothing, 0)
        os.dup2(os.open(command.out, flags), 1)
        os.dup2(os.open(command.err, flags), 2)
        os.closerange(3, 256)
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115  # open to the end
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False, buffering=1)  # noqa: SIM115
        os.environ.clear()
        os.environ.update(command.environment)
        sys.argv = [str(ROOT / "ops" / "cli.py"), *command.arguments]
        from ops.cli import main

        main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


class _Server(socketserver.ForkingMixIn, socketserver.UnixStreamServer):
    """Ends soon after whoever started it, however that ended."""

    # Tests ask from several threads at once.
    request_queue_size = 64
    max_children = 64
    parent_pid = os.getppid()

    def service_actions(self) -> None:
        super().service_actions()
        if os.getppid() != self.parent_pid:
            sys.exit(0)


def main(address: str) -> None:
    """Import every command, then serve."""
    import ops.commands

    for module in pkgutil.iter_modules(ops.commands.__path__):
        importlib.import_module(f"ops.commands.{module.name}")
    importlib.import_module("ops.cli")
    gc.freeze()
    # Bound under another name first: who sees the address can connect.
    with _Server(f"{address}.new", _Handler) as server:
        Path(f"{address}.new").rename(address)
        server.serve_forever(poll_interval=0.5)


if __name__ == "__main__":
    main(sys.argv[1])
