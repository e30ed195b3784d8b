"""What the simulator remembers only because it also speaks Stripe's way: PaymentIntents. Pure.

Their charges, captures and refunds are the sandbox's own; this follows the same records, and holds what
it has no place for.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from uuid import UUID

import msgspec

from psp.simulator.behaviour import digest_of_key, reference_of_digest
from psp.simulator.records import ChangeRecord, FailureRecord, IntentRecord, Record
from psp.simulator.wire import ChangeKind, ChargeRequest, Metadata

# PaymentMethods of Stripe's test mode, and what they do here; ``pm_x`` does what ``tok_x`` does.
_METHODS = {
    "pm_card_visa": "tok_approve",
    "pm_card_mastercard": "tok_approve",
    "pm_card_chargeDeclined": "tok_decline_generic_decline",
    "pm_card_visa_chargeDeclined": "tok_decline_generic_decline",
    "pm_card_chargeDeclinedInsufficientFunds": "tok_decline_insufficient_funds",
    "pm_card_chargeDeclinedExpiredCard": "tok_decline_expired_card",
    "pm_card_authenticationRequired": "tok_3ds",
    "pm_card_threeDSecure2Required": "tok_3ds",
}
_OURS = re.compile(r"pm_([a-z0-9_]+)")


class StripeIntents:
    """PaymentIntents by id and by key; follows the log."""

    def __init__(self, *, seed: int) -> None:
        self._seed = seed
        self._by_id: dict[str, IntentRecord] = {}
        self._capture_keys: dict[str, str] = {}
        self._refunds: defaultdict[str, list[ChangeRecord]] = defaultdict(list)
        self._failed: set[str] = set()

    def apply(self, record: Record) -> None:
        """Take one durable record in."""
        match record:
            case IntentRecord():
                self._by_id[self.intent_id(record.key)] = record
            case FailureRecord():
                self._failed.add(record.key)
            case ChangeRecord(kind=ChangeKind.CAPTURE, refusal=None, key=str() as key):
                self._capture_keys[record.charge_key] = key
            case ChangeRecord(kind=ChangeKind.REFUND, refusal=None, key=str()):
                self._refunds[record.charge_key].append(record)
            case _:
                pass

    def intent_id(self, key: str) -> str:
        """Return the id of the PaymentIntent that a key creates."""
        return self.charge_id(key).replace("ch_", "pi_", 1)

    def charge_id(self, key: str) -> str:
        """Return the id of the charge that confirming it makes: the sandbox's reference."""
        return reference_of_digest(digest_of_key(self._seed, key))

    def refund_id(self, key: str) -> str:
        return self.charge_id(key).replace("ch_", "re_", 1)

    def of_id(self, intent_id: str) -> IntentRecord | None:
        return self._by_id.get(intent_id)

    def of_key(self, key: str) -> IntentRecord | None:
        return self._by_id.get(self.intent_id(key))

    def has_failed(self, key: str) -> bool:
        """Whether a failure is kept under this key."""
        return key in self._failed

    def capture_key(self, key: str) -> str | None:
        """Return the key under which the charge of ``key`` was captured."""
        return self._capture_keys.get(key)

    def refunds(self, key: str) -> Sequence[ChangeRecord]:
        """Return the refunds of the charge of ``key``, the oldest first."""
        return self._refunds.get(key, ())


def charge_request(fields: dict[str, str]) -> ChargeRequest:
    """Return the sandbox's request that a form of Stripe's means. Raises what UNREADABLE names."""
    order = fields.get("metadata[tally_order]")
    request = ChargeRequest(
        amount=int(fields.get("amount", "")),
        currency=fields.get("currency", "").upper(),
        token=_token(fields.get("payment_method", "")),
        capture=fields.get("capture_method", "automatic") != "manual",
        description=fields.get("description", ""),
        metadata=Metadata(
            merchant=fields.get("metadata[tally_merchant]", ""),
            order_key=None if order is None else UUID(order),
        ),
    )
    # Building checks nothing; decoding does.
    return msgspec.json.decode(msgspec.json.encode(request), type=ChargeRequest)


def metadata_of(fields: dict[str, str]) -> dict[str, str]:
    """Return the metadata of a form."""
    return {
        name.removeprefix("metadata[").removesuffix("]"): value
        for name, value in fields.items()
        if name.startswith("metadata[")
    }


def _token(method: str) -> str:
    known = _METHODS.get(method)
    if known is not None:
        return known
    ours = _OURS.fullmatch(method)
    return method if ours is None else f"tok_{ours[1]}"
