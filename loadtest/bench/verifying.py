"""Whether the books are right after a run: the word of ``tally verify``."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from ops.exit_codes import ExitCode
from ops.stack.environment import python_environment

# A million payments take 90 s; a run makes some tens of thousands.
VERIFY_TIMEOUT_S = 300.0

BY_VERIFY = "tally verify"
# What green books cost to verify is worth keeping, too.
_COSTS = ("seconds", "peak_memory_bytes")


async def verify(root: Path) -> dict[str, Any]:
    """Run ``tally verify --json`` on the stack of a home. Of books that are not right, all that it printed."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "ops.cli", "--home", str(root), "verify", "--json"),
        env=python_environment({}),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(VERIFY_TIMEOUT_S):
            out, err = await process.communicate()
    except TimeoutError:
        process.kill()
        return {"ok": False, "by": BY_VERIFY, "error": f"no end after {VERIFY_TIMEOUT_S} s"}
    try:
        document: dict[str, Any] = json.loads(out)
    except json.JSONDecodeError:
        return {"ok": False, "by": BY_VERIFY, "error": err.decode(errors="replace")[-2_000:]}
    if process.returncode == ExitCode.OK and document.get("ok") is True:
        return {"ok": True, "by": BY_VERIFY, **{name: document[name] for name in _COSTS}}
    return {**document, "ok": False, "by": BY_VERIFY}
