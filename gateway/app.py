"""The gateway's application: its parts put together, and its routes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from aiohttp import hdrs, web

from gateway.accepting import Accepting
from gateway.authentication import Authentication
from gateway.checkout_placing import Placing
from gateway.checkouts import Checkouts
from gateway.dead_letters import DeadLetters
from gateway.disputes import dispute_routes
from gateway.documentation import Documentation
from gateway.door import Door
from gateway.event_routes import event_routes
from gateway.event_stream import EventStreams
from gateway.finding import Finding
from gateway.health import Check, Health
from gateway.holding import Holding
from gateway.lookups import Lookups
from gateway.openapi.declarations import Access
from gateway.openapi.document import Route
from gateway.operations import Operations
from gateway.payments import Payments
from gateway.psp_webhooks import PspWebhooks
from gateway.request_log import REQUESTS_PATH, RequestLog
from gateway.requests import Requests
from gateway.seller_cache import SellerCache
from gateway.sellers import Sellers
from gateway.server import CLIENT_BYTES_MAX
from gateway.settings import GatewaySettings
from gateway.waiting import Waiters
from gateway.wallets import Wallets
from runtime.clock import Clock
from runtime.crash_points import CrashPoints
from runtime.direct_serving import DIRECT_ROUTES
from runtime.metrics import Metrics
from storage.checkouts import CheckoutQueries
from storage.disputes import DisputeQueries
from storage.event_feed import EventFeed
from storage.letters import Letters
from storage.psp_references import PspReferences
from storage.queue_ports import GatewayQueue
from storage.read_ports import Directory, PaymentQueries
from storage.request_log import RequestLogStore
from storage.webhook_ports import Webhooks

PAYMENTS = "/v1/payments"
CHECKOUTS = "/v1/checkouts"
DEAD_LETTERS = "/v1/dead_letters"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependencies:
    """What the gateway talks to. Whoever made them closes them, after the application has ended."""

    settings: GatewaySettings
    clock: Clock
    queries: PaymentQueries
    directory: Directory
    letters: Letters
    checkouts: CheckoutQueries
    disputes: DisputeQueries
    feed: EventFeed
    webhooks: Webhooks
    references: PspReferences
    append_queues: Sequence[GatewayQueue]
    """One lane each; two keep the server busy while one waits for the replicas."""
    find_queues: Sequence[GatewayQueue]
    """Apart from the lanes: a GET must not wait behind their waits."""
    reply_to: str = ""
    """This process's reply channel; empty when nobody listens on it."""
    checks: Mapping[str, Check] = field(default_factory=dict)
    crash_points: CrashPoints | None = None
    request_log: RequestLogStore | None = None
    """None: requests are not logged."""


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
            held_checkouts=dependencies.checkouts.checkouts,
            crash_points=dependencies.crash_points,
        )
        self.waiters = Waiters(
            self.lookups, count_max=settings.waiters_max, clock=clock, metrics=self.metrics
        )
        self.health = Health(dependencies.checks, self.accepting, clock=clock, metrics=self.metrics)
        store = dependencies.request_log
        self.request_log = (
            None
            if store is None
            else RequestLog(store, settings.request_log, clock=clock, metrics=self.metrics)
        )
        self.door = Door(
            Authentication(dependencies.directory, settings, clock=clock),
            self.metrics,
            self.request_log,
        )
        self.streams = EventStreams(dependencies.feed, clock=clock, metrics=self.metrics)
        sellers = SellerCache(dependencies.directory, settings, clock=clock)
        self.app = web.Application(
            middlewares=[self.door.middleware()], client_max_size=CLIENT_BYTES_MAX
        )
        self._add_routes(dependencies, sellers)
        self.app.cleanup_ctx.append(self._run)
        self.app.on_shutdown.append(self._end_streams)

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
        create = self.door.direct(payments.create, PAYMENTS)
        self.app[DIRECT_ROUTES] = {(hdrs.METH_POST, PAYMENTS): create}
        documentation = Documentation()
        self.app.add_routes(
            [
                *self._of_payments(payments),
                *self._of_operations(dependencies, holding, finding),
                *dispute_routes(self.door, dependencies.disputes, dependencies.settings),
                *self._of_sellers(dependencies, sellers),
                *self._of_checkouts(dependencies, payments, finding, holding),
                *event_routes(
                    self.door,
                    self.streams,
                    feed=dependencies.feed,
                    webhooks=dependencies.webhooks,
                    settings=dependencies.settings,
                ),
                *self._of_operators(dependencies),
                *self._of_process(dependencies),
                *self._of_documentation(documentation),
            ]
        )
        documentation.describe(self.documented_routes(), dependencies.settings.routes)

    def _of_payments(self, payments: Payments) -> list[web.RouteDef]:
        merchant, one = self.door.merchant, f"{PAYMENTS}/{{id}}"
        return [
            web.post(PAYMENTS, merchant(payments.create)),
            web.get(PAYMENTS, merchant(payments.list_all), allow_head=False),
            web.get(one, merchant(payments.show), allow_head=False),
            web.get(f"{one}/transfers", merchant(payments.list_transfers), allow_head=False),
        ]

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
        merchant, one = self.door.merchant, f"{PAYMENTS}/{{id}}"
        return [
            web.post(f"{one}/captures", merchant(operations.capture)),
            web.post(f"{one}/void", merchant(operations.void)),
            web.post(f"{one}/refunds", merchant(operations.refund)),
            web.get(f"{one}/refunds", merchant(operations.list_refunds), allow_head=False),
            web.get("/v1/refunds/{id}", merchant(operations.show_refund), allow_head=False),
        ]

    def _of_sellers(self, dependencies: Dependencies, cache: SellerCache) -> list[web.RouteDef]:
        sellers = Sellers(dependencies.directory, cache, dependencies.settings)
        wallets = Wallets(dependencies.queries, cache)
        requests = Requests(dependencies.request_log)
        merchant = self.door.merchant
        return [
            web.post("/v1/sellers", merchant(sellers.create)),
            web.get("/v1/sellers", merchant(sellers.list_all), allow_head=False),
            web.get("/v1/wallets/{owner}", merchant(wallets.show), allow_head=False),
            web.get(REQUESTS_PATH, merchant(requests.list_all), allow_head=False),
        ]

    def _of_process(self, dependencies: Dependencies) -> list[web.RouteDef]:
        """Return the routes of providers, load balancers and monitors."""
        psps = PspWebhooks(
            dependencies.settings,
            self.accepting,
            dependencies.references,
            clock=dependencies.clock,
            metrics=self.metrics,
            reply_to=dependencies.reply_to,
        )
        public, health = self.door.public, self.health
        return [
            web.post("/v1/psp/{name}/webhooks", public(psps.receive)),
            web.get("/healthz", public(health.alive)),
            web.get("/readyz", public(health.ready)),
            web.get("/metrics", public(health.metrics)),
        ]

    def documented_routes(self) -> list[Route]:
        """Return every route that something is declared of, with it. HEAD is its GET without the body."""
        found = []
        for route in self.app.router.routes():
            access, declaration = self.door.declared.get(route.handler, (Access.PUBLIC, None))
            if (
                route.resource is not None
                and declaration is not None
                and route.method != hdrs.METH_HEAD
            ):
                found.append(Route(route.method, route.resource.canonical, access, declaration))
        return found

    def _of_documentation(self, documentation: Documentation) -> list[web.RouteDef]:
        public = self.door.public
        return [
            web.get("/openapi.json", public(documentation.openapi)),
            web.get("/docs", public(documentation.docs)),
            web.get("/docs/assets/{name}", public(documentation.asset)),
            web.get("/docs/problems", public(documentation.problems)),
        ]

    def _of_checkouts(
        self, dependencies: Dependencies, payments: Payments, finding: Finding, holding: Holding
    ) -> list[web.RouteDef]:
        queries, of_books = dependencies.queries, dependencies.checkouts
        checkouts = Checkouts(
            payments,
            Placing(
                self.accepting,
                finding,
                queries,
                of_books,
                is_away=lambda: self.lookups.is_away,
                partition_count=dependencies.settings.partition_count,
            ),
            finding,
            holding,
            settings=dependencies.settings,
            queries=queries,
            checkouts=of_books,
            reply_to=dependencies.reply_to,
        )
        merchant = self.door.merchant
        return [
            web.post(CHECKOUTS, merchant(checkouts.create)),
            web.get(CHECKOUTS, merchant(checkouts.list_all), allow_head=False),
            web.get(f"{CHECKOUTS}/{{id}}", merchant(checkouts.show), allow_head=False),
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
        self.streams.start()
        if self.request_log is not None:
            self.request_log.start()
        yield
        await asyncio.gather(self.accepting.close(), self.waiters.close())
        await self.lookups.close()
        if self.request_log is not None:
            await self.request_log.close()

    async def _end_streams(self, _app: web.Application) -> None:
        """Before requests in flight are waited for: a stream would never end."""
        await self.streams.close()
