"""Which PSP an attempt goes to, and the request it will send unchanged on every try."""

from __future__ import annotations

from collections.abc import Container, Mapping

from payments.commands import PaymentCommand
from payments.decided import AttemptPlan
from payments.defects import InvariantViolation
from payments.identity import psp_key
from payments.psp_terms import PspTerms
from payments.routing import Route, choose
from psp.port import ChargeTerms, Psp

_NO_TERMS = PspTerms()


class OrderedPlanner:
    """Sends a payment to the first PSP, in the order of the configuration, that can use it."""

    def __init__(self, psps: Mapping[str, Psp]) -> None:
        if not psps:
            raise InvariantViolation("no PSP is configured")
        self._psps = psps
        self._routes = [_route(psp) for psp in psps.values()]
        self._terms = {name: _terms(psp) for name, psp in psps.items()}

    def home(self, command: PaymentCommand) -> str:
        """Return the first PSP that can use the order; the first of all when none can, to say so itself."""
        return self.route(command, avoiding=()) or self._routes[0].psp

    def route(self, command: PaymentCommand, *, avoiding: Container[str]) -> str | None:
        """Return the first PSP that can use the order and is not avoided; None when there is none."""
        return choose(
            self._routes,
            token=command.payment_method,
            currency=command.currency,
            amount_minor=command.amount_minor,
            avoiding=avoiding,
        )

    def plan(self, command: PaymentCommand, attempt_no: int, psp: str) -> AttemptPlan:
        """Fix what attempt ``attempt_no`` says. The PSP key depends on the order alone, never on the owner."""
        connector = self._psps[psp]
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
            psp=connector.name,
            psp_account=connector.account,
            psp_key=psp_key(command.order_uuid, attempt_no),
            request=connector.canonical_charge(terms),
        )

    def terms(self, psp: str) -> PspTerms:
        """What that PSP promises about keys; nothing for one that is not configured any more."""
        return self._terms.get(psp, _NO_TERMS)


def _route(psp: Psp) -> Route:
    able = psp.capabilities
    return Route(psp.name, able.token_prefixes, able.currencies, able.minimum_minor)


def _terms(psp: Psp) -> PspTerms:
    able = psp.capabilities
    return PspTerms(
        key_lifetime_s=able.key_lifetime_s,
        replays_declines=able.replays_declines,
        can_burn_key=able.can_burn_key,
        prepares=able.prepares,
    )
