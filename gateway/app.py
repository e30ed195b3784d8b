"""The gateway's application: its parts put together, and its routes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from aiohttp import hdrs, web

from gateway.accepting import Accepting
from gateway.authentication import Authentication
from gateway.dead_letters import DeadLetters
from gateway.documentation import problems_page
from gateway.door import Door
from gateway.finding import Finding
from gateway.health import Check, Health
from gateway.holding import Holding
from gateway.lookups import Lookups
from gateway.operations import Operations
from gateway.payments import Payments
from gateway.psp_webhooks import PspWebhooks
from gateway.seller_cache import SellerCache
from gateway.sellers import Sellers
from gateway.server import CLIENT_BYTES_MAX, DIRECT_ROUTES
from gateway.settings import GatewaySettings
from gateway.waiting import Waiters
from gateway.wallets import Wallets
from runtime.clock import Clock
from runtime.crash_points import CrashPoints
from runtime.metrics import Metrics
from storage.letters import Letters
from storage.queue_ports import GatewayQueue
from storage.read_ports import Directory, PaymentQueries

PAYMENTS = "/v1/payments"
DEAD_LETTERS = "/v1/dead_letters"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependencies:
    """What the gateway talks to. Whoever made them closes them, after the application has ended."""

    settings: GatewaySettings
    clock: Clock
    queries: PaymentQueries
    directory: Directory
    letters: Letters
    append_queues: Sequence[GatewayQueue]
    """One lane each; two keep the server busy while one waits for the replicas."""
    find_queues: Sequence[GatewayQueue]
    """Apart from the lanes: a GET must not wait behind their waits."""
    reply_to: str = ""
    """This process's reply channel; empty when nobody listens on it."""
    checks: Mapping[str, Check] = field(default_factory=dict)
    crash_points: CrashPoints | None = None


class Gateway:
    """All parts of one gateway process, behind its application."""

    def __init__(self, dependencies: Dependencies) -> None:
        settings, clock = dependencies.settings, dependencies.clock
        self.metrics = Metrics()
        self.lookups = Lookups(dependencies.queries, clock=clock, metrics=self.metrics)
        self.accepting = Accepting(
            dependencies.append_queues,
            self.lookups,
            settings,
            clock=clock,
            metrics=self.metrics,
            crash_points=dependencies.crash_points,
        )
        self.waiters = Waiters(
            self.lookups, count_max=settings.waiters_max, clock=clock, metrics=self.metrics
        )
        self.health = Health(dependencies.checks, self.accepting, clock=clock, metrics=self.metrics)
        self.door = Door(
            Authentication(dependencies.directory, settings, clock=clock), self.metrics
        )
        sellers = SellerCache(dependencies.directory, settings, clock=clock)
        self.app = web.Application(
            middlewares=[self.door.middleware()], client_max_size=CLIENT_BYTES_MAX
        )
        self._add_routes(dependencies, sellers)
        self.app.cleanup_ctx.append(self._run)

    def replied(self, *, taken_in: Sequence[UUID], settled: Sequence[UUID]) -> None:
        """Take one reply of an owner: orders that the books hold now, and orders that settled."""
        self.accepting.taken_in(taken_in)
        self.waiters.reported_settled(settled)

    def _add_routes(self, dependencies: Dependencies, sellers: SellerCache) -> None:
        holding = Holding(self.accepting, self.waiters, dependencies.clock)
        finding = Finding(self.lookups, dependencies.find_queues, sellers)
        payments = Payments(
            settings=dependencies.settings,
            clock=dependencies.clock,
            holding=holding,
            finding=finding,
            sellers=sellers,
            queries=dependencies.queries,
            reply_to=dependencies.reply_to,
        )
        of_sellers = Sellers(dependencies.directory, sellers, dependencies.settings)
        of_psps = PspWebhooks(
            dependencies.settings,
            self.accepting,
            clock=dependencies.clock,
            metrics=self.metrics,
            reply_to=dependencies.reply_to,
        )
        wallets = Wallets(dependencies.queries, sellers)
        public, merchant, health = self.door.public, self.door.merchant, self.health
        create = self.door.direct(payments.create, PAYMENTS)
        self.app[DIRECT_ROUTES] = {(hdrs.METH_POST, PAYMENTS): create}
        self.app.add_routes(
            [
                web.post(PAYMENTS, merchant(payments.create)),
                web.get(PAYMENTS, merchant(payments.list_all), allow_head=False),
                web.get("/v1/payments/{id}", merchant(payments.show), allow_head=False),
                web.get(
                    "/v1/payments/{id}/transfers",
                    merchant(payments.list_transfers),
                    allow_head=False,
                ),
                *self._of_operations(dependencies, holding, finding),
                web.post("/v1/sellers", merchant(of_sellers.create)),
                web.get("/v1/sellers", merchant(of_sellers.list_all), allow_head=False),
                web.get("/v1/wallets/{owner}", merchant(wallets.show), allow_head=False),
                *self._of_operators(dependencies),
                web.post("/v1/psp/{name}/webhooks", public(of_psps.receive)),
                web.get("/healthz", public(health.alive)),
                web.get("/readyz", public(health.ready)),
                web.get("/metrics", public(health.metrics)),
                web.get("/docs/problems", public(problems_page)),
            ]
        )

    def _of_operations(
        self, dependencies: Dependencies, holding: Holding, finding: Finding
    ) -> list[web.RouteDef]:
        operations = Operations(
            settings=dependencies.settings,
            clock=dependencies.clock,
            holding=holding,
            finding=finding,
            lookups=self.lookups,
            queries=dependencies.queries,
            reply_to=dependencies.reply_to,
        )
        merchant, refunds = self.door.merchant, "/v1/payments/{id}/refunds"
        return [
            web.post("/v1/payments/{id}/captures", merchant(operations.capture)),
            web.post("/v1/payments/{id}/void", merchant(operations.void)),
            web.post(refunds, merchant(operations.refund)),
            web.get(refunds, merchant(operations.list_refunds), allow_head=False),
            web.get("/v1/refunds/{id}", merchant(operations.show_refund), allow_head=False),
        ]

    def _of_operators(self, dependencies: Dependencies) -> list[web.RouteDef]:
        letters = DeadLetters(dependencies.letters, dependencies.settings)
        operator, one = self.door.operator, f"{DEAD_LETTERS}/{{id}}"
        return [
            web.get(DEAD_LETTERS, operator(letters.list_all), allow_head=False),
            web.get(one, operator(letters.show), allow_head=False),
            web.post(f"{one}/replay", operator(letters.replay)),
            web.post(f"{one}/discard", operator(letters.discard)),
        ]

    async def _run(self, _app: web.Application) -> AsyncIterator[None]:
        """Run what works beside the handlers, from the first request to after the last."""
        self.accepting.start()
        self.waiters.start()
        yield
        await asyncio.gather(self.accepting.close(), self.waiters.close())
        await self.lookups.close()
