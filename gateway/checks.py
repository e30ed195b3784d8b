"""What /readyz looks at: the queue with its replicas, and the books with their standby."""

from __future__ import annotations

import re
from collections.abc import Sequence

from gateway.health import Check, CheckResult, CheckState
from storage.queue_primaries import REPLICATION, QueuePrimaries
from storage.queue_settings import QueueMode, QueueSettings
from storage.status import StatusQueries

# Replicas tell how far they are each second; one that has been silent for longer stands still. The
# server itself would count it as online until its own timeout.
REPLICA_SILENT_S_MAX = 3

# From good to bad.
_WORSE = (CheckState.OK, CheckState.DEGRADED, CheckState.FAILED)

_ONLINE_REPLICA = re.compile(rb"slave[0-9]+:.*state=online.*,lag=([0-9]+)")


def queue_check(settings: QueueSettings) -> tuple[Check, QueuePrimaries]:
    """Return the check of the queue, and its connections to be closed. Without it nothing goes."""
    primaries = QueuePrimaries(settings)

    async def run() -> CheckResult:
        replies = await primaries.ask_each(REPLICATION)
        return worst_of([of_replication(bytes(info), settings) for (info,) in replies])

    return Check(run=run, is_vital=True), primaries


def worst_of(results: Sequence[CheckResult]) -> CheckResult:
    """Return the result for all primaries of a cluster: as good as the worst of them."""
    return max(results, key=lambda result: _WORSE.index(result.state))


def of_replication(info: bytes, settings: QueueSettings) -> CheckResult:
    """Judge ``INFO replication``: enough replicas to promise what we promise?"""
    lines = info.splitlines()
    if b"role:master" not in lines:
        return CheckResult(state=CheckState.FAILED, detail="connected to a replica")
    online = (_ONLINE_REPLICA.match(line) for line in lines)
    online_count = sum(
        found is not None and int(found[1]) <= REPLICA_SILENT_S_MAX for found in online
    )
    detail = f"{online_count} of {settings.replica_count} replicas"
    if settings.mode is not QueueMode.SINGLE and online_count > settings.replicas_awaited:
        return CheckResult(
            state=CheckState.FAILED,
            detail=f"{detail}: one that nobody waits for could be promoted",
        )
    awaited = settings.replicas_awaited_now
    if awaited < settings.replicas_awaited:
        return CheckResult(state=CheckState.DEGRADED, detail=f"{detail}; one copy is accepted")
    if online_count < awaited:
        return CheckResult(state=CheckState.FAILED, detail=detail)
    if online_count < settings.replica_count:
        return CheckResult(state=CheckState.DEGRADED, detail=detail)
    return CheckResult(state=CheckState.OK, detail=detail)


def books_check(status: StatusQueries) -> Check:
    """Return the check of one shard. Not vital: orders are accepted while the books are away."""

    async def run() -> CheckResult:
        store = await status.store()
        standby_count = len(store.standbys)
        detail = f"{standby_count} standbys"
        if not store.synchronous_standby_names:
            return CheckResult(
                state=CheckState.DEGRADED, detail=f"{detail}; commits wait for none of them"
            )
        state = CheckState.OK if standby_count > 0 else CheckState.DEGRADED
        return CheckResult(state=state, detail=detail)

    return Check(run=run, is_vital=False)
