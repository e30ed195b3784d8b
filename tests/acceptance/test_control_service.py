"""Ray's processes killed, on one stack: what ends with them comes back, and what need not end goes on."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from ops.stack.ray_keeper import CONTROL_SERVICE, NODE_PROCESS
from tests.acceptance.running_stack import RunningStack

# Nothing here takes more than some seconds, but on a machine that does much else besides.
TIMEOUT_S = 60.0
# Ray, supervisor and hosts anew: 15 s on an idle machine, and once it was not all done after 60.
ANEW_TIMEOUT_S = 150.0
KEEPER = "ray"
AGENT = "ray::DashboardAgent"
LASTING = (KEEPER, NODE_PROCESS, "supervisor")

Status = dict[str, Any]


def pid_of(status: Status, name: str) -> int:
    pids = [int(process["pid"]) for process in status["processes"] if process["name"] == name]
    # A child that has not begun its own program yet goes by its parent's name: the older one is meant.
    return min(pids)


def host_pids(status: Status) -> dict[str, int]:
    return {host["name"]: host["pid"] for host in status["hosts"] if host["partitions"]}


def wait_status(
    running: RunningStack, is_wanted: Callable[[Status], bool], *, timeout_s: float = TIMEOUT_S
) -> Status:
    deadline_s = time.monotonic() + timeout_s
    while not is_wanted(status := running.status()):
        assert time.monotonic() < deadline_s, status
        time.sleep(0.2)
    return status


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.fixture(scope="module")
def running() -> Iterator[RunningStack]:
    """A stack with Ray, for one test after the other: each begins and, but for the last, ends with a healthy one."""
    running = RunningStack()
    try:
        running.up("--no-demo")
        yield running
    finally:
        running.remove()


def test_a_ray_that_died_behind_its_head_is_started_again(running: RunningStack) -> None:
    """Killing one of Ray's agents takes raylet, hosts and supervisor along; all come back."""
    hosts = running.pids("host")
    os.kill(pid_of(running.status(), AGENT), signal.SIGKILL)
    time.sleep(3.0)
    wait_status(running, lambda status: bool(status["healthy"]), timeout_s=ANEW_TIMEOUT_S)
    assert not set(hosts) & set(running.pids("host"))
    assert running.json("pay", "--amount", "900")["payment"]["status"] == "succeeded"


def test_hosts_and_payments_outlive_the_control_service(running: RunningStack) -> None:
    """All keep their processes; status says what is away; then Ray scales and restarts hosts again."""
    running.json("scale", "--hosts", "2")  # a stack is up as soon as one host owns everything
    before = running.status()
    hosts = host_pids(before)
    control = pid_of(before, CONTROL_SERVICE)

    with frozen(pid_of(before, KEEPER)):  # as long as it is, nobody starts it again
        os.kill(control, signal.SIGKILL)
        away = wait_status(
            running, lambda status: "Payments go on" in status["problems"].get(CONTROL_SERVICE, "")
        )
        assert not away["healthy"]
        assert "hosts are neither started nor stopped" in running.tally("status").stdout
        assert host_pids(away) == hosts
        assert running.json("pay", "--amount", "900")["payment"]["status"] == "succeeded"

    assert len(running.json("scale", "--hosts", "3")["hosts"]) == 3
    after = wait_status(running, lambda status: bool(status["healthy"]))
    assert pid_of(after, CONTROL_SERVICE) != control
    assert {name: pid_of(after, name) for name in LASTING} == {
        name: pid_of(before, name) for name in LASTING
    }
    assert host_pids(after).items() > hosts.items()

    (name, pid) = next(iter(hosts.items()))
    os.kill(pid, signal.SIGKILL)
    wait_status(running, lambda status: host_pids(status).get(name, pid) != pid)
    assert running.json("pay", "--amount", "900")["payment"]["status"] == "succeeded"
    check_all_end_with_the_daemon(running)


def check_all_end_with_the_daemon(running: RunningStack) -> None:
    """Kill the daemon: no host goes on unwatched, whoever its parent was."""
    status = running.status()
    pids = {item["pid"] for item in status["processes"] if item["role"] in {"ray", "host"}}
    assert len(pids) > 4
    os.kill(_parent_of(pid_of(status, KEEPER)), signal.SIGKILL)
    deadline_s = time.monotonic() + TIMEOUT_S
    while left := pids & set(running.remaining()):
        assert time.monotonic() < deadline_s, left
        time.sleep(0.1)


def _parent_of(pid: int) -> int:
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        return int(stat.read().rpartition(")")[2].split()[1])
