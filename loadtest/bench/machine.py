"""Facts about the machine, without which no figure means anything."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ops.compiled.form import Form
from ops.versions import versions
from runtime.clock import SystemClock


def machine_facts(form: Form) -> dict[str, Any]:
    """Processor, memory, kernel, load before the runs, versions of what runs on it, and our code's form."""
    return {
        "cpu_model": _field("/proc/cpuinfo", "model name"),
        "core_count": os.cpu_count(),
        "cores_usable": len(os.sched_getaffinity(0)),
        "memory_bytes": int(str(_field("/proc/meminfo", "MemTotal")).split()[0]) * 1_024,
        "kernel": platform.release(),
        "architecture": platform.machine(),
        "load_average_before": list(os.getloadavg()),
        "versions": dict(versions()),
        "code": str(form),
    }


def revision() -> dict[str, Any]:
    """The checkout's commit, and whether files differ from it; nulls outside of a checkout."""
    root = Path(__file__).parents[2]
    commit = _git(root, "rev-parse", "HEAD")
    changed = _git(root, "status", "--porcelain")
    return {"commit": commit, "is_changed": None if changed is None else bool(changed)}


def revision_text(of: Mapping[str, Any]) -> str:
    """What ``revision`` returned, as people read it."""
    commit = (of["commit"] or "unknown")[:12]
    return f"{commit}, with local changes" if of["is_changed"] else commit


def measured_at() -> str:
    """The time of the measurement, in UTC to the second, by ISO 8601."""
    return SystemClock().now().isoformat(timespec="seconds")


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments],
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _field(path: str, name: str) -> str | None:
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return None
