"""Single faults, on real processes and sockets: made, healed, and honest about what they did."""

from __future__ import annotations

import asyncio
import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from aiohttp import web

from loadtest.chaos.cells import PSP_STEPS, Cell, FaultKind, cells_of
from loadtest.chaos.disks import SmallDisks
from loadtest.chaos.failures import NotNow, NotPossible
from loadtest.chaos.faults import control_service, processes
from loadtest.chaos.faults.control_service import KillControlService
from loadtest.chaos.faults.making import make_fault
from loadtest.chaos.faults.network import EdgeFails, drawn_mode
from loadtest.chaos.faults.node import NodeDown
from loadtest.chaos.faults.port import Scene
from loadtest.chaos.faults.processes import AtStep, Freeze, Kill
from loadtest.chaos.faults.psp import BODIES, PspMisbehaves
from loadtest.chaos.proc import has_ended, is_running, is_stopped, send
from loadtest.chaos.proxy.modes import EdgeState, Mode, ModeName, Route
from loadtest.chaos.routing import Routing
from loadtest.chaos.stack import ChaosStack
from ops.local.layout import StackHome
from ops.stack.state import ProcessRecord, Role
from psp.simulator.wire import Faults

SLEEPER = "import time; time.sleep(60)"
PARENT = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "{SLEEPER}"])
print(child.pid, flush=True)
child.wait()
"""


class OneProcess:
    """A stack of one process, as faults see it."""

    def __init__(self, pid: int, crash_order: Path) -> None:
        self.record = ProcessRecord.of("host-0", pid, Role.HOST)
        self.crash_order = crash_order
        self.routing = Routing(routes=[], gateway_port=1, psp_ports={})

    def records(self, _target: str) -> list[ProcessRecord]:
        return [] if has_ended(self.record.pid) else [self.record]

    async def wait_back(self, target: str, count: int, timeout_s: float) -> float | None:
        return 0.0 if len(self.records(target)) >= count else None


def scene(stack: object, fault: FaultKind, target: str, step: str) -> Scene:
    cell = Cell(fault=fault, target=target, step=step, hold_s=0.0)
    return Scene(cell=cell, stack=cast("ChaosStack", stack), draw=random.Random(1))


@contextmanager
def family() -> Iterator[tuple[int, int]]:
    """A process and its child."""
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        yield process.pid, child
        process.kill()


@pytest.mark.parametrize("mix", ["all", "ray"])
def test_every_cell_has_its_fault(mix: str) -> None:
    """No cell of a plan is a name alone."""
    for cell in cells_of(mix):
        made = make_fault(
            Scene(cell=cell, stack=cast("ChaosStack", object()), draw=random.Random(1))
        )
        assert callable(made.begin)
        assert callable(made.heal)


async def test_a_kill_takes_the_children_along(tmp_path: Path) -> None:
    """A server whose sessions worked on would not be dead; and who does not come back is said not to be."""
    with family() as (pid, child):
        stack = OneProcess(pid, tmp_path / "order")
        fault = Kill(scene(stack, FaultKind.KILL, "host", "under_load"))
        assert (await fault.begin())["pid"] == pid
        assert has_ended(pid)
        assert has_ended(child)
        assert await fault.heal() == {"is_back": False}


async def test_hosts_that_die_with_the_control_service_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two hosts one is lost; scaling is asked for at once and back again; what never scaled is not back."""
    asked: list[int] = []
    took: list[float | None] = [3.5, 1.25]

    async def scaled(_stack: object, host_count: int, *, since_s: float) -> float | None:
        assert since_s > 0
        asked.append(host_count)
        return took[len(asked) - 1]

    monkeypatch.setattr(control_service, "scaled", scaled)
    with family() as (control, _), family() as (kept, _), family() as (lost, _):
        stack = OneProcess(control, tmp_path / "order")
        hosts = [ProcessRecord.of(f"host-{pid}", pid, Role.HOST) for pid in (kept, lost)]
        monkeypatch.setattr(
            stack, "records", lambda target: hosts if target == "host" else [stack.record]
        )
        fault = KillControlService(scene(stack, FaultKind.KILL, "gcs", "under_load"))
        await fault.begin()
        os.kill(lost, signal.SIGKILL)
        async with asyncio.timeout(5):
            while not has_ended(lost):
                await asyncio.sleep(0.005)
        healed = await fault.heal()
        assert asked == [3, 2]
        assert healed == {
            "is_back": True,
            "back_after_s": 0.0,
            "hosts_lost": 1,
            "scales_after_s": 3.5,
            "scales_down_after_s": 1.25,
        }
        asked.clear()
        took[0] = None
        assert (await fault.heal())["is_back"] is False


