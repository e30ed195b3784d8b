"""What can be done to a payment that was authorized or captured, and the events that tell of it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum


class OperationKind(IntEnum):
    """Stored; never renumber."""

    CAPTURE = 1
    VOID = 2
    """Gives an authorization back of which nothing was captured."""
    REFUND = 3
    EXPIRY = 4
    """Ours, not the storefront's: the authorization's time is over, and what is left of it is given back."""

    @property
    def wire(self) -> str:
        """The name in the API and on the queue, such as ``refund``."""
        return self.name.lower()

    @property
    def is_of_storefronts(self) -> bool:
        """Whether a storefront may ask for it."""
        return self is not OperationKind.EXPIRY

    @property
    def moves_money(self) -> bool:
        """Whether it moves money that a PSP answers for; the others give a hold back."""
        return self in (OperationKind.CAPTURE, OperationKind.REFUND)

    @property
    def takes_turns(self) -> bool:
        """Whether it changes what is authorized: of these one runs at a time, in the order of intake."""
        return self is not OperationKind.REFUND


BY_WIRE: Mapping[str, OperationKind] = {kind.wire: kind for kind in OperationKind}


class OperationEvent(IntEnum):
    """What can happen to an operation. Stored as the type of its events, beside PaymentEvent: never renumber."""

    CAPTURE_CREATED = 11
    CAPTURE_SUCCEEDED = 12
    CAPTURE_FAILED = 13
    VOID_CREATED = 21
    VOID_SUCCEEDED = 22
    VOID_FAILED = 23
    REFUND_CREATED = 31
    REFUND_SUCCEEDED = 32
    REFUND_FAILED = 33
    EXPIRY_CREATED = 41
    EXPIRY_SUCCEEDED = 42
    EXPIRY_FAILED = 43

    @classmethod
    def created(cls, kind: OperationKind) -> OperationEvent:
        return cls(kind * 10 + 1)

    @classmethod
    def ended(cls, kind: OperationKind, *, is_done: bool) -> OperationEvent:
        return cls(kind * 10 + (2 if is_done else 3))

    @property
    def wire(self) -> str:
        """The event type in the API, such as ``refund.succeeded``."""
        kind, _, happened = self.name.lower().partition("_")
        return f"{kind}.{happened}"
