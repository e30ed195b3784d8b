"""Python client of the Tallystick payments API: see the README of this distribution."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tallystick import problems, webhooks
from tallystick.errors import (
    AnswerUnreadable,
    ApiError,
    AuthenticationFailed,
    BadRequest,
    CallFailed,
    KeyStoreFailed,
    NotReached,
    PaymentFailed,
    PermissionDenied,
    Refused,
    ResourceMissing,
    ServerFailed,
    StateConflict,
    StillRunning,
    TallystickError,
    TooManyRequests,
)
from tallystick.keys import FileKeyStore, KeyStore, MemoryKeyStore
from tallystick.options import API_VERSION, __version__
from tallystick.record import Record
from tallystick.records import (
    Capture,
    Checkout,
    Delivery,
    Dispute,
    Event,
    LoggedRequest,
    Payment,
    Refund,
    Seller,
    Transfer,
    Void,
    Wallet,
    WebhookEndpoint,
)
from tallystick.retrying import RetryPolicy
from tallystick.sync_client import Tallystick
from tallystick.sync_stream import EventStream
from tallystick.webhooks import WebhookVerifier

if TYPE_CHECKING:
    from tallystick.async_client import AsyncTallystick
    from tallystick.async_stream import AsyncEventStream

__all__ = [
    "API_VERSION",
    "AnswerUnreadable",
    "ApiError",
    "AsyncEventStream",
    "AsyncTallystick",
    "AuthenticationFailed",
    "BadRequest",
    "CallFailed",
    "Capture",
    "Checkout",
    "Delivery",
    "Dispute",
    "Event",
    "EventStream",
    "FileKeyStore",
    "KeyStore",
    "KeyStoreFailed",
    "LoggedRequest",
    "MemoryKeyStore",
    "NotReached",
    "Payment",
    "PaymentFailed",
    "PermissionDenied",
    "Record",
    "Refund",
    "Refused",
    "ResourceMissing",
    "RetryPolicy",
    "Seller",
    "ServerFailed",
    "StateConflict",
    "StillRunning",
    "Tallystick",
    "TallystickError",
    "TooManyRequests",
    "Transfer",
    "Void",
    "Wallet",
    "WebhookEndpoint",
    "WebhookVerifier",
    "__version__",
    "problems",
    "webhooks",
]


def __getattr__(name: str) -> Any:
    """Import the async client only when it is asked for: it alone needs aiohttp."""
    if name == "AsyncTallystick":
        from tallystick.async_client import AsyncTallystick

        return AsyncTallystick
    if name == "AsyncEventStream":
        from tallystick.async_stream import AsyncEventStream

        return AsyncEventStream
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
