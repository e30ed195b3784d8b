"""A whole stack in a directory of its own, driven by the `tally` command as an operator would."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ops.stack.marked import marked
from ops.stack.state import read_state
from tests.acceptance.forked_commands import run_forked

# A start takes 10 s with Ray on an idle machine; tests may share theirs with others.
COMMAND_TIMEOUT_S = 170.0


class RunningStack:
    """One home on free ports. Every command runs in a process of its own, with little environment."""

    def __init__(self, *, environment: Mapping[str, str] | None = None) -> None:
        # Short, because Unix sockets lie below it; and outside of the checkout.
        self.home = Path(tempfile.mkdtemp(prefix="tally-"))
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "TALLY_HOME": str(self.home),
            "TALLY_PORT_BASE": "0",
            **(environment or {}),
        }

    def tally(
        self, *arguments: str, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, whatever its exit code."""
        return run_forked(
            arguments,
            {**self._environment, **(environment or {})},
            timeout_s=COMMAND_TIMEOUT_S,
        )

    def json(self, *arguments: str, environment: Mapping[str, str] | None = None) -> Any:
        """Run a command that succeeds, and return the JSON that it printed."""
        done = self.tally(*arguments, "--json", environment=environment)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def up(self, *options: str, environment: Mapping[str, str] | None = None) -> str:
        """Start the stack and return what `tally up` printed to stdout."""
        done = self.tally("up", *options, environment=environment)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{self.logs()}"
        return done.stdout

    def down(self) -> None:
        done = self.tally("down")
        assert done.returncode == 0, done.stderr

    def status(self) -> dict[str, Any]:
        """What `tally status --json` says, healthy or not."""
        document: dict[str, Any] = json.loads(self.tally("status", "--json").stdout)
        return document

    def pids(self, role: str) -> list[int]:
        """The processes of a role, as the status tells them."""
        return [item["pid"] for item in self.status()["processes"] if item["role"] == role]

    def remaining(self) -> list[int]:
        """The pids of every process that carries this stack's id."""
        state = read_state(self.home)
        return [] if state is None else [identity.pid for identity in marked(state.stack_id)]

    def logs(self) -> str:
        """The ends of all logs, for a failed test's message."""
        return "\n".join(
            f"--- {path.name}\n{path.read_text(errors='replace')[-2_000:]}"
            for path in sorted((self.home / "logs").glob("*.log"))
        )

    def remove(self) -> None:
        """Stop it and delete everything."""
        try:
            self.tally("down")
        finally:
            shutil.rmtree(self.home, ignore_errors=True)
