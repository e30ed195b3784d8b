"""The environments of the stack's processes: the same whoever starts it, and from where."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from ops.compiled.form import own_environment
from ops.local.process import BASE_ENV

# Which part of the stack a process belongs to, so that one part's remains can be found and ended
# without touching the others.
PART_VARIABLE = "TALLY_STACK_PART"
RAY_PART = "ray"


def python_environment(passed: Mapping[str, str]) -> dict[str, str]:
    """What our own Python processes see. They run the form of our code that this one runs."""
    return {
        **BASE_ENV,
        "LC_ALL": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        **own_environment(),
        **passed,
    }


def ray_environment(
    passed: Mapping[str, str], token_path: Path, *, metrics_port: int, control_state: Path
) -> dict[str, str]:
    """What Ray's processes, and everybody who connects to them, see."""
    return {
        **python_environment(passed),
        PART_VARIABLE: RAY_PART,
        # Ray calls programs of its own by name.
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{BASE_ENV['PATH']}",
        # Whoever reaches a Ray port can run code, unless it asks for a token.
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token_path),
        "RAY_USAGE_STATS_ENABLED": "0",
        # Else a control service that was started again knows no node, and the node ends itself.
        "RAY_gcs_storage": "rocksdb",
        "RAY_gcs_storage_path": str(control_state),
        # Ray's own drain waits 30 s for actors that never end; ours has happened before.
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
        "DASHBOARD_METRIC_PORT": str(metrics_port),
        # Its metrics would be served to everybody who can reach this machine.
        "RAY_enable_metrics_collection": "0",
        # Ray's processes write their titles over their environment, and our marker with it.
        "SPT_NOENV": "1",
        # Ray starts workers at niceness 15: a host beside anything busy would get 3 % of a core, and
        # miss its beats.
        "RAY_worker_niceness": "0",
        # Workers' logs, by file; the default is 512 MB.
        "RAY_ROTATION_MAX_BYTES": str(16 * 1024 * 1024),
        "RAY_ROTATION_BACKUP_COUNT": "2",
    }