async def test_a_freeze_holds_all_and_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parent and child stand still from the moment that it names, also if that comes late, and go on afterwards."""
    with family() as (pid, child):
        stack = OneProcess(pid, tmp_path / "order")
        fault = Freeze(scene(stack, FaultKind.FREEZE, "host", "past_lease"))
        sent_ns = 0

        def send_late(pid: int, what: signal.Signals) -> None:
            nonlocal sent_ns
            time.sleep(0.02)
            sent_ns = time.monotonic_ns()
            send(pid, what)

        monkeypatch.setattr(processes, "send", send_late)
        begun = await fault.begin()
        assert begun["processes"] == 2
        assert isinstance(begun["at_ns"], int)
        assert begun["at_ns"] >= sent_ns
        assert is_stopped(pid)
        assert is_stopped(child)
        healed = await fault.heal()
        assert (healed["is_back"], healed["was_killed_meanwhile"]) == (True, False)
        async with asyncio.timeout(5):
            while not (is_running(pid) and is_running(child)):
                await asyncio.sleep(0.005)


async def test_who_does_not_stand_still_was_not_frozen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else's SIGCONT ends a freeze before it began: it is skipped, not waited for without end."""
    monkeypatch.setattr(processes, "send", lambda _pid, _signal: None)
    monkeypatch.setattr(processes, "STOPPED_TIMEOUT_S", 0.05)
    with family() as (pid, _):
        stack = OneProcess(pid, tmp_path / "order")
        with pytest.raises(NotNow, match="did not stand still"):
            await Freeze(scene(stack, FaultKind.FREEZE, "host", "past_lease")).begin()


async def test_a_step_is_ordered_and_reached(tmp_path: Path) -> None:
    """The order names signal and step; when it is gone somebody has obeyed it."""
    with family() as (pid, _):
        stack = OneProcess(pid, tmp_path / "order")
        fault = AtStep(scene(stack, FaultKind.KILL, "host", "flush_begun"), "kill")
        beginning = asyncio.create_task(fault.begin())
        async with asyncio.timeout(5):
            while not stack.crash_order.exists():
                await asyncio.sleep(0.005)
        assert stack.crash_order.read_text() == "kill flush_begun\n"
        stack.crash_order.unlink()
        assert (await beginning)["reached_after_s"] >= 0.0


async def test_a_step_that_nobody_reaches_is_no_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order is taken back, so that it does not strike later as if it were another's."""
    monkeypatch.setattr(processes, "REACHED_TIMEOUT_S", 0.05)
    with family() as (pid, _):
        stack = OneProcess(pid, tmp_path / "order")
        with pytest.raises(NotNow, match="flush_begun"):
            await AtStep(scene(stack, FaultKind.KILL, "host", "flush_begun"), "kill").begin()
        assert not stack.crash_order.exists()


async def test_what_the_stack_does_not_have_is_not_possible(tmp_path: Path) -> None:
    """A second PSP that was never configured is no reason to wait for it."""
    stack = OneProcess(os.getpid(), tmp_path / "order")
    with pytest.raises(NotPossible, match="psp_b") as reason:
        await Kill(scene(stack, FaultKind.KILL, "psp_b", "under_load")).begin()
    assert not isinstance(reason.value, NotNow)


