"""Noticing that Ray has died behind its own back."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

import pytest

from ops.local.layout import STACK_ID_VARIABLE, StackHome
from ops.local.ports import PORT_NAMES, free_port
from ops.stack import ray_head
from ops.stack.config_file import RAY_TOKEN
from ops.stack.environment import PART_VARIABLE, RAY_PART
from ops.stack.marked import title_of
from ops.stack.ray_head import RayService, outside_directory
from ops.stack.ray_keeper import CONTROL_SERVICE, NODE_PROCESS
from ops.stack.ray_vitals import (
    CONTROL_AWAY_S_MAX,
    SUPERVISOR_AWAY_S_MAX,
    VITAL_NAMES,
    RayVitals,
)
from ops.stack.services import Progress
from ops.stack.state import ProcessRecord, Role

SUPERVISOR = ProcessRecord(name="supervisor", pid=1, role=Role.SUPERVISOR)


class Processes:
    """Sleeping processes with titles and marks of our choice."""

    def __init__(self) -> None:
        self.running: list[subprocess.Popen[bytes]] = []

    def start(self, title: str, environment: dict[str, str] | None = None) -> ProcessRecord:
        process = subprocess.Popen([title, "60"], executable="/bin/sleep", env=environment or {})
        self.running.append(process)
        # The kernel shows a new program's command line only some time after it was started.
        give_up_at_s = time.monotonic() + 5.0
        while not title_of(process.pid).startswith(title):
            assert time.monotonic() < give_up_at_s
            time.sleep(0.001)
        return ProcessRecord.of(title, process.pid, Role.RAY)

    def kill(self, title: str) -> None:
        """Kill the one with that title, and reap it."""
        (process,) = (process for process in self.running if process.args == [title, "60"])
        process.kill()
        process.wait()

    def end(self) -> None:
        for process in self.running:
            process.kill()
            process.wait()


class ProcessesOfHead:
    """A head whose command goes on whatever dies behind it. Made once, "called" for each head."""

    def __init__(self, processes: Processes, marks: dict[str, str]) -> None:
        self._processes = processes
        self._marks = marks

    def __call__(self, *_arguments: object, **_options: object) -> Self:
        return self

    async def start(self, _progress: Progress) -> None:
        for title in VITAL_NAMES:
            self._processes.start(title, self._marks)

    def is_alive(self) -> bool:
        return True

    async def stop(self) -> None:
        pass


@pytest.fixture
def home(tmp_path: Path) -> Iterator[StackHome]:
    """A home with Ray's token. Its path is too long for Ray, whose directory lies outside then."""
    made = StackHome.prepare(tmp_path / "var")
    made.secret(RAY_TOKEN)
    yield made
    shutil.rmtree(outside_directory(made), ignore_errors=True)


async def started(argv: Sequence[str], **_options: object) -> str:
    """The supervisor's start, which succeeds."""
    assert "actors" in argv
    return ""


@pytest.fixture
def processes() -> Iterator[Processes]:
    made = Processes()
    yield made
    made.end()


def watched(processes: Processes) -> tuple[RayVitals, dict[str, ProcessRecord]]:
    """A Ray that is ready, with its supervisor."""
    records = {title: processes.start(title) for title in VITAL_NAMES}
    vitals = RayVitals()
    vitals.note_head(list(records.values()))
    vitals.note_supervisor(0.0)
    assert vitals.trouble(1.0) is None
    return vitals, records


def test_the_death_of_the_node_process_is_noticed(processes: Processes) -> None:
    """A Ray whose raylet was killed is in trouble at once, and says so."""
    vitals, records = watched(processes)
    processes.kill(NODE_PROCESS)
    trouble = vitals.trouble(1.0)
    assert trouble is not None
    assert f"raylet (pid {records[NODE_PROCESS].pid}) is gone" in trouble


@pytest.mark.parametrize("name", VITAL_NAMES)
def test_a_ray_that_was_never_whole_is_in_trouble(processes: Processes, name: str) -> None:
    """What was not there when Ray said that it is ready is named."""
    vitals = RayVitals()
    vitals.note_head([processes.start(other) for other in VITAL_NAMES if other != name])
    assert vitals.trouble(0.0) == f"{name} was gone as soon as Ray was ready"


