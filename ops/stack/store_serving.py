"""The daemon's care for its stores: both are kept alive, and operators' requests are served."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

from ops.local.copies import StoreEvent
from ops.local.faults import LocalFault
from ops.local.resp import RespError
from ops.local.stores import LocalStores
from ops.stack.one_copy import OneCopyTerm
from ops.stack.store_keeping import LOOK_EVERY_S, Report, StoreKeeper
from ops.stack.store_requests import (
    StoreAnswer,
    StoreRequest,
    answer,
    forget_requests,
    take_requests,
)
from runtime.clock import Clock
from runtime.logs import get_logger

_log = get_logger(__name__)

_FAULTS = (LocalFault, RespError, OSError, TimeoutError)

# The books may be what was just promoted, or away.
AUDIT_EVERY_S = 2.0
AUDIT_TRIES_MAX = 300


class StoreCare:
    """Both keepers, and what they are asked for."""

    def __init__(self, stores: LocalStores, report: Report, *, clock: Clock) -> None:
        self._run_directory: Path = stores.home.run
        # What comes from now on is for us, also before we run.
        forget_requests(self._run_directory)
        self._books = stores.postgres_copies
        self._audits: set[asyncio.Task[None]] = set()

        async def accept_one_postgres_copy(for_s: float) -> None:
            await stores.postgres_copies.await_secondary(is_awaited=not for_s)

        self._terms: dict[str, OneCopyTerm] = {}
        self._keepers: dict[str, StoreKeeper] = {}
        for copies, apply in (
            (stores.postgres_copies, accept_one_postgres_copy),
            (stores.valkey_copies, stores.postgres_copies.accept_one_redis_copy),
        ):
            term = OneCopyTerm(copies, apply, clock=clock)
            self._terms[copies.name] = term
            self._keepers[copies.name] = StoreKeeper(
                copies,
                term,
                report,
                clock=clock,
                on_promoted=partial(self._audit_promotion, copies.name),
            )

    async def run(self) -> None:
        """Until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                for keeper in self._keepers.values():
                    group.create_task(keeper.run())
                group.create_task(self._serve())
        finally:
            for audit in self._audits:
                audit.cancel()

    async def _serve(self) -> None:
        while True:
            for name, request in take_requests(self._run_directory):
                try:
                    told = StoreAnswer(is_done=True, text=await self._do(request))
                except _FAULTS as fault:
                    told = StoreAnswer(is_done=False, text=str(fault))
                answer(self._run_directory, name, told)
            await asyncio.sleep(LOOK_EVERY_S)

    async def _do(self, request: StoreRequest) -> str:
        keeper = self._keepers.get(request.store)
        if keeper is None:
            raise LocalFault(f"there is no store {request.store}")
        if request.action == "promote":
            event = await keeper.promote(request.actor, is_forced=request.is_forced)
            return f"{event.node} leads after {event.took_s} s; the other one is copied anew"
        if request.action == "accept_one_copy":
            return await self._accept_one_copy(keeper, request)
        raise LocalFault(f"nobody knows how to {request.action} a store")

    async def _accept_one_copy(self, keeper: StoreKeeper, request: StoreRequest) -> str:
        if keeper.is_following:
            raise LocalFault(f"the second copy of {request.store} is there: nothing to accept")
        if not await keeper.is_primary_up():
            raise LocalFault(f"the primary of {request.store} does not answer: no copy to accept")
        accepted = await self._terms[request.store].accept(request.for_s, request.actor)
        detail = {"for_s": request.for_s, "until": accepted.until}
        self._audit_later(request.actor, "stores.accept_one_copy", request.store, detail)
        return f"until {accepted.until} {request.store} acknowledges on its primary alone"

    def _audit_promotion(self, store: str, event: StoreEvent, is_forced: bool) -> None:
        detail = {"node": event.node, "reason": event.reason, "is_forced": is_forced}
        self._audit_later("tally stack", "stores.promote", store, detail)

    def _audit_later(self, actor: str, action: str, store: str, detail: object) -> None:
        """The record has it already; the books get it as soon as they can take it."""
        task = asyncio.create_task(self._audit(actor, action, store, detail))
        self._audits.add(task)
        task.add_done_callback(self._audits.discard)

    async def _audit(self, actor: str, action: str, store: str, detail: object) -> None:
        for number in range(AUDIT_TRIES_MAX):
            try:
                await self._books.audit(actor, action, store, detail)
            except _FAULTS as fault:
                if number == 0:
                    _log.warning("audit_waits", action=action, reason=str(fault))
                await asyncio.sleep(AUDIT_EVERY_S)
            else:
                return
        _log.error("audit_lost", action=action, store=store)
