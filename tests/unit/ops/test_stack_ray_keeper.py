"""The keeper of Ray's head node, on processes that only sleep."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from ops.local.pidfile import identity_of
from ops.stack.deaths import DEATHS_MAX
from ops.stack.ray_keeper import CONTROL_SERVICE, NODE_PROCESS, READY_EVENT, Program

KEEPER = [sys.executable, "-P", "-m", "ops.stack.ray_keeper"]
# As the module does, but without pauses.
HASTY = """
import sys
from ops.stack.deaths import Deaths
from ops.stack.ray_keeper import Keeper
from runtime.logs import configure_logs
configure_logs(process_name="ray")
sys.exit(Keeper(sys.argv[1:], deaths=Deaths(), sleep=lambda _: None).run())
"""
# SIGTERM came between the node's death and what follows it: the node is reaped, and still remembered.
LATE = """
import subprocess
from ops.local.pidfile import identity_of
from ops.stack.deaths import Deaths
from ops.stack.ray_keeper import Keeper
keeper = Keeper([], deaths=Deaths())
node, rest = (subprocess.Popen(["/bin/sleep", seconds]) for seconds in ("0", "60"))
keeper._raylet = node.pid
node.wait()
keeper._end()
assert identity_of(rest.pid) is None
"""
# SIGTERM comes in the instant before the keeper waits: no line of Python runs between the two.
INSTANT = """
import ctypes, functools, operator, os, signal, sys
from ops.stack.deaths import Deaths
from ops.stack.ray_keeper import Keeper
from runtime.logs import configure_logs
wait = os.waitpid
def waitpid(pid, options):
    if keeper._raylet is None:
        return wait(pid, options)
    os.waitpid = wait
    stop = functools.partial(ctypes.CDLL(None).kill, os.getpid(), signal.SIGTERM)
    return list(map(operator.call, (stop, functools.partial(wait, pid, options))))[1]
os.waitpid = waitpid
configure_logs(process_name="ray")
keeper = Keeper(sys.argv[1:], deaths=Deaths())
sys.exit(keeper.run())
"""
# Of a machine that is busy with other tests.
TIMEOUT_S = 30.0


class Kept:
    """A running keeper, and what it logs."""

    def __init__(self, argv: list[str], pass_fds: Sequence[int]) -> None:
        self.process = subprocess.Popen(
            argv,
            env={**os.environ, "NODE_ID": "a b"},
            stderr=subprocess.PIPE,
            text=True,
            pass_fds=pass_fds,
        )

    def event(self, name: str) -> dict[str, Any]:
        """Read on until it logs that."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            logged: dict[str, Any] = json.loads(line)
            if logged["event"] == name:
                return logged
        raise AssertionError(f"it ended with {self.process.wait()} and never logged {name}")

    def end(self) -> None:
        self.process.terminate()
        self.process.wait(TIMEOUT_S)
        assert self.process.stderr is not None
        self.process.stderr.close()


Keep = Callable[..., Kept]


@pytest.fixture
def keep(tmp_path: Path) -> Iterator[Keep]:
    """Keeps a node of two programs that sleep, as `ray start` leaves them: orphans."""
    kept: list[Kept] = []
    for name in (CONTROL_SERVICE, NODE_PROCESS):
        (tmp_path / name).symlink_to("/bin/sleep")

    def make(
        *,
        keeper: list[str] = KEEPER,
        control_s: str = "60",
        node_s: str = "60",
        pass_fds: Sequence[int] = (),
    ) -> Kept:
        programs = ((CONTROL_SERVICE, control_s), (NODE_PROCESS, node_s))
        # As `ray start` does, the shell ends once both are the programs that they are to be.
        script = "; ".join(
            f'{tmp_path}/{name} {seconds} & while [ "$(cat /proc/$!/comm 2>/dev/null)" = sh ]; do :; done'
            for name, seconds in programs
        )
        kept.append(Kept([*keeper, "/bin/sh", "-c", script], pass_fds))
        return kept[-1]

    yield make
    for one in kept:
        one.end()


def wait_ended(pid: int) -> None:
    give_up_at_s = time.monotonic() + TIMEOUT_S
    while identity_of(pid) is not None:
        assert time.monotonic() < give_up_at_s, f"{pid} still runs"
        time.sleep(0.01)


def begun(pid: int) -> Program:
    """What a process runs, once it does: in the midst of its beginning it has no arguments."""
    give_up_at_s = time.monotonic() + TIMEOUT_S
    while not Program.of(pid).argv[0]:
        assert time.monotonic() < give_up_at_s, f"{pid} never begins"
        time.sleep(0.01)
    return Program.of(pid)


