"""The daemon's care for its stores: both are kept alive, and operators' requests are served."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

from ops.local.copies import CopiesFile, OwedAudit, StoreCopies, StoreEvent, promotion_audit
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
AUDIT_EVERY_S = 1.0


class StoreCare:
    """Both keepers, and what they are asked for."""

    def __init__(self, stores: LocalStores, report: Report, *, clock: Clock) -> None:
        self._run_directory: Path = stores.home.run
        # What comes from now on is for us, also before we run.
        forget_requests(self._run_directory)
        self._books = stores.postgres_copies
        self._copies: tuple[StoreCopies, ...] = (stores.postgres_copies, stores.valkey_copies)

        async def accept_one_postgres_copy(for_s: float) -> None:
            await stores.postgres_copies.await_secondary(is_awaited=not for_s)

        self._files = {copies.name: copies.file for copies in self._copies}
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
                on_promoted=partial(self._owe_promotion, copies.file),
            )

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            for keeper in self._keepers.values():
                group.create_task(keeper.run())
            group.create_task(self._serve())
            group.create_task(self._write_audits())

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
        owed = OwedAudit(actor=request.actor, action="stores.accept_one_copy", detail=detail)
        self._files[request.store].owe(owed)
        return f"until {accepted.until} {request.store} acknowledges on its primary alone"

    def _owe_promotion(self, file: CopiesFile, event: StoreEvent, is_forced: bool) -> None:
        file.owe(promotion_audit(event, actor="tally stack", is_forced=is_forced))

    async def _write_audits(self) -> None:
        """The records have them already; the books get them as soon as they can take them."""
        has_failed = False
        while True:
            try:
                for copies in self._copies:
                    for owed in copies.file.read().audits_owed:
                        if await self._books.audit(copies.name, owed) and self._is_on_both():
                            copies.file.audited(owed)
            except _FAULTS as fault:
                if not has_failed:
                    _log.warning("audit_waits", reason=str(fault))
                has_failed = True
            else:
                has_failed = False
            await asyncio.sleep(AUDIT_EVERY_S)

    def _is_on_both(self) -> bool:
        """Is what the books were told a while ago on their second copy, too?"""
        return bool(self._books.file.read().in_sync)
