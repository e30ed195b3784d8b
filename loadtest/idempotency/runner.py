"""Tries rows against a deployment, within a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import NamedTuple

from loadtest.idempotency.rows import Deployment, Row
from loadtest.idempotency.verdicts import NotTestable, Violated

# Rows mostly wait for slow orders; more at once would disturb each other on a small machine.
ROWS_AT_ONCE = 4
# One row: a handful of orders that settle in seconds, or in a minute when an outcome gets lost.
ROW_S_MAX = 120.0


class Verdict(StrEnum):
    """How a row ended."""

    PASSED = "pass"
    FAILED = "fail"
    SKIPPED = "skipped"


class Result(NamedTuple):
    """A row with its verdict."""

    row: Row
    verdict: Verdict
    reason: str
    """Why it failed or was skipped; empty for one that passed."""
    seconds: float


OnResult = Callable[[Result], None]


async def try_rows(
    rows: Sequence[Row], deployment: Deployment, *, seconds_max: float, on_result: OnResult
) -> list[Result]:
    """Try every row, those that kill one by one after the others; return results in the rows' order.

    What has not ended after ``seconds_max`` has failed.
    """
    ends_s = time.monotonic() + seconds_max
    results: dict[str, Result] = {}
    turns = asyncio.Semaphore(ROWS_AT_ONCE)

    async def try_in_turn(row: Row) -> None:
        async with turns:
            results[row.name] = await _tried(row, deployment, ends_s)
        on_result(results[row.name])

    await asyncio.gather(*(try_in_turn(row) for row in rows if not row.is_disruptive))
    for row in rows:
        if row.is_disruptive:
            await try_in_turn(row)
    return [results[row.name] for row in rows]


async def _tried(row: Row, deployment: Deployment, ends_s: float) -> Result:
    started_s = time.monotonic()
    verdict, reason = Verdict.PASSED, ""
    row_s_max = min(ROW_S_MAX + deployment.delay_s, ends_s - started_s)
    try:
        if row_s_max <= 0:
            raise TimeoutError
        async with asyncio.timeout(row_s_max):
            await row.check(deployment)
    except NotTestable as why:
        verdict, reason = Verdict.SKIPPED, str(why)
    except Violated as why:
        verdict, reason = Verdict.FAILED, str(why)
    except TimeoutError:
        verdict, reason = Verdict.FAILED, f"no verdict within {max(row_s_max, 0.0):.0f} s"
    except OSError as fault:
        verdict, reason = Verdict.FAILED, f"the deployment can't be reached: {fault}"
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as oddity:
        # A check read a member that a documented answer has.
        reason = f"an answer lacks what is documented: {oddity!r}"
        verdict = Verdict.FAILED
    return Result(row, verdict, reason, time.monotonic() - started_s)
