"""Builds a gateway process from the configuration: real stores, the machine's clock."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import uuid_utils

from gateway.app import Dependencies, Gateway
from gateway.checks import books_check, queue_check
from gateway.resending import Resending
from gateway.settings import GatewaySettings, PaymentRoute, RequestLogSettings, WebhookSource
from payments.identity import LETTERS
from payments.mode import Mode
from psp.routes import capabilities_of
from psp.sandbox_webhooks import read_sandbox_webhook
from psp.stripe.webhooks import StripeWebhookVerifier, read_stripe_webhook
from psp.stripe.webhooks import secret_bytes as stripe_secret
from psp.webhooks import PspNotice, Verifier, WebhookVerifier, secret_bytes
from runtime.clock import SystemClock
from runtime.config import Config, ConfigError
from runtime.crash_points import CrashPoints
from runtime.mutation import mutate
from runtime.psp_config import PspConfig
from storage.checkouts import PostgresCheckouts
from storage.connections import PLANNED_ONCE
from storage.directory import PostgresDirectory
from storage.disputes import PostgresDisputes
from storage.event_feed import FEED_SETTINGS, PostgresEventFeed
from storage.letters import PostgresLetters
from storage.one_copy import OneCopyWatch
from storage.opening import gateway_queue, queue_settings
from storage.opening_books import read_pool
from storage.psp_references import PostgresPspReferences
from storage.queries import PostgresQueries
from storage.queue import reply_channel
from storage.queue_primaries import QueuePrimaries
from storage.read_pool import ReadPool
from storage.replies import Reply, ReplyListener
from storage.request_log import PostgresRequestLog
from storage.status import StatusQueries
from storage.webhooks import PostgresWebhooks

# Two connections: one appends while the other waits for the replicas. More split the batches.
APPEND_LANE_COUNT = 2
# Reads of key records take turns on these.
FIND_CONNECTION_COUNT = 2
# Orders sent again after a promotion don't stand in the way of new ones.
RESEND_CONNECTION_COUNT = 1
# Look-ups, lists, wallets and the directory of one process.
POSTGRES_SESSIONS_MAX = 8
# The feed of events has sessions of its own: storefronts that catch up don't hold up look-ups, and its statements
# are planned in their own way.
FEED_SESSIONS_MAX = 2
# One writes the request log, and one reads it: no look-up of a payment waits for either.
REQUEST_LOG_SESSIONS_MAX = 2
# Health checks ask through a session of their own: they must answer while the others are busy.
CHECK_SESSIONS_MAX = 1

_WEBHOOK_READERS: Mapping[str, Callable[[bytes], PspNotice | None]] = {
    "simulator": read_sandbox_webhook,
    "stripe": read_stripe_webhook,
}
_HEX_TO_LETTERS = str.maketrans("0123456789abcdef", LETTERS)
_NUMBER_AT_END = re.compile(r"[0-9]{1,3}$")


class GatewayProcess:
    """One gateway with the stores it opened. Connects to nothing before it is used."""

    def __init__(self, config: Config, *, name: str, environment: Mapping[str, str]) -> None:
        """Raises ConfigError, GatewaySettingsInvalid and CrashPointError."""
        mutate(environment, is_sandbox=config.deployment.is_sandbox)
        if len(config.postgres.shards) != 1:
            raise ConfigError("postgres.shards: a gateway reads one shard in this release")
        self.settings = gateway_settings(config, name)
        self._pool = _pool(config, name, POSTGRES_SESSIONS_MAX)
        self._feed_pool = _pool(config, f"{name} events", FEED_SESSIONS_MAX, FEED_SETTINGS)
        self._check_pool = _pool(config, f"{name} checks", CHECK_SESSIONS_MAX)
        self._request_log = _request_log(config, name)
        self._one_copy = OneCopyWatch(self._check_pool)
        queue = replace(queue_settings(config), one_copy=self._one_copy)
        self._queues = [
            gateway_queue(queue)
            for _ in range(APPEND_LANE_COUNT + FIND_CONNECTION_COUNT + RESEND_CONNECTION_COUNT)
        ]
        check_of_queue, self._check_primaries = queue_check(queue)
        check_of_books = books_check(StatusQueries(self._check_pool))
        reply_to = _new_channel(name)
        self.gateway = Gateway(
            Dependencies(
                settings=self.settings,
                clock=SystemClock(),
                queries=PostgresQueries(self._pool),
                directory=PostgresDirectory(self._pool),
                letters=PostgresLetters(self._pool),
                checkouts=PostgresCheckouts(self._pool),
                disputes=PostgresDisputes(self._pool),
                feed=PostgresEventFeed(self._feed_pool),
                webhooks=PostgresWebhooks(self._feed_pool),
                references=PostgresPspReferences(self._pool),
                append_queues=self._queues[:APPEND_LANE_COUNT],
                find_queues=self._queues[APPEND_LANE_COUNT:-RESEND_CONNECTION_COUNT],
                reply_to=reply_to,
                checks={"queue": check_of_queue, "books": check_of_books},
                crash_points=CrashPoints.from_environment(
                    environment, is_sandbox=config.deployment.is_sandbox
                ),
                request_log=self._request_log,
            )
        )
        self.gateway.metrics.add_process()
        self._listener = ReplyListener(queue, reply_to, on_reply=self._replied)
        self._watched_primaries = QueuePrimaries(queue)
        self._resending = Resending(
            self._queues[-1],
            self._watched_primaries.histories,
            self.gateway.accepting.unreported,
            late_ack_s=self.settings.request_deadline_s,
            clock=SystemClock(),
            metrics=self.gateway.metrics,
        )
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, on_failure: Callable[[], None]) -> None:
        """Listen for replies, and watch the queue's primary and the operator. Call ``close`` in the end.

        ``on_failure`` is called when one of them died of a defect: then the process must end.
        """
        self._tasks = [
            asyncio.create_task(self._listener.run()),
            asyncio.create_task(self._one_copy.run()),
            asyncio.create_task(self._resending.run()),
        ]
        for task in self._tasks:
            task.add_done_callback(lambda ended: None if ended.cancelled() else on_failure())

    async def close(self) -> None:
        """Close everything that was opened. Raises what a task died of, if one did."""
        for task in self._tasks:
            task.cancel()
        ended = await asyncio.gather(*self._tasks, return_exceptions=True)
        for queue in self._queues:
            await queue.close()
        await self._watched_primaries.close()
        await self._check_primaries.close()
        await self._pool.close()
        await self._feed_pool.close()
        await self._check_pool.close()
        if self._request_log is not None:
            await self._request_log.close()
        for defect in ended:
            if isinstance(defect, Exception):
                raise defect

    def _replied(self, reply: Reply) -> None:
        self.gateway.replied(taken_in=reply.taken_in, settled=reply.settled)


def _pool(
    config: Config,
    application_name: str,
    session_count_max: int,
    settings: Mapping[str, str] = PLANNED_ONCE,
) -> ReadPool:
    """Sessions of the gateway's role on the one shard."""
    return read_pool(
        config,
        config.postgres.shards[0],
        "gateway",
        application_name=application_name,
        session_count_max=session_count_max,
        settings=settings,
    )


