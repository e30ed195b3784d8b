from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.local.pidfile import (
    ProcessIdentity,
    identity_of,
    is_alive,
    read_live,
    stop_process,
    write_pid_file,
)


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that is content to wait."""
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


@pytest.fixture
def stubborn() -> Iterator[subprocess.Popen[bytes]]:
    """A process that ignores SIGTERM."""
    code = "import signal; signal.signal(15, signal.SIG_IGN); print(flush=True); signal.pause()"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()  # now it ignores
        yield process
        process.kill()


def test_a_recorded_process_is_recognised(tmp_path: Path) -> None:
    """The process that the file names is alive for as long as it runs."""
    path = tmp_path / "server.pid"
    write_pid_file(path, os.getpid())
    assert is_alive(path)
    assert read_live(path) == identity_of(os.getpid())
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("field", "value"), [("start_ticks", 1), ("boot_id", "another boot"), ("pid", 2**22 + 1)]
)
def test_a_recycled_pid_is_not_mistaken(tmp_path: Path, field: str, value: int | str) -> None:
    """Another start time or boot means another process: the file is stale, and goes."""
    path = tmp_path / "server.pid"
    write_pid_file(path, os.getpid())
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, field: value}))
    assert not is_alive(path)
    assert not path.exists()


@pytest.mark.parametrize("content", ["", "123", "{", '{"pid": 1}', "null"])
def test_a_damaged_pid_file_names_nobody(tmp_path: Path, content: str) -> None:
    """A file cut short by a crash is stale, not an error."""
    path = tmp_path / "server.pid"
    path.write_text(content)
    assert not is_alive(path)
    assert not path.exists()


def test_a_zombie_is_dead() -> None:
    """A process that has ended, but that nobody has reaped yet, doesn't count as alive."""
    with subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.read()  # returns when the process has closed it, that is, ends
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert identity_of(process.pid) is None


async def test_a_stopped_process_has_ended(sleeper: subprocess.Popen[bytes]) -> None:
    """Stopping asks by the given signal, and returns once the process is gone."""
    identity = identity_of(sleeper.pid)
    assert identity is not None
    await stop_process(identity, stop_signal=signal.SIGTERM, timeout_s=5)
    assert sleeper.wait() == -signal.SIGTERM


async def test_a_process_that_ignores_the_signal_is_killed(
    stubborn: subprocess.Popen[bytes],
) -> None:
    """After the bound comes SIGKILL."""
    identity = identity_of(stubborn.pid)
    assert identity is not None
    await stop_process(identity, stop_signal=signal.SIGTERM, timeout_s=0.1)
    assert stubborn.wait() == -signal.SIGKILL


async def test_another_process_with_the_pid_is_spared(sleeper: subprocess.Popen[bytes]) -> None:
    """Stopping a process whose pid has passed on signals nobody."""
    identity = identity_of(sleeper.pid)
    assert identity is not None
    former = ProcessIdentity(
        pid=identity.pid, start_ticks=identity.start_ticks - 1, boot_id=identity.boot_id
    )
    await stop_process(former, stop_signal=signal.SIGKILL, timeout_s=1)
    assert sleeper.poll() is None
