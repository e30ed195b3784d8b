"""Questions whose answers are waited for only so long: what shows how things stand must not hang with them."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from runtime.faults import StorageUnavailable

T = TypeVar("T")


async def in_time(question: Coroutine[Any, Any, T], limit_s: float) -> T | None:
    """Return the answer; None of a store that is away, or silent for ``limit_s`` seconds."""
    try:
        async with asyncio.timeout(limit_s):
            return await question
    except (TimeoutError, StorageUnavailable):
        return None