def _request_log(config: Config, name: str) -> PostgresRequestLog | None:
    """The request log over sessions of its own; None where none is kept."""
    if not config.request_log.is_on:
        return None
    return PostgresRequestLog(_pool(config, f"{name} requests", REQUEST_LOG_SESSIONS_MAX))


def _new_channel(name: str) -> str:
    """A new one each time: replies meant for an earlier process of this name are not ours."""
    incarnation = uuid_utils.uuid7().hex.translate(_HEX_TO_LETTERS)
    return reply_channel(f"{name[:24]}:{incarnation}")


def gateway_settings(config: Config, name: str) -> GatewaySettings:
    """Return what the configuration says about the gateway process ``name`` (``gateway-0``).

    Raises ConfigError and GatewaySettingsInvalid.
    """
    of_gateway = config.gateway
    number = _NUMBER_AT_END.search(name)
    own_offset = 0 if number is None else int(number[0])
    return GatewaySettings(
        name=name,
        host=of_gateway.host,
        port=of_gateway.port,
        partition_count=config.deployment.partition_count,
        is_sandbox=config.deployment.is_sandbox,
        routes=tuple(_route(psp) for psp in config.psps),
        webhooks={
            psp.name: _webhook_source(config, psp)
            for psp in config.psps
            if psp.webhook_secret_files
        },
        fingerprint_key=config.secret(config.secrets.fingerprint_key_file).encode(),
        api_key_pepper=config.secret(config.secrets.api_key_pepper_file).encode(),
        direct_port=of_gateway.metrics_port + own_offset if of_gateway.metrics_port else None,
        request_log=RequestLogSettings(
            keep_s=config.request_log.keep_hours * 3_600,
            bytes_max=config.request_log.size_mib_max * 1024 * 1024,
            body_bytes_max=config.request_log.body_bytes_max,
        ),
        request_deadline_s=of_gateway.request_timeout_ms / 1_000,
        drain_s=float(of_gateway.drain_s),
    )


def _webhook_source(config: Config, psp: PspConfig) -> WebhookSource:
    read = _WEBHOOK_READERS.get(psp.kind)
    if read is None:
        raise ConfigError(f"psps: {psp.name}: kind {psp.kind!r} sends no webhooks")
    texts = [config.secret(path) for path in psp.webhook_secret_files]
    try:
        verifier = _verifier(psp, texts)
    except ValueError as error:
        raise ConfigError(f"psps: {psp.name}: {error}") from error
    return WebhookSource(verifier=verifier, read=read)


def _verifier(psp: PspConfig, secrets: Sequence[str]) -> Verifier:
    """Raises ValueError for secrets that can't be any."""
    tolerance_s = psp.webhook_tolerance_s
    if psp.kind == "stripe":
        # Stripe signs by the secret's whole text, also what precedes its base64.
        return StripeWebhookVerifier(
            [stripe_secret(one) for one in secrets], tolerance_s=tolerance_s
        )
    return WebhookVerifier([secret_bytes(one) for one in secrets], tolerance_s=tolerance_s)


def _route(psp: PspConfig) -> PaymentRoute:
    """Return what a PSP takes. Sandboxes serve the test mode alone."""
    capabilities = capabilities_of(psp)
    return PaymentRoute(
        psp=psp.name,
        mode=Mode.TEST if capabilities.is_sandbox else Mode.LIVE,
        token_prefixes=capabilities.token_prefixes,
        currencies=capabilities.currencies,
        minimum_minor=capabilities.minimum_minor,
    )