def test_a_control_service_may_be_away_for_a_while(processes: Processes) -> None:
    """It is known to be away until another one answers; nobody is to blame for the supervisor meanwhile."""
    vitals, records = watched(processes)
    assert not vitals.is_control_away(1.0)
    processes.kill(CONTROL_SERVICE)
    assert vitals.is_control_away(2.0)
    assert vitals.trouble(2.0 + CONTROL_AWAY_S_MAX) is None
    assert vitals.trouble(2.1 + CONTROL_AWAY_S_MAX) == "there has been no gcs_server for 30 s"

    assert not vitals.is_control_new(list(records.values()))
    again = [records[NODE_PROCESS], processes.start(CONTROL_SERVICE)]
    assert vitals.is_control_new(again)
    vitals.look(again, 25.0)
    assert vitals.is_control_away(25.0)
    vitals.note_control(again)
    assert not vitals.is_control_away(25.0)
    assert vitals.trouble(25.0 + SUPERVISOR_AWAY_S_MAX) is None
    assert vitals.trouble(25.1 + SUPERVISOR_AWAY_S_MAX) == "there has been no supervisor for 20 s"


def test_a_supervisor_may_be_away_for_a_while_only(processes: Processes) -> None:
    """Ray gets the time to start its supervisor again; one that stays away is trouble."""
    records = [processes.start(title) for title in VITAL_NAMES]
    vitals = RayVitals()
    vitals.note_head(records)
    assert vitals.trouble(0.0) == "the supervisor was not started"
    vitals.note_supervisor(0.0)
    vitals.look([*records, SUPERVISOR], 10.0)
    vitals.look(records, 11.0)
    assert vitals.trouble(10.0 + SUPERVISOR_AWAY_S_MAX) is None
    assert vitals.trouble(10.1 + SUPERVISOR_AWAY_S_MAX) == "there has been no supervisor for 20 s"


async def test_a_ray_without_its_raylet_is_ended_and_started_again(
    processes: Processes, monkeypatch: pytest.MonkeyPatch, home: StackHome
) -> None:
    """Though its head's command still runs the service is dead; a start ends the rest first."""
    marks = {STACK_ID_VARIABLE: home.stack_id(), PART_VARIABLE: RAY_PART}

    monkeypatch.setattr(ray_head, "ProcessService", ProcessesOfHead(processes, marks))
    monkeypatch.setattr(ray_head, "run_tool", started)
    ray = RayService(home, dict.fromkeys(PORT_NAMES, 7400), {})
    await ray.start(lambda _: None)
    gcs, raylet = processes.running
    assert ray.is_alive()
    assert {record.name for record in ray.processes()} == set(VITAL_NAMES)

    raylet.kill()
    raylet.wait()
    assert not ray.is_alive()
    assert f"raylet (pid {raylet.pid}) is gone" in ray.describe_death()

    await ray.start(lambda _: None)
    assert ray.is_alive()
    assert gcs.wait() == -signal.SIGKILL
    assert len(ray.processes()) == len(VITAL_NAMES)


async def test_a_control_service_that_died_is_told_until_another_one_answers(
    processes: Processes, monkeypatch: pytest.MonkeyPatch, home: StackHome
) -> None:
    """Ray is not dead by it; status says what goes on and what does not, and the new one must listen."""
    marks = {STACK_ID_VARIABLE: home.stack_id(), PART_VARIABLE: RAY_PART}
    monkeypatch.setattr(ray_head, "ProcessService", ProcessesOfHead(processes, marks))
    monkeypatch.setattr(ray_head, "run_tool", started)
    port = free_port()
    ray = RayService(home, {**dict.fromkeys(PORT_NAMES, 7400), "ray_gcs": port}, {})
    await ray.start(lambda _: None)
    ray.processes()
    assert ray.problems() == {CONTROL_SERVICE: None}

    processes.kill(CONTROL_SERVICE)
    ray.processes()
    assert ray.is_alive()
    assert "Payments go on" in str(ray.problems()[CONTROL_SERVICE])

    processes.start(CONTROL_SERVICE, marks)
    ray.processes()
    assert ray.problems()[CONTROL_SERVICE] is not None
    with socket.create_server(("127.0.0.1", port)):
        ray.processes()
    assert ray.problems() == {CONTROL_SERVICE: None}


async def test_nothing_is_said_to_go_on_where_ray_died_as_a_whole(
    processes: Processes, monkeypatch: pytest.MonkeyPatch, home: StackHome
) -> None:
    """Its keeper ends the control service along with the node; then hosts and payments are gone, too."""
    marks = {STACK_ID_VARIABLE: home.stack_id(), PART_VARIABLE: RAY_PART}
    monkeypatch.setattr(ray_head, "ProcessService", ProcessesOfHead(processes, marks))
    monkeypatch.setattr(ray_head, "run_tool", started)
    ray = RayService(home, dict.fromkeys(PORT_NAMES, 7400), {})
    await ray.start(lambda _: None)
    for title in (NODE_PROCESS, CONTROL_SERVICE):
        processes.kill(title)
    ray.processes()
    assert not ray.is_alive()
    assert "and all hosts with it" in ray.describe_death()
    assert ray.problems() == {CONTROL_SERVICE: None}
