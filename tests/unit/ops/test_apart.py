"""Commands whose work is done by a process of its own: how a stop reaches it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

_TOLD_WHILE_STARTING = """
import os, signal, subprocess, sys
import click
from ops.commands import bench

start = subprocess.Popen

def told_while_starting(_command, **options):
    child = start([sys.executable, "-c", "import time; time.sleep(60)"], **options)
    print(child.pid, flush=True)
    os.kill(os.getpid(), signal.{name})
    return child

subprocess.Popen = told_while_starting
try:
    bench.run_apart("loadtest.nothing", [], {{}})
except click.Abort:
    sys.exit("interrupted")
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_told_to_stop_before_it_waits_it_stops_its_child(name: str) -> None:
    """The child is in a session of its own: left alone it would go on with the whole benchmark."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", _TOLD_WHILE_STARTING.format(name=name)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, "interrupted\n")
    with pytest.raises(ProcessLookupError):
        os.kill(int(done.stdout), 0)
