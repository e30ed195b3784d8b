"""``/healthz``, ``/readyz`` and ``/metrics``: for load balancers, operators and Prometheus."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import Enum

from aiohttp import web

from gateway.accepting import Accepting
from gateway.door import Answer
from gateway.openapi.common import RETRY_AFTER
from gateway.openapi.declarations import Answered, Declaration, Example, Tag, documented
from gateway.rendering import json_response
from payments.json_schema import Schema, constant, one_of, record, text
from runtime.clock import Clock
from runtime.faults import StorageUnavailable
from runtime.metrics import CONTENT_TYPE, Metrics

# A check that takes longer has failed: whoever asks wants to know now.
CHECK_TIMEOUT_S = 1.0
# Load balancers ask often; the stores are asked at most so often.
CHECKS_FRESH_S = 0.5

# Intake is reported within milliseconds, and a report that got lost is made up for after two seconds.
INTAKE_LATE_S = 4.0

STATUS_READY = "ready"
STATUS_DEGRADED = "degraded"
STATUS_NOT_READY = "not_ready"


class CheckState(Enum):
    """What a check found."""

    OK = "ok"
    DEGRADED = "degraded"
    """It works, with fewer copies than promised."""
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    state: CheckState
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing to look at. ``is_vital``: without it no new order can be accepted."""

    run: Callable[[], Awaitable[CheckResult]]
    """May raise StorageUnavailable, which counts as failed."""
    is_vital: bool


_CHECK: Schema = record(
    "Check",
    "One thing that was looked at.",
    {"state": one_of(*(state.value for state in CheckState)), "detail": text()},
)
_READINESS: Schema = record(
    "Readiness",
    "Whether new orders can be accepted, and by what that is judged.",
    {
        "status": one_of(STATUS_READY, STATUS_DEGRADED, STATUS_NOT_READY),
        "checks": {"type": "object", "additionalProperties": _CHECK},
    },
)
_ALIVE = Declaration(
    name="read_health",
    tag=Tag.HEALTH,
    summary="Whether the process answers",
    answers=(
        Answered(
            status=200,
            text="It does.",
            schema=record("Health", "The process answers.", {"status": constant("ok")}),
        ),
    ),
    refuses_unknown_parameters=False,
    examples=(
        Example(name="ok", text="A process that answers", status=200, answer={"status": "ok"}),
    ),
)
_READY = Declaration(
    name="read_readiness",
    tag=Tag.HEALTH,
    summary="Whether new orders can be accepted",
    text=f"`{STATUS_DEGRADED}`: they can, but something is less than promised.",
    answers=(
        Answered(status=200, text="They can.", schema=_READINESS),
        Answered(status=503, text="They can't.", schema=_READINESS, headers=(RETRY_AFTER,)),
    ),
    refuses_unknown_parameters=False,
)
_METRICS = Declaration(
    name="read_metrics",
    tag=Tag.HEALTH,
    summary="Figures for Prometheus",
    text="On a port that several processes share it is whichever answered.",
    answers=(
        Answered(
            status=200,
            text="Prometheus' text format.",
            schema={"type": "string"},
            content_type="text/plain",
        ),
    ),
    refuses_unknown_parameters=False,
)


class Health:
    """The handlers of the health routes."""

    def __init__(
        self,
        checks: Mapping[str, Check],
        accepting: Accepting,
        *,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._checks = checks
        self._accepting = accepting
        self._clock = clock
        self._metrics = metrics
        self._is_draining = False
        self._results: dict[str, CheckResult] = {}
        self._checked_at_s: float | None = None
        self._checking = asyncio.Lock()

    def start_draining(self) -> None:
        """Say from now on that this process is not ready: it is about to end."""
        self._is_draining = True

    @documented(_ALIVE)
    async def alive(self, _request: web.Request) -> Answer:
        """GET /healthz: 200 as long as the process can answer at all."""
        return json_response({"status": "ok"})

    @documented(_READY)
    async def ready(self, _request: web.Request) -> Answer:
        """GET /readyz: 503 when no new order can be accepted; ``degraded`` when a copy is missing."""
        results = {"gateway": self._own_result(), **await self._checked()}
        status = STATUS_READY
        if any(result.state is not CheckState.OK for result in results.values()):
            status = STATUS_DEGRADED
        if any(
            result.state is CheckState.FAILED and self._is_vital(name)
            for name, result in results.items()
        ):
            status = STATUS_NOT_READY
        document = {
            "status": status,
            "checks": {
                name: {"state": result.state.value, "detail": result.detail}
                for name, result in results.items()
            },
        }
        if status != STATUS_NOT_READY:
            return json_response(document)
        response = json_response(document, 503)
        response.headers["Retry-After"] = "1"
        return response

    @documented(_METRICS)
    async def metrics(self, _request: web.Request) -> Answer:
        """GET /metrics: this process's series. On a shared port that is whichever answered."""
        return web.Response(body=self._metrics.exposition(), headers={"Content-Type": CONTENT_TYPE})

    def _is_vital(self, name: str) -> bool:
        check = self._checks.get(name)
        return check is None or check.is_vital

    def _own_result(self) -> CheckResult:
        if self._is_draining:
            return CheckResult(state=CheckState.FAILED, detail="draining")
        if not self._accepting.is_alive:
            return CheckResult(state=CheckState.FAILED, detail="a task has died")
        if self._accepting.is_full:
            return CheckResult(state=CheckState.FAILED, detail="too many orders wait")
        late_s = self._accepting.unreported.oldest_age_s(self._clock.monotonic_s())
        if late_s >= INTAKE_LATE_S:
            # Their owners are away, or their commits don't end: a standby that stands still looks like that.
            return CheckResult(
                state=CheckState.DEGRADED,
                detail=f"an order has waited {late_s:.0f} s for its intake",
            )
        return CheckResult(state=CheckState.OK)

    async def _checked(self) -> Mapping[str, CheckResult]:
        async with self._checking:
            now_s = self._clock.monotonic_s()
            if self._checked_at_s is None or now_s - self._checked_at_s >= CHECKS_FRESH_S:
                results = await asyncio.gather(*(_run(c) for c in self._checks.values()))
                self._results = dict(zip(self._checks, results, strict=True))
                self._checked_at_s = self._clock.monotonic_s()
        return self._results


async def _run(check: Check) -> CheckResult:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            return await check.run()
    except TimeoutError:
        return CheckResult(state=CheckState.FAILED, detail="no answer in time")
    except StorageUnavailable as fault:
        return CheckResult(state=CheckState.FAILED, detail=f"{fault.store} is unavailable")
