"""The client for asyncio (``pip install tallystick[async]``). Tasks of one loop may share one."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from tallystick import payments, resources
from tallystick.async_stream import AsyncEventStream
from tallystick.async_transport import AsyncTransport
from tallystick.binding import AsyncResource, async_iterator, async_method
from tallystick.errors import CallFailed
from tallystick.exchange import ForgetKey, KeepKey, Pause, Result, Send, Step
from tallystick.following import Follower
from tallystick.keys import KeyStore, MemoryKeyStore
from tallystick.operations import Forgetting, Operation
from tallystick.options import Options
from tallystick.retrying import RetryPolicy
from tallystick.sync_client import surroundings

T = TypeVar("T")


class Payments(AsyncResource):
    """Payment orders."""

    create = async_method(payments.create)
    retrieve = async_method(payments.retrieve)
    wait = async_method(payments.wait)
    list = async_method(payments.listed)
    iterate = async_iterator(payments.iterate)
    transfers = async_method(payments.transfers)
    capture = async_method(payments.capture)
    void = async_method(payments.void)
    refund = async_method(payments.refund)
    refunds = async_method(payments.refunds)


class Refunds(AsyncResource):
    """Payments back. ``payments.refund`` makes them."""

    retrieve = async_method(payments.retrieve_refund)


class Disputes(AsyncResource):
    """What buyers' banks took back."""

    retrieve = async_method(resources.retrieve_dispute)
    list = async_method(resources.list_disputes)
    iterate = async_iterator(resources.iterate_disputes)


class Sellers(AsyncResource):
    """Whose wallets can be credited."""

    create = async_method(resources.create_seller)
    list = async_method(resources.list_sellers)
    iterate = async_iterator(resources.iterate_sellers)


class Wallets(AsyncResource):
    """Sellers' money."""

    retrieve = async_method(resources.retrieve_wallet)


class Checkouts(AsyncResource):
    """What a buyer pays at once."""

    create = async_method(resources.create_checkout)
    retrieve = async_method(resources.retrieve_checkout)
    list = async_method(resources.list_checkouts)
    iterate = async_iterator(resources.iterate_checkouts)


class Events(AsyncResource):
    """What happened."""

    retrieve = async_method(resources.retrieve_event)
    list = async_method(resources.list_events)
    iterate = async_iterator(resources.iterate_events)

    def stream(self, *, after: str | None = None) -> AsyncEventStream:
        """Return the events behind a cursor as they happen, without an end; without one from now on."""
        return self._runner.follow(after)


class WebhookEndpoints(AsyncResource):
    """Where events are sent to."""

    create = async_method(resources.create_endpoint)
    retrieve = async_method(resources.retrieve_endpoint)
    list = async_method(resources.list_endpoints)
    delete = async_method(resources.delete_endpoint)
    enable = async_method(resources.enable_endpoint)
    disable = async_method(resources.disable_endpoint)
    rotate_secret = async_method(resources.rotate_secret)
    deliveries = async_method(resources.list_deliveries)
    iterate_deliveries = async_iterator(resources.iterate_deliveries)
    resend = async_method(resources.resend_delivery)
    resend_range = async_method(resources.resend_range)


class Requests(AsyncResource):
    """What was asked and answered."""

    list = async_method(resources.list_requests)
    iterate = async_iterator(resources.iterate_requests)


class AsyncTallystick:
    """One merchant at one gateway. Close it, or use it in an ``async with`` block."""

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
        self._transport = AsyncTransport(url, self._options.headers())
        self._add_resources()

    @classmethod
    def from_environment(
        cls,
        environment: Mapping[str, str] | None = None,
        *,
        key_store: KeyStore | None = None,
        policy: RetryPolicy | None = None,
    ) -> AsyncTallystick:
        """Take TALLYSTICK_URL and TALLYSTICK_API_KEY. Raises ValueError when one is missing."""
        read = Options.from_environment(os.environ if environment is None else environment)
        return cls(read.url, read.api_key, key_store=key_store, policy=policy)

    def with_policy(self, policy: RetryPolicy) -> AsyncTallystick:
        """Return a client that tries otherwise, over the same connections and keys."""
        other = object.__new__(AsyncTallystick)
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

    async def __aenter__(self) -> AsyncTallystick:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"AsyncTallystick({self._options.url!r})"

    async def close(self) -> None:
        """Close the connections. The key store is closed by whoever opened it."""
        await self._transport.close()

    async def forget_key(self, error: CallFailed) -> None:
        """Have the key store forget the key of a call that failed for good, so that its name is new.

        For a new try after PaymentFailed. Raises ValueError for an error that does not tell the end of what
        its key names (``error.ended``): then only the same key is safe.
        """
        await self.run(Forgetting(error))

    async def run(self, operation: Operation[T]) -> T:
        """Take an operation's steps, and return what it comes to."""
        steps = operation.steps(surroundings(self._options.policy))
        result: Result = None
        try:
            while True:
                result = await self._take(steps.send(result))
        except StopIteration as end:
            value: T = end.value
            return value
        finally:
            steps.close()

    def follow(self, after: str | None) -> AsyncEventStream:
        """Return the stream of events; connects when the first is asked for."""
        return AsyncEventStream(
            self._transport, Follower(after, surroundings(self._options.policy))
        )

    async def _take(self, step: Step) -> Result:
        keys = self._options.key_store
        assert keys is not None
        match step:
            case Send(request, timeout_s):
                return await self._transport.send(request, timeout_s)
            case Pause(seconds):
                await asyncio.sleep(seconds)
            case KeepKey(name, key):
                # It waits for the disk; a task that is canceled meanwhile has sent nothing.
                return await asyncio.to_thread(keys.keep, name, key)
            case ForgetKey(name, key):
                await asyncio.to_thread(keys.forget, name, key)
        return None
