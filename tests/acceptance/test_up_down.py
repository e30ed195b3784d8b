"""The life of a stack: up, used, mended, down, up again with the same data."""

from __future__ import annotations

import os
import signal
import socket
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ops.compiled.form import present_form
from tests.acceptance.conftest import StackFactory
from tests.acceptance.running_stack import RunningStack

STATUS_KEYS = {
    "healthy",
    "gateway_url",
    "api_key",
    "merchant_id",
    "operator_key",
    "psp_url",
    "psps",
    "postgres",
    "redis",
    "partition_count",
    "hosts",
    "processes",
}
ROLES = {
    "gateway",
    "host",
    "dispatcher",
    "supervisor",
    "psp_simulator",
    "postgres_primary",
    "postgres_standby",
    "redis_primary",
    "redis_replica",
    "ray",
}

HEAL_TIMEOUT_S = 60.0


def wait_healthy(running: RunningStack) -> None:
    deadline_s = time.monotonic() + HEAL_TIMEOUT_S
    while not (status := running.status())["healthy"]:
        assert time.monotonic() < deadline_s, status
        time.sleep(0.5)


def test_a_running_stack_tells_everything_about_itself(stack: RunningStack) -> None:
    """Status is healthy, has every promised key, a process of every role, an owner everywhere."""
    status = stack.status()
    assert status["healthy"], status
    assert status.keys() >= STATUS_KEYS
    assert {process["role"] for process in status["processes"]} == ROLES
    owned = sorted(index for host in status["hosts"] for index in host["partitions"])
    assert owned == list(range(status["partition_count"]))
    host_pids = {host["pid"] for host in status["hosts"]}
    assert host_pids == {item["pid"] for item in status["processes"] if item["role"] == "host"}
    # Ray would start them as background work, behind everything else on the machine.
    own = os.getpriority(os.PRIO_PROCESS, 0)
    assert {os.getpriority(os.PRIO_PROCESS, pid) for pid in host_pids} == {own}


def test_gateways_and_hosts_run_compiled(stack: RunningStack) -> None:
    """A stack runs machine code where every payment goes through."""
    form = present_form({})
    if form.root is None:
        pytest.skip(str(form))
    roles = {"gateway", "host"}
    processes = [each for each in stack.status()["processes"] if each["role"] in roles]
    assert {each["role"] for each in processes} == roles
    for each in processes:
        libraries = Path(f"/proc/{each['pid']}/maps").read_text(encoding="utf-8")
        # What its modules have in common; one that another compiled module imports maps no file of its own.
        assert str(form.root) in libraries
        assert "__mypyc." in libraries


def test_a_payment_from_the_command_line_has_its_receipt(stack: RunningStack) -> None:
    """Paying answers with a succeeded order, its two transfers and the wallet before and after."""
    receipt = stack.json("pay", "--amount", "1999")
    assert receipt["payment"]["status"] == "succeeded"
    assert receipt["payment"]["psp_reference"].startswith("ch_")
    assert [transfer["amount"] for transfer in receipt["transfers"]] == [1999, 88]
    shown = stack.json("payments", "show", receipt["idempotency_key"])
    assert shown["status"] == "succeeded"


def test_a_declined_payment_fails_the_command(stack: RunningStack) -> None:
    """A decline exits with 1 and says the decline code."""
    done = stack.tally("pay", "--amount", "500", "--token", "tok_decline_do_not_honor")
    assert done.returncode == 1
    assert "do_not_honor" in done.stderr


def test_the_same_key_twice_is_one_payment(stack: RunningStack) -> None:
    """Repeating a payment under its key moves no money again."""
    key = str(uuid.uuid4())
    first = stack.json("pay", "--amount", "700", "--key", key)
    again = stack.json("pay", "--amount", "700", "--key", key)
    assert again["payment"] == first["payment"]
    assert again["wallet_before"]["balances"] == again["wallet_after"]["balances"]


