from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ops.local.faults import ServerFailed, ServerMissing, ToolFailed
from ops.local.layout import STACK_ID_VARIABLE, StackHome
from ops.local.leftovers import marked_leftovers, servers_of, stop_leftovers
from ops.local.pidfile import is_alive
from ops.local.process import ProcessSpec, run_tool, start_process


async def until(is_true: Callable[[], bool]) -> None:
    """Give the kernel, or another process, up to five seconds."""
    for _ in range(500):
        if is_true():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("not within 5 s")


@pytest.fixture
def home(tmp_path: Path) -> StackHome:
    return StackHome.prepare(tmp_path / "var")


async def test_a_server_is_started_marked_and_stopped(home: StackHome) -> None:
    """It has its log, its pid file and the mark of its stack, and stopping leaves no pid file."""
    spec = ProcessSpec(name="server", argv=["sh", "-c", "echo hello; exec sleep 60"])
    server = start_process(home, spec)
    try:
        assert is_alive(home.pid_path("server"))
        await until(lambda: "hello" in home.log_path("server").read_text())
        found = marked_leftovers(home.stack_id(), ())
        assert [left.identity.pid for left in found] == [server.pid]
    finally:
        await server.stop()
    assert server.returncode == -signal.SIGTERM
    assert not home.pid_path("server").exists()


async def test_a_servers_death_is_told_with_its_last_words(home: StackHome) -> None:
    """A server that ended is a fault that names it, its code and the end of its log."""
    server = start_process(home, ProcessSpec(name="server", argv=["sh", "-c", "echo no; exit 3"]))
    assert await server.wait() == 3
    with pytest.raises(ServerFailed, match=r"server: ended with code 3.*\nno$"):
        server.require_running()
    await server.stop()


def test_a_missing_program_is_told_by_name(home: StackHome) -> None:
    """What can't be run is a fault, not a traceback out of subprocess."""
    with pytest.raises(ServerMissing, match="no-such-program"):
        start_process(home, ProcessSpec(name="server", argv=["no-such-program"]))


def test_a_server_dies_with_its_parent(tmp_path: Path) -> None:
    """When the process that started it is killed, the kernel asks the server to stop."""
    script = (
        "import pathlib, sys, time\n"
        "from ops.local.layout import StackHome\n"
        "from ops.local.process import ProcessSpec, start_process\n"
        "home = StackHome.prepare(pathlib.Path(sys.argv[1]))\n"
        "spec = ProcessSpec(name='server', argv=['sleep', '60'])\n"
        "print(start_process(home, spec).pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    argv = [sys.executable, "-c", script, str(tmp_path / "var")]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, env=environment) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        home = StackHome.prepare(tmp_path / "var")
        assert is_alive(home.pid_path("server"))
        parent.kill()
    asyncio.run(until(lambda: not is_alive(home.pid_path("server"))))


@pytest.fixture
def visitor(home: StackHome) -> Iterator[subprocess.Popen[bytes]]:
    """A program that happens to stand in the stack's data directory, as a shell may."""
    with subprocess.Popen(["sleep", "60"], cwd=home.data) as process:
        yield process
        process.kill()


async def test_other_stacks_are_not_found(
    home: StackHome, tmp_path: Path, visitor: subprocess.Popen[bytes]
) -> None:
    """The mark of another stack, or a shell standing in the data, makes no process ours."""
    other = StackHome.prepare(tmp_path / "other")
    theirs = start_process(other, ProcessSpec(name="server", argv=["sleep", "60"]))
    try:
        found = marked_leftovers(home.stack_id(), (home.data,)) + servers_of(home.data)
        assert found == []
        await stop_leftovers(found, timeout_s=1)
        assert theirs.is_running
        assert visitor.poll() is None
    finally:
        await theirs.stop()


async def test_the_caller_is_not_its_own_leftover(home: StackHome) -> None:
    """A command run from inside the stack finds the stack's processes, but never itself."""
    script = (
        "import sys\n"
        "from ops.local.leftovers import marked_leftovers\n"
        "print(len(marked_leftovers(sys.argv[1], ())))\n"
    )
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).parents[3]),
        STACK_ID_VARIABLE: home.stack_id(),
    }
    argv = [sys.executable, "-c", script, home.stack_id()]
    assert await run_tool(argv, env=environment) == "0\n"


async def test_a_tool_gets_its_input_and_returns_its_output() -> None:
    """What goes in by standard input comes back, and arguments don't hold it."""
    assert await run_tool(["cat"], stdin="secret") == "secret"


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        (["sh", "-c", "echo why >&2; exit 4"], r"sh failed: code 4\nwhy"),
        (["sleep", "60"], r"sleep failed: no end after 0\.2 s"),
        (["no-such-tool"], "no-such-tool failed: can't be started"),
    ],
)
async def test_a_failing_tool_says_why(argv: list[str], reason: str) -> None:
    """A tool that fails, hangs or is missing is a fault with its name and its words."""
    with pytest.raises(ToolFailed, match=reason):
        await run_tool(argv, timeout_s=0.2)


async def test_who_is_cancelled_stops_also_when_its_tool_has_just_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A cancellation that comes together with a tool's end is not lost, so nobody waits for ever."""

    class Ended:
        returncode = 0

        async def communicate(self, _stdin: bytes) -> tuple[bytes, bytes]:
            await asyncio.sleep(0)
            asking.cancel()
            return b"", b""

    async def started(*_argv: str, **_options: object) -> Ended:
        return Ended()

    async def ask_on() -> None:
        for _ in range(3):
            await run_tool(["tool"])

    monkeypatch.setattr(asyncio, "create_subprocess_exec", started)
    asking = asyncio.create_task(ask_on())
    await asyncio.wait({asking})
    assert asking.cancelled()
