"""The state file, and what is told by processes' titles and counters."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest

from ops.local.layout import StackHome
from ops.stack.ray_head import DIRECTORY_LENGTH_MAX, name_and_role, ray_directory
from ops.stack.report import status_report
from ops.stack.state import STATE_FILE, Phase, ProcessRecord, Role, read_state
from ops.stack.telling import StateTeller
from ops.stack.waiting import Owners
from storage.status import HostStatus


def test_what_is_told_can_be_read_by_others(tmp_path: Path) -> None:
    """Progress, problems, processes and phase reach the file as soon as they are told."""
    home = StackHome.prepare(tmp_path)
    teller = StateTeller(home, is_ray_used=False)
    teller.progress("one")
    teller.progress("two")
    teller.problem("gateway-0", "is started again")
    teller.processes([ProcessRecord.of("gateway-0", os.getpid(), Role.GATEWAY)])
    teller.phase(Phase.RUNNING)
    state = read_state(tmp_path)
    assert state is not None
    assert (state.phase, state.progress) == (Phase.RUNNING, ["one", "two"])
    assert state.problems == {"gateway-0": "is started again"}
    assert state.processes[0].is_alive()
    assert state.is_daemon_alive
    teller.problem("gateway-0", None)
    told = read_state(tmp_path)
    assert told is not None
    assert told.problems == {}


@pytest.mark.parametrize("content", [None, b"", b'{"phase": "running"', b'{"phase": "dancing"}'])
def test_a_state_that_can_not_be_read_is_none(tmp_path: Path, content: bytes | None) -> None:
    """A missing file, or one of another version, means that nobody told anything."""
    home = StackHome.prepare(tmp_path)
    if content is not None:
        (home.run / STATE_FILE).write_bytes(content)
    assert read_state(tmp_path) is None


def test_a_pid_that_was_used_again_is_not_the_recorded_process() -> None:
    """A record names one process for ever, not whoever has its pid now."""
    record = ProcessRecord(name="host", pid=os.getpid(), role=Role.HOST, start_ticks=1)
    assert not record.is_alive()


async def test_the_status_of_no_stack_is_not_healthy(tmp_path: Path) -> None:
    """Where there is no stack, status says so with all keys in place."""
    document = await status_report(tmp_path / "nowhere", {})
    assert document["healthy"] is False
    assert document["phase"] == "absent"
    assert document["hosts"] == document["processes"] == []
    assert document["postgres"] == {"primary_dsn": None, "replica_dsns": []}


async def test_the_status_of_a_dead_daemon_is_not_healthy(tmp_path: Path) -> None:
    """A state that says running, by a daemon that is gone, is reported as died."""
    home = StackHome.prepare(tmp_path)
    StateTeller(home, is_ray_used=False).phase(Phase.RUNNING)
    path = home.run / STATE_FILE
    path.write_text(path.read_text().replace('"daemon_start_ticks": ', '"daemon_start_ticks": 9'))
    document = await status_report(tmp_path, {})
    assert (document["healthy"], document["phase"]) == (False, "died")


@pytest.mark.parametrize(
    ("title", "role"),
    [
        ("ray::HostActor", Role.HOST),
        ("ray::HostActor.start", Role.HOST),
        ("ray::SupervisorActor", Role.SUPERVISOR),
        ("ray::IDLE", Role.RAY),
        ("/v/ray/core/src/ray/raylet/raylet --raylet_socket_name=/x", Role.RAY),
        ("/v/bin/python -P -m ray.scripts.scripts start --head", Role.RAY),
    ],
)
def test_rays_processes_are_told_apart_by_their_titles(title: str, role: Role) -> None:
    """Hosts and supervisor are found among Ray's own processes."""
    assert name_and_role(title)[1] is role


def test_rays_sockets_always_fit(tmp_path: Path) -> None:
    """However deep the home lies, Ray's directory leaves room for its sockets' names."""
    for depth in (1, 40):
        home = StackHome.prepare(tmp_path / "/".join(["d"] * depth))
        assert len(str(ray_directory(home))) <= DIRECTORY_LENGTH_MAX


def host(name: str, number: int, counter: int, partitions: list[int]) -> HostStatus:
    return HostStatus(
        incarnation=UUID(int=number),
        host_name=name,
        node="here",
        pid=1,
        counter=counter,
        started_at=datetime(2026, 1, 1, tzinfo=UTC),
        age_s=1.0,
        partition_indexes=partitions,
    )


def test_what_the_dead_own_does_not_count() -> None:
    """A host counts as an owner while its counter rises, and no longer than a lease after."""
    owners = Owners()
    assert owners.look([host("host-0", 1, 5, [0, 1]), host("host-1", 2, 5, [2])], 0.0) == {}
    living = owners.look([host("host-0", 1, 6, [0, 1]), host("host-1", 2, 5, [2])], 0.5)
    assert living == {"host-0": [0, 1]}
    assert owners.look([host("host-0", 1, 6, [0, 1])], 3.0) == {}


def test_who_lives_is_not_said_before_it_can_be_known() -> None:
    """One look tells nothing of hosts; each is known once its counter rose, or had the time to."""
    owners = Owners()
    owners.look([host("host-0", 1, 5, [0]), host("host-1", 2, 5, [1])], 0.0)
    assert not owners.has_judged(0.0)
    owners.look([host("host-0", 1, 6, [0]), host("host-1", 2, 5, [1])], 0.5)
    assert not owners.has_judged(0.5)
    assert owners.has_judged(2.0)