@pytest.mark.parametrize(("euid", "tool", "why"), [(1_000, "/sbin/ip", "root"), (0, None, "ip")])
async def test_a_node_of_its_own_takes_root_and_iproute(
    euid: int, tool: str | None, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Elsewhere the cell is skipped with the reason, and healing it does nothing."""
    monkeypatch.setattr(os, "geteuid", lambda: euid)
    monkeypatch.setattr(shutil, "which", lambda _: tool)
    stack = OneProcess(os.getpid(), tmp_path / "order")
    fault = NodeDown(scene(stack, FaultKind.NETWORK, "node", "namespace_down"))
    with pytest.raises(NotPossible, match=why) as reason:
        await fault.begin()
    assert not isinstance(reason.value, NotNow)
    assert await fault.heal() == {}


class NotedProxy:
    """Notes what is ordered."""

    def __init__(self) -> None:
        self.modes: dict[str, Mode] = {}

    async def set_mode(self, edge: str, mode: Mode) -> EdgeState:
        self.modes[edge] = mode
        return self.state(edge)

    async def edges(self) -> list[EdgeState]:
        return [self.state(edge) for edge in ("host->redis_1", "host->redis_2")]

    def state(self, edge: str) -> EdgeState:
        return EdgeState(
            edge=edge,
            mode=self.modes.get(edge, Mode()),
            open_count=1,
            made_count=1,
            hurt_count=3 if edge in self.modes and self.modes[edge] == Mode() else 0,
            bytes_forwarded=0,
        )


class Proxied:
    """A stack with two Redis servers behind a proxy."""

    def __init__(self) -> None:
        routes = [
            Route(server=name, listen_port=1, port=2)
            for name in ("redis_1", "redis_2", "postgres_1")
        ]
        self.routing = Routing(routes=routes, gateway_port=1, psp_ports={})
        self.proxy = NotedProxy()


async def test_an_edge_fails_to_every_copy_of_a_store() -> None:
    """Whichever copy is the primary, the way to it is the one that fails; then it passes again."""
    stack = Proxied()
    fault = EdgeFails(scene(stack, FaultKind.NETWORK, "host->redis", "stall"))
    await fault.begin()
    stalled = Mode(name=ModeName.STALL)
    assert stack.proxy.modes == {"host->redis_1": stalled, "host->redis_2": stalled}
    assert (await fault.heal())["hurt_connections"] == 6
    assert set(stack.proxy.modes.values()) == {Mode()}


async def test_an_edge_to_nobody_is_not_possible() -> None:
    """A way to a server that this stack has not can't fail."""
    with pytest.raises(NotPossible, match="psp_b"):
        await EdgeFails(scene(Proxied(), FaultKind.NETWORK, "host->psp_b", "reset")).begin()


def test_modes_are_drawn_within_what_hurts() -> None:
    """Numbers come from the seed alone, and never end a connection by being too small."""
    for seed in range(50):
        draw = random.Random(seed)
        assert 50 <= drawn_mode(ModeName.DELAY, draw).value <= 400
        assert 0 <= drawn_mode(ModeName.CUT, draw).value <= 400
        assert drawn_mode(ModeName.BANDWIDTH, draw).value >= 20_000
        assert drawn_mode(ModeName.RESET, draw).value == 0


class Simulator:
    """A stack whose PSP notes what it is told."""

    def __init__(self, port: int) -> None:
        self.routing = Routing(routes=[], gateway_port=1, psp_ports={"psp_a": port})


async def test_a_psp_is_told_and_told_again() -> None:
    """What a fault switched on its heal switches off; one that is not there is asked again later."""
    told: list[Any] = []

    async def switch(request: web.Request) -> web.Response:
        told.append(await request.json())
        return web.json_response({})

    async with served([web.post("/_faults", switch)]) as port:
        for step in PSP_STEPS:
            fault = PspMisbehaves(scene(Simulator(port), FaultKind.PSP, "psp_a", step))
            assert await fault.begin() == told[-1] != {}
            await fault.heal()
            assert told[-1] == {}
    with pytest.raises(NotNow):
        await PspMisbehaves(scene(Simulator(port), FaultKind.PSP, "psp_a", "down")).begin()


@pytest.mark.parametrize("step", PSP_STEPS)
def test_the_simulator_knows_each_fault(step: str) -> None:
    """What a cell wants is a fault that the simulator's switch takes, and is not nothing."""
    wanted = msgspec.json.encode(BODIES[step](random.Random(1)))
    assert msgspec.json.decode(wanted, type=Faults) != Faults()


async def test_a_psp_without_the_switch_is_a_reason() -> None:
    """A simulator of an older version keeps its cells from being hit, and is not asked to heal."""
    async with served([]) as port:
        fault = PspMisbehaves(scene(Simulator(port), FaultKind.PSP, "psp_a", "lies"))
        with pytest.raises(NotPossible, match="no switch") as reason:
            await fault.begin()
        assert not isinstance(reason.value, NotNow)
        assert await fault.heal() == {}


@asynccontextmanager
async def served(routes: list[web.RouteDef]) -> AsyncIterator[int]:
    """A server with these routes; its port."""
    application = web.Application()
    application.add_routes(routes)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting takes root")
async def test_a_small_disk_runs_full_and_has_room_again(tmp_path: Path) -> None:
    """Not one more page fits while it is full; what was there stays; in the end it is unmounted."""
    home = StackHome.prepare(tmp_path / "home")
    disks = SmallDisks(home)
    try:
        disk = await disks._mounted("valkey-1")
    except NotPossible as reason:
        pytest.skip(str(reason))
    link = home.data / "valkey-1"
    link.symlink_to(disk)
    try:
        (disk / "before").write_bytes(bytes(100_000))
        assert await disks.fill(disks.path_of("valkey_1")) >= 100_000
        with pytest.raises(OSError) as full:  # noqa: PT011  # its number is looked at
            (disk / "more").write_bytes(bytes(100_000))
        assert full.value.errno == errno.ENOSPC
        await disks.empty(disk)
        (disk / "more").write_bytes(bytes(100_000))
        assert (disk / "before").stat().st_size == 100_000
        disks.release("valkey_1")
        for server in ("valkey_1", "postgres_1"):
            with pytest.raises(NotPossible, match="not on a small disk"):
                disks.path_of(server)
    finally:
        await disks.close()
    assert list(disk.iterdir()) == []


async def test_without_root_there_are_no_small_disks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cells are skipped with that reason, and the run goes on."""
    monkeypatch.setattr(os, "geteuid", lambda: 1_000)
    home = StackHome(tmp_path)
    with pytest.raises(NotPossible, match="root"):
        await SmallDisks.prepare(home, lambda _: None)
