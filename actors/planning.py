"""Which PSP an attempt goes to, and the request it will send unchanged on every try."""

from __future__ import annotations

from collections.abc import Container, Mapping

from payments.commands import PaymentCommand
from payments.decided import AttemptPlan
from payments.identity import psp_key
from payments.psp_terms import PspTerms
from payments.routing import Ask
from payments.routing_table import RoutingTable
from psp.port import ChargeTerms, Psp
from psp.routes import route_of

_NO_TERMS = PspTerms()
_NOTHING_KNOWN: Mapping[str, int] = {}


class OrderedPlanner:
    """Sends a payment to the PSP that the routing table names: without rules the first that can use it."""

    def __init__(self, psps: Mapping[str, Psp], table: RoutingTable | None = None) -> None:
        self._psps = psps
        self._table = table or RoutingTable(
            [route_of(name, psp.capabilities) for name, psp in psps.items()]
        )
        self._terms = {name: _terms(psp) for name, psp in psps.items()}

    def home(self, command: PaymentCommand) -> str:
        """Return where the order belongs; the first PSP of all when none can use it, to say so itself."""
        return self._table.home(ask_of(command))

    def route(
        self,
        command: PaymentCommand,
        *,
        avoiding: Container[str],
        success_percents: Mapping[str, int] = _NOTHING_KNOWN,
    ) -> str | None:
        """Return the first PSP that can use the order and is not avoided; None when there is none."""
        return self._table.first(
            ask_of(command), avoiding=avoiding, success_percents=success_percents
        )

    def plan(self, command: PaymentCommand, attempt_no: int, psp: str) -> AttemptPlan:
        """Fix what attempt ``attempt_no`` says. The PSP key depends on the order alone, never on the owner."""
        connector = self._psps[psp]
        terms = ChargeTerms.__new__(
            ChargeTerms,
            amount_minor=command.amount_minor,
            currency=command.currency,
            token=command.payment_method,
            merchant_id=command.merchant_id,
            order_key=command.idempotency_key,
            capture=not command.captures_manually,
            description=command.description or "",
            hosted=command.hosted,
        )
        return AttemptPlan.__new__(
            AttemptPlan,
            psp=connector.name,
            psp_account=connector.account,
            psp_key=psp_key(command.order_uuid, attempt_no),
            request=connector.canonical_charge(terms),
        )

    def terms(self, psp: str) -> PspTerms:
        """What that PSP promises about keys; nothing for one that is not configured any more."""
        return self._terms.get(psp, _NO_TERMS)


def ask_of(command: PaymentCommand) -> Ask:
    """What of an order its route may hang on."""
    return Ask.__new__(
        Ask,
        command.payment_method,
        command.currency,
        command.amount_minor,
        command.merchant_id,
        command.mode,
        command.order_uuid,
    )


def _terms(psp: Psp) -> PspTerms:
    able = psp.capabilities
    return PspTerms(
        key_lifetime_s=able.key_lifetime_s,
        replays_declines=able.replays_declines,
        can_burn_key=able.can_burn_key,
        prepares=able.prepares,
    )
