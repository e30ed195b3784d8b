"""Which PSP an attempt goes to, and the request it will send unchanged on every try."""

from __future__ import annotations

from collections.abc import Mapping

from payments.commands import PaymentCommand
from payments.decided import AttemptPlan
from payments.defects import InvariantViolation
from payments.identity import psp_key
from psp.port import ChargeTerms, Psp


class FixedPlanner:
    """Sends every payment to one PSP. Routing rules will stand where this stands."""

    def __init__(self, psps: Mapping[str, Psp], default_psp: str) -> None:
        if default_psp not in psps:
            raise InvariantViolation(f"no PSP named {default_psp} among {sorted(psps)}")
        self._psps = psps
        self._default = psps[default_psp]

    def plan(self, command: PaymentCommand, attempt_no: int) -> AttemptPlan:
        """Fix where attempt ``attempt_no`` goes. The PSP key depends on the order alone, never on the owner."""
        terms = ChargeTerms(
            amount_minor=command.amount_minor,
            currency=command.currency,
            token=command.payment_method,
            merchant_id=command.merchant_id,
            order_key=command.idempotency_key,
            capture=True,
            description=command.description or "",
        )
        return AttemptPlan(
            psp=self._default.name,
            psp_account=self._default.account,
            psp_key=psp_key(command.order_uuid, attempt_no),
            request=self._default.canonical_charge(terms),
        )

    def key_lifetime_s(self, psp: str) -> int:
        """How long that PSP remembers a key, in seconds; 0 for one that is not configured any more."""
        known = self._psps.get(psp)
        return 0 if known is None else known.capabilities.key_lifetime_s
