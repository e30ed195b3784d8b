"""Whether the books are right after a run: the word of ``tally verify``."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from loadtest.bench.stack import BenchStack
from ops.stack.environment import python_environment

# A million payments take 90 s; a run makes some tens of thousands.
VERIFY_TIMEOUT_S = 300.0


async def verify(stack: BenchStack) -> dict[str, Any]:
    """Run ``tally verify --json`` on the stack; what it prints, with ``ok``."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "ops.cli", "--home", str(stack.root), "verify", "--json"),
        env=python_environment({}),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), VERIFY_TIMEOUT_S)
    except TimeoutError:
        process.kill()
        return {"ok": False, "by": "tally verify", "error": f"no end after {VERIFY_TIMEOUT_S} s"}
    try:
        document: dict[str, Any] = json.loads(out)
    except json.JSONDecodeError:
        return await _counted(stack, err.decode(errors="replace"))
    return {**document, "ok": bool(document.get("ok")), "by": "tally verify"}


async def _counted(stack: BenchStack, error: str) -> dict[str, Any]:
    row = dict(await stack.stores.fetchrow("audit"))
    is_ok = (
        row["orders"] == row["outcomes"] + row["open"]
        and row["slice_debits"] == row["slice_credits"]
        and row["slice_debits"] == row["transferred"]
    )
    return {"ok": is_ok, "by": "counts"}