def test_a_control_service_that_dies_is_started_again_as_it_was(keep: Keep) -> None:
    """The same program, arguments and environment; the node process is the same one."""
    kept = keep()
    ready = kept.event(READY_EVENT)
    before = Program.of(ready["control_service"])
    os.kill(ready["control_service"], signal.SIGKILL)
    assert kept.event("control_service_died")["code"] == -signal.SIGKILL
    again = kept.event("control_service_started")["pid"]
    assert again != ready["control_service"]
    assert begun(again) == before
    assert before.environment[b"NODE_ID"] == b"a b"
    assert identity_of(ready["raylet"]) is not None

    kept.process.terminate()
    assert kept.process.wait(TIMEOUT_S) == 0
    wait_ended(again)
    wait_ended(ready["raylet"])


def test_a_node_whose_node_process_died_is_ended(keep: Keep) -> None:
    """Hosts run below it: there is nothing left to keep, and the daemon starts all anew."""
    kept = keep()
    ready = kept.event(READY_EVENT)
    os.kill(ready["raylet"], signal.SIGKILL)
    kept.event("ray_node_died")
    assert kept.process.wait(TIMEOUT_S) == 1
    wait_ended(ready["control_service"])


def test_a_control_service_that_dies_again_and_again_is_given_up(keep: Keep) -> None:
    """What it keeps may be what kills it: only a start without that ends it."""
    kept = keep(keeper=[sys.executable, "-P", "-c", HASTY], control_s="0.2")
    ready = kept.event(READY_EVENT)
    for _ in range(DEATHS_MAX):
        kept.event("control_service_died")
    kept.event("control_service_given_up")
    assert kept.process.wait(TIMEOUT_S) == 1
    wait_ended(ready["raylet"])


def test_a_start_that_fails_is_a_failure() -> None:
    """The daemon reads the code and shows the log."""
    done = subprocess.run(
        [*KEEPER, "/bin/sh", "-c", "exit 3"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert json.loads(done.stderr)["event"] == "ray_start_failed"


def test_a_node_that_is_not_whole_is_a_failure() -> None:
    """A command that leaves neither process behind has started nothing."""
    done = subprocess.run(
        [*KEEPER, "/bin/sh", "-c", "sleep 60 &"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert json.loads(done.stderr)["event"] == "ray_node_incomplete"


def test_a_stop_in_the_instant_before_it_waits_is_not_lost(keep: Keep) -> None:
    """A handler would not be run before the wait returns, and that may be never."""
    kept = keep(keeper=[sys.executable, "-P", "-c", INSTANT])
    ready = kept.event(READY_EVENT)
    assert kept.process.wait(TIMEOUT_S) == 0
    wait_ended(ready["raylet"])


def test_the_node_gets_signals_as_any_program_does(keep: Keep) -> None:
    """What the keeper blocks and ignores for itself is not handed on."""
    kept = keep()
    ready = kept.event(READY_EVENT)
    os.kill(ready["control_service"], signal.SIGKILL)
    for pid in (ready["raylet"], kept.event("control_service_started")["pid"]):
        begun(pid)
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
        signals = dict(line.split(":\t") for line in status.splitlines() if line.startswith("Sig"))
        assert int(signals["SigBlk"], 16) == 0
        # A shell lets what it leaves in the background ignore its terminal's.
        ignored = {
            number for number in signal.Signals if int(signals["SigIgn"], 16) >> number - 1 & 1
        }
        assert ignored <= {signal.SIGINT, signal.SIGQUIT}


def test_an_interrupt_is_a_stop(keep: Keep) -> None:
    """Who runs it in a terminal ends it, and nothing of the node is left."""
    kept = keep()
    ready = kept.event(READY_EVENT)
    kept.process.send_signal(signal.SIGINT)
    assert kept.process.wait(TIMEOUT_S) == 0
    wait_ended(ready["raylet"])


def test_the_node_inherits_no_files_but_the_standard_ones(keep: Keep) -> None:
    """Whatever the keeper was started with: a pipe or a lock of somebody else would never end."""
    reading, writing = os.pipe()
    with os.fdopen(reading), os.fdopen(writing, "w"):
        kept = keep(pass_fds=[reading])
        ready = kept.event(READY_EVENT)
        assert sorted(os.listdir(f"/proc/{ready['raylet']}/fd")) == ["0", "1", "2"]
        assert str(reading) in os.listdir(f"/proc/{kept.process.pid}/fd")


def test_a_stop_right_after_the_nodes_death_ends_the_rest() -> None:
    """A process id that was waited for is nobody's any more: it is left alone, and the rest is killed."""
    subprocess.run([sys.executable, "-c", LATE], check=True, timeout=TIMEOUT_S)
