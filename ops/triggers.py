"""Events that a sandbox can be made to send, and the order that makes it: ``tally trigger``."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field

from ops.api_client import ApiAnswer, ApiClient
from payments.lifecycle import PaymentEvent, PaymentState
from payments.operation_kinds import OperationEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """How an event is brought about: by a payment order whose token tells the simulated provider what to do."""

    what: str
    """For people: what happens then."""
    token: str
    expects: PaymentState
    """Where the order stands once the event has happened."""
    members: Mapping[str, object] = field(default_factory=dict)
    """Of the order, beside what every one has."""
    then: str | None = None
    """What is done to the payment after that, such as ``void``: the end of its route."""
    then_members: Mapping[str, object] = field(default_factory=dict)
    """Of the body of that."""


AMOUNT_MINOR = 1999
# What is captured or refunded of it, where that is a part.
PART_MINOR = 500
CURRENCY = "USD"

TRIGGERS: Mapping[str, Trigger] = {
    PaymentEvent.CREATED.wire: Trigger(
        what="an order is taken in, and succeeds",
        token="tok_approve",  # noqa: S106 - a sandbox token's name
        expects=PaymentState.SUCCEEDED,
    ),
    PaymentEvent.SUCCEEDED.wire: Trigger(
        what="an order is charged",
        token="tok_approve",  # noqa: S106 - as above
        expects=PaymentState.SUCCEEDED,
    ),
    PaymentEvent.DECLINED.wire: Trigger(
        what="an order is declined",
        token="tok_decline_do_not_honor",  # noqa: S106 - as above
        expects=PaymentState.FAILED,
    ),
    PaymentEvent.ACTION_REQUIRED.wire: Trigger(
        what="an order waits for its buyer",
        token="tok_3ds",  # noqa: S106 - as above
        expects=PaymentState.REQUIRES_ACTION,
    ),
    PaymentEvent.AUTHORIZED.wire: Trigger(
        what="an order is authorized, and waits for its capture",
        token="tok_approve",  # noqa: S106 - as above
        expects=PaymentState.REQUIRES_CAPTURE,
        members={"capture": "manual"},
    ),
    PaymentEvent.CANCELED.wire: Trigger(
        what="an authorization is given back",
        token="tok_approve",  # noqa: S106 - as above
        expects=PaymentState.CANCELED,
        members={"capture": "manual"},
        then="void",
    ),
    PaymentEvent.PARTIALLY_CAPTURED.wire: Trigger(
        what="a part of an authorization is captured",
        token="tok_approve",  # noqa: S106 - as above
        expects=PaymentState.PARTIALLY_CAPTURED,
        members={"capture": "manual"},
        then="captures",
        then_members={"amount": PART_MINOR},
    ),
    OperationEvent.CAPTURE_SUCCEEDED.wire: Trigger(
        what="an authorization is captured whole",
        token="tok_approve",  # noqa: S106 - as above
        expects=PaymentState.SUCCEEDED,
        members={"capture": "manual"},
        then="captures",
    ),
    OperationEvent.REFUND_SUCCEEDED.wire: Trigger(
        what="a part of a charge is refunded",
        token="tok_approve",  # noqa: S106 - as above
        expects=PaymentState.SUCCEEDED,
        then="refunds",
        then_members={"amount": PART_MINOR},
    ),
}
"""By type of event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Triggered:
    """What a trigger came to."""

    payment_id: str
    answer: ApiAnswer

    @property
    def status(self) -> str | None:
        """The payment's status; None where the order was refused."""
        body = self.answer.body
        payment = body.get("payment", body)
        status = payment.get("status") if isinstance(payment, Mapping) else None
        return status if isinstance(status, str) else None


async def pull(client: ApiClient, trigger: Trigger) -> Triggered:
    """Post the trigger's order, and what follows, and wait for the outcome. Raises GatewayUnreachable."""
    key = str(uuid.uuid4())
    order = {
        "amount": AMOUNT_MINOR,
        "currency": CURRENCY,
        "payment_method": trigger.token,
        **trigger.members,
    }
    answer = await client.pay(order, idempotency_key=key)
    if trigger.then is not None and not answer.is_problem:
        path = f"/v1/payments/{key}"
        followed = await client.move(
            f"{path}/{trigger.then}", trigger.then_members, idempotency_key=str(uuid.uuid4())
        )
        # What has not ended yet is told as it stands: the payment may look as if it had.
        answer = await client.get(path) if followed.status == 201 else followed
    return Triggered(payment_id=key, answer=answer)
