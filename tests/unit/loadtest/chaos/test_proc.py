"""Processes looked at from outside: alive, held, or ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from loadtest.chaos.proc import descendants, has_ended, is_running, is_stopped, send

SLEEPER = "import time; time.sleep(60)"
PARENT = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "{SLEEPER}"])
print(child.pid, flush=True)
child.wait()
"""


def wait_until(is_so: bool | None, pid: int) -> None:
    give_up_at_s = time.monotonic() + 5
    while is_stopped(pid) is not is_so:
        assert time.monotonic() < give_up_at_s
        time.sleep(0.005)


def test_a_process_is_held_and_goes_on() -> None:
    """SIGSTOP and SIGCONT show at once, and a held process is not one that runs."""
    with subprocess.Popen([sys.executable, "-c", SLEEPER]) as process:
        assert is_running(process.pid)
        send(process.pid, signal.SIGSTOP)
        wait_until(True, process.pid)
        assert not is_running(process.pid)
        assert not has_ended(process.pid)
        send(process.pid, signal.SIGCONT)
        wait_until(False, process.pid)
        assert is_running(process.pid)
        process.kill()


def test_a_killed_process_has_ended_before_anybody_reaps_it() -> None:
    """Its parent may take notice later: it serves nobody any more."""
    with subprocess.Popen([sys.executable, "-c", SLEEPER]) as process:
        send(process.pid, signal.SIGKILL)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert has_ended(process.pid)
        assert not is_running(process.pid)
    assert has_ended(process.pid)
    send(process.pid, signal.SIGCONT)  # to nobody, and no error


def test_children_belong_to_their_process() -> None:
    """What a process has started is found with it."""
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        assert descendants(process.pid) == [child]
        send(child, signal.SIGKILL)
