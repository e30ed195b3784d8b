"""The blocking client, on the standard library alone. Threads may share one."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import TypeVar

from tallystick import payments, resources
from tallystick.binding import SyncResource, sync_iterator, sync_method
from tallystick.errors import CallFailed
from tallystick.exchange import ForgetKey, KeepKey, Pause, Result, Send, Step
from tallystick.following import Follower
from tallystick.keys import KeyStore, MemoryKeyStore
from tallystick.operations import Forgetting, Operation
from tallystick.options import Options
from tallystick.retrying import RetryPolicy, Surroundings
from tallystick.sync_stream import EventStream
from tallystick.sync_transport import SyncTransport

T = TypeVar("T")

_draw = secrets.SystemRandom()


class Payments(SyncResource):
    """Payment orders."""

    create = sync_method(payments.create)
    retrieve = sync_method(payments.retrieve)
    wait = sync_method(payments.wait)
    list = sync_method(payments.listed)
    iterate = sync_iterator(payments.iterate)
    transfers = sync_method(payments.transfers)
    capture = sync_method(payments.capture)
    void = sync_method(payments.void)
    refund = sync_method(payments.refund)
    refunds = sync_method(payments.refunds)


class Refunds(SyncResource):
    """Payments back. ``payments.refund`` makes them."""

    retrieve = sync_method(payments.retrieve_refund)


class Disputes(SyncResource):
    """What buyers' banks took back."""

    retrieve = sync_method(resources.retrieve_dispute)
    list = sync_method(resources.list_disputes)
    iterate = sync_iterator(resources.iterate_disputes)


class Sellers(SyncResource):
    """Whose wallets can be credited."""

    create = sync_method(resources.create_seller)
    list = sync_method(resources.list_sellers)
    iterate = sync_iterator(resources.iterate_sellers)


class Wallets(SyncResource):
    """Sellers' money."""

    retrieve = sync_method(resources.retrieve_wallet)


class Checkouts(SyncResource):
    """What a buyer pays at once."""

    create = sync_method(resources.create_checkout)
    retrieve = sync_method(resources.retrieve_checkout)
    list = sync_method(resources.list_checkouts)
    iterate = sync_iterator(resources.iterate_checkouts)


class Events(SyncResource):
    """What happened."""

    retrieve = sync_method(resources.retrieve_event)
    list = sync_method(resources.list_events)
    iterate = sync_iterator(resources.iterate_events)

    def stream(self, *, after: str | None = None) -> EventStream:
        """Return the events behind a cursor as they happen, without an end; without one from now on."""
        return self._runner.follow(after)


class WebhookEndpoints(SyncResource):
    """Where events are sent to."""

    create = sync_method(resources.create_endpoint)
    retrieve = sync_method(resources.retrieve_endpoint)
    list = sync_method(resources.list_endpoints)
    delete = sync_method(resources.delete_endpoint)
    enable = sync_method(resources.enable_endpoint)
    disable = sync_method(resources.disable_endpoint)
    rotate_secret = sync_method(resources.rotate_secret)
    deliveries = sync_method(resources.list_deliveries)
    iterate_deliveries = sync_iterator(resources.iterate_deliveries)
    resend = sync_method(resources.resend_delivery)
    resend_range = sync_method(resources.resend_range)


class Requests(SyncResource):
    """What was asked and answered."""

    list = sync_method(resources.list_requests)
    iterate = sync_iterator(resources.iterate_requests)


class Tallystick:
    """One merchant at one gateway. Close it, or use it in a ``with`` block."""

    def __init__(
        self,
        url: str,
        api_key: str,
        *,
        key_store: KeyStore | None = None,
        policy: RetryPolicy | None = None,
        is_plain_http_allowed: bool = False,
    ) -> None:
        """Connects to nothing yet. Raises ValueError.

        Without ``key_store`` keys that have a name live as long as this object.
        """
        self._options = Options(
            url=url,
            api_key=api_key,
            policy=policy or RetryPolicy(),
            key_store=key_store or MemoryKeyStore(),
            is_plain_http_allowed=is_plain_http_allowed,
        )
        self._transport = SyncTransport(url, self._options.headers())
        self._add_resources()

    @classmethod
    def from_environment(
        cls,
        environment: Mapping[str, str] | None = None,
        *,
        key_store: KeyStore | None = None,
        policy: RetryPolicy | None = None,
    ) -> Tallystick:
        """Take TALLYSTICK_URL and TALLYSTICK_API_KEY. Raises ValueError when one is missing."""
        read = Options.from_environment(os.environ if environment is None else environment)
        return cls(read.url, read.api_key, key_store=key_store, policy=policy)

    def with_policy(self, policy: RetryPolicy) -> Tallystick:
        """Return a client that tries otherwise, over the same connections and keys."""
        other = object.__new__(Tallystick)
        other._options = replace(self._options, policy=policy)
        other._transport = self._transport
        other._add_resources()
        return other

    def _add_resources(self) -> None:
        self.payments = Payments(self)
        self.refunds = Refunds(self)
        self.disputes = Disputes(self)
        self.sellers = Sellers(self)
        self.wallets = Wallets(self)
        self.checkouts = Checkouts(self)
        self.events = Events(self)
        self.webhook_endpoints = WebhookEndpoints(self)
        self.requests = Requests(self)

    def __enter__(self) -> Tallystick:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Tallystick({self._options.url!r})"

    def close(self) -> None:
        """Close the connections. The key store is closed by whoever opened it."""
        self._transport.close()

    def forget_key(self, error: CallFailed) -> None:
        """Have the key store forget the key of a call that failed for good, so that its name is new.

        For a new try after PaymentFailed. Raises ValueError for an error that does not tell the end of what
        its key names (``error.ended``): then only the same key is safe.
        """
        self.run(Forgetting(error))

    def run(self, operation: Operation[T]) -> T:
        """Take an operation's steps, and return what it comes to."""
        steps = operation.steps(surroundings(self._options.policy))
        result: Result = None
        try:
            while True:
                result = self._take(steps.send(result))
        except StopIteration as end:
            value: T = end.value
            return value
        finally:
            steps.close()

    def follow(self, after: str | None) -> EventStream:
        """Return the stream of events; connects when the first is asked for."""
        return EventStream(self._transport, Follower(after, surroundings(self._options.policy)))

    def _take(self, step: Step) -> Result:
        keys = self._options.key_store
        assert keys is not None
        match step:
            case Send(request, timeout_s):
                return self._transport.send(request, timeout_s)
            case Pause(seconds):
                time.sleep(seconds)
            case KeepKey(name, key):
                return keys.keep(name, key)
            case ForgetKey(name, key):
                keys.forget(name, key)
        return None


def surroundings(policy: RetryPolicy) -> Surroundings:
    """The machine's clocks and chance."""
    return Surroundings(
        policy=policy,
        monotonic_s=time.monotonic,
        now=lambda: datetime.now(UTC),
        draw=_draw.random,
    )
