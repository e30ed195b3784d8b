"""Noticing that Ray has died behind its own back."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from ops.local.layout import STACK_ID_VARIABLE, StackHome
from ops.local.ports import PORT_NAMES
from ops.stack import ray_head
from ops.stack.config_file import RAY_TOKEN
from ops.stack.environment import PART_VARIABLE, RAY_PART
from ops.stack.marked import title_of
from ops.stack.ray_head import RayService
from ops.stack.ray_vitals import SUPERVISOR_AWAY_S_MAX, VITAL_NAMES, RayVitals
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

    def end(self) -> None:
        for process in self.running:
            process.kill()
            process.wait()


@pytest.fixture
def processes() -> Iterator[Processes]:
    made = Processes()
    yield made
    made.end()


@pytest.mark.parametrize("name", VITAL_NAMES)
def test_the_death_of_a_vital_process_is_noticed(processes: Processes, name: str) -> None:
    """A Ray whose raylet or control store was killed is in trouble at once, and says which it was."""
    records = {title: processes.start(title) for title in VITAL_NAMES}
    vitals = RayVitals()
    vitals.note_head(list(records.values()))
    vitals.note_supervisor(0.0)
    assert vitals.trouble(1.0) is None
    os.kill(records[name].pid, signal.SIGKILL)
    processes.running[VITAL_NAMES.index(name)].wait()
    trouble = vitals.trouble(1.0)
    assert trouble is not None
    assert f"{name} (pid {records[name].pid}) is gone" in trouble


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
    processes: Processes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Though its head's command still runs the service is dead; a start ends the rest first."""
    home = StackHome.prepare(tmp_path / "var")
    home.secret(RAY_TOKEN)
    marks = {STACK_ID_VARIABLE: home.stack_id(), PART_VARIABLE: RAY_PART}

    class FakeHead:
        """A head whose command goes on whatever dies behind it."""

        def __init__(self, *_arguments: object, **_options: object) -> None:
            pass

        async def start(self, _progress: Progress) -> None:
            for title in VITAL_NAMES:
                processes.start(title, marks)

        def is_alive(self) -> bool:
            return True

        async def stop(self) -> None:
            pass

    async def started(argv: Sequence[str], **_options: object) -> str:
        assert "actors" in argv
        return ""

    monkeypatch.setattr(ray_head, "ProcessService", FakeHead)
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