def test_a_new_merchant_has_a_wallet_of_its_own(stack: RunningStack) -> None:
    """A merchant made on the command line can use its key at once, and starts with nothing."""
    merchant = stack.json("merchants", "create", "Second shop")
    wallet = stack.json("wallet", environment={"TALLY_API_KEY": merchant["api_key"]})
    assert wallet["owner"] == merchant["merchant_id"]
    assert wallet["balances"] == []


def test_hosts_are_scaled_while_the_stack_runs(stack: RunningStack) -> None:
    """Scaling hands partitions over until each host has its share; payments go on."""
    try:
        hosts = stack.json("scale", "--hosts", "3")["hosts"]
        assert len(hosts) == 3
        assert stack.json("pay", "--amount", "300")["payment"]["status"] == "succeeded"
    finally:
        hosts = stack.json("scale", "--hosts", "2")["hosts"]
    assert len(hosts) == 2


def test_a_stack_goes_on_with_its_data_after_a_stop_and_after_a_crash(
    stack_factory: StackFactory,
) -> None:
    """Down leaves no process; up again, also after the daemon was killed, has the same books."""
    running = stack_factory()
    first = running.up("--hosts-without-ray")
    assert "19.99 USD succeeded" in first
    merchant_id = running.status()["merchant_id"]
    running.down()
    assert running.remaining() == []
    assert running.tally("status").returncode == 3

    second = running.up("--hosts-without-ray")
    assert "Wallet before 19.11 USD, after 38.22 USD" in second
    assert running.status()["merchant_id"] == merchant_id

    (daemon_pid,) = {_parent_of(pid) for pid in running.pids("gateway")}
    os.kill(daemon_pid, signal.SIGKILL)
    third = running.up("--hosts-without-ray")
    assert "Wallet before 38.22 USD, after 57.33 USD" in third
    running.down()
    assert running.remaining() == []


def test_what_dies_is_started_again(stack_factory: StackFactory) -> None:
    """A killed host, gateway, simulator or store comes back by itself, and payments go through."""
    running = stack_factory()
    running.up("--hosts-without-ray", "--no-demo")
    for roles in (("host", "gateway", "psp_simulator"), ("redis_replica", "postgres_primary")):
        processes = running.status()["processes"]
        pids = [next(each["pid"] for each in processes if each["role"] == role) for role in roles]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        time.sleep(1.0)
        wait_healthy(running)
        assert not set(pids) & {each["pid"] for each in running.status()["processes"]}
        assert running.json("pay", "--amount", "900")["payment"]["status"] == "succeeded"


@pytest.fixture(scope="module")
def stopped() -> Iterator[tuple[RunningStack, dict[str, Any]]]:
    """A stack with data that was stopped, and what it told of itself when it ran."""
    running = RunningStack()
    try:
        running.up("--hosts-without-ray", "--no-demo")
        status = running.status()
        running.down()
        yield running, status
    finally:
        running.remove()


def test_a_port_in_use_is_named_and_nothing_stays(
    stopped: tuple[RunningStack, dict[str, Any]],
) -> None:
    """A start that finds a port taken says which and what to do, and stops what it had started."""
    running, status = stopped
    port = status["psp_url"].rpartition(":")[2]
    with socket.create_server(("127.0.0.1", int(port))):
        done = running.tally("up", "--hosts-without-ray")
    assert done.returncode == 1
    assert port in done.stderr
    assert "TALLY_PORT_BASE" in done.stderr
    assert running.remaining() == []


def test_a_start_without_a_lost_secret_is_refused(
    stopped: tuple[RunningStack, dict[str, Any]],
) -> None:
    """A stack with data does not start with a new fingerprint key, and starts with the old one."""
    running, status = stopped
    path = Path(status["home"]) / "secrets" / "fingerprint_key"
    key = path.read_bytes()
    path.unlink()
    done = running.tally("up", "--hosts-without-ray")
    assert done.returncode == 1
    assert str(path) in done.stderr
    assert not path.exists()
    path.write_bytes(key)
    running.up("--hosts-without-ray", "--no-demo")


def _parent_of(pid: int) -> int:
    with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
        return int(file.read().rpartition(")")[2].split()[1])
