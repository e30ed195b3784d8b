"""Starting and stopping a stack's daemon from the command line, and waiting with progress."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from ops.compiled.form import present_form
from ops.local.faults import HomeInUse, LocalFault
from ops.local.layout import STACK_ID_VARIABLE, StackHome
from ops.local.leftovers import marked_leftovers, stop_leftovers
from ops.local.logs import log_tail, rotate_if_larger
from ops.local.stores import store_directories
from ops.stack.environment import python_environment
from ops.stack.ray_head import outside_directory
from ops.stack.settings import StackSettings
from ops.stack.state import Phase, StackState, read_state
from runtime.config import ConfigError

POLL_S = 0.05
# A first start copies nothing large; a start after a power cut may read a long log.
UP_TIMEOUT_S = 300.0
# Gateways may hold requests for 35 s, hosts for 10, Postgres writes a checkpoint.
DOWN_TIMEOUT_S = 90.0
SWEEP_TIMEOUT_S = 10.0
# What a daemon does after it has told its end: closing files takes milliseconds, a busy machine longer.
LAST_STEPS_TIMEOUT_S = 5.0

Progress = Callable[[str], None]


class StackFailed(LocalFault):
    """The stack did not start; the text is the daemon's reason, with what to do."""


def start_stack(settings: StackSettings, progress: Progress) -> StackState:
    """Start the daemon and return once the stack runs; one that runs already is left alone.

    Raises StackFailed, HomeInUse, HomeNotOurs, HomeUnusable, ConfigError.
    """
    home = StackHome.prepare(settings.root)
    state = read_state(home.root)
    if state is not None and state.is_daemon_alive:
        if state.phase is Phase.RUNNING:
            return state
        if state.phase is not Phase.STARTING:
            raise HomeInUse(home.root)
        return _follow(home, state.daemon_pid, None, progress)
    form = present_form(settings.passed_environment)
    progress(f"Code: {form}")
    log_path = home.log_path("stack")
    rotate_if_larger(log_path)
    with log_path.open("ab") as log:
        daemon = subprocess.Popen(
            settings.daemon_arguments(),
            env={
                **python_environment(settings.passed_environment),
                **form.environment,
                STACK_ID_VARIABLE: home.stack_id(),
            },
            cwd=home.root,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return _follow(home, daemon.pid, daemon, progress)


def _follow(
    home: StackHome, pid: int, daemon: subprocess.Popen[bytes] | None, progress: Progress
) -> StackState:
    """Tell each step of the starting daemon, until it runs."""
    told_count = 0
    deadline_s = time.monotonic() + UP_TIMEOUT_S
    try:
        while time.monotonic() < deadline_s:
            is_ended = daemon is not None and daemon.poll() is not None
            state = read_state(home.root)
            if state is not None and state.daemon_pid == pid:
                for text in state.progress[told_count:]:
                    progress(text)
                told_count = len(state.progress)
                if state.phase is Phase.RUNNING:
                    return state
                if state.phase in (Phase.FAILED, Phase.STOPPED):
                    _await_end(state, daemon)
                    if state.phase is Phase.FAILED and state.is_config_wrong:
                        raise ConfigError(state.error)
                    raise StackFailed(state.error or "the stack was stopped while it started")
                is_ended = is_ended or not state.is_daemon_alive
            if is_ended:
                log_path = home.log_path("stack")
                raise StackFailed(f"the stack's daemon died. {log_path}:\n{log_tail(log_path)}")
            time.sleep(POLL_S)
    except KeyboardInterrupt:
        progress("Interrupted: stopping what was started")
        stop_stack(home.root, progress)
        raise
    stop_stack(home.root, progress)
    raise StackFailed(f"not running after {UP_TIMEOUT_S:.0f} s; logs are in {home.logs}")


def _await_end(state: StackState, daemon: subprocess.Popen[bytes] | None) -> None:
    """Wait until a daemon that has told its end is gone, too: nothing of the stack stays behind."""
    deadline_s = time.monotonic() + LAST_STEPS_TIMEOUT_S
    while time.monotonic() < deadline_s:
        if daemon is not None:
            daemon.poll()
        if not state.is_daemon_alive:
            return
        time.sleep(POLL_S)


def stop_stack(root: Path, progress: Progress) -> bool:
    """Stop the daemon and whatever is left of its stack. Returns whether there was anything.

    Raises StackFailed when something can't be ended.
    """
    if not (root / "data" / "stack_id").exists():
        return False
    home = StackHome.prepare(root)
    had_daemon = _stop_daemon(home, progress)
    leftovers = marked_leftovers(home.stack_id(), store_directories(home))
    if leftovers:
        progress(f"Ending {len(leftovers)} processes that were left over")
        try:
            asyncio.run(stop_leftovers(leftovers, timeout_s=SWEEP_TIMEOUT_S))
        except TimeoutError as error:
            raise StackFailed(str(error)) from error
    _remove_sockets(home)
    return had_daemon or bool(leftovers)


def _stop_daemon(home: StackHome, progress: Progress) -> bool:
    state = read_state(home.root)
    if state is None or not state.is_daemon_alive:
        return False
    told_count = len(state.progress)
    os.kill(state.daemon_pid, signal.SIGTERM)
    deadline_s = time.monotonic() + DOWN_TIMEOUT_S
    while state.is_daemon_alive:
        if time.monotonic() > deadline_s:
            progress(f"The daemon has not ended after {DOWN_TIMEOUT_S:.0f} s: killing it")
            os.kill(state.daemon_pid, signal.SIGKILL)
            break
        now = read_state(home.root)
        if now is not None:
            for text in now.progress[told_count:]:
                progress(text)
            told_count = len(now.progress)
        time.sleep(POLL_S)
    return True


def _remove_sockets(home: StackHome) -> None:
    """Remove Ray's directory where it had to lie outside of the home."""
    shutil.rmtree(outside_directory(home), ignore_errors=True)
