"""The simulator's two small pages: its latest charges, and the buyer's 3-D Secure page."""

from __future__ import annotations

from itertools import islice
from uuid import UUID

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from payments.currencies import EXPONENTS
from psp.simulator.charges import Charge
from psp.simulator.state import SandboxState
from psp.simulator.wire import ChargeStatus, OracleRow, Scenario, instant

LATEST_CHARGES_MAX = 50
"""Rows on the page: what fits a screen or two; the oracle has them all."""


class Pages:
    """Renders HTML; everything that came from outside is escaped by the template engine."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.templates = Environment(
            loader=PackageLoader("psp.simulator"),
            autoescape=select_autoescape(default=True),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.templates.filters["money"] = money_text

    def charges(self, state: SandboxState, scenario: Scenario) -> str:
        """Return the page of totals, of charges that wait for their buyer, and of the latest."""
        totals = state.totals()
        latest = list(state.oracle_rows(after=totals.charges - LATEST_CHARGES_MAX))
        waiting = islice(state.waiting(), LATEST_CHARGES_MAX)
        return self.templates.get_template("charges.html").render(
            name=self._name,
            scenario=scenario,
            totals=totals,
            latest=latest[::-1],
            waiting=[_row(state, charge) for charge in waiting],
        )

    def action(self, charge: Charge, reference: str) -> str:
        """Return the page on which a buyer confirms a payment, or not."""
        return self.templates.get_template("action.html").render(
            name=self._name,
            reference=reference,
            amount_minor=charge.amount_minor,
            currency=charge.currency,
            status=charge.status.value,
            is_open=charge.status is ChargeStatus.REQUIRES_ACTION,
        )


def _row(state: SandboxState, charge: Charge) -> OracleRow:
    """Return a charge that the oracle does not list yet in the shape of its rows, without number."""
    return OracleRow(
        n=0,
        reference=state.reference_of(charge),
        key=charge.key,
        merchant=charge.merchant,
        order_key=None if charge.order_key is None else str(UUID(bytes=charge.order_key)),
        amount=charge.amount_minor,
        currency=charge.currency,
        status=charge.status,
        captured=charge.captured_minor,
        refunded=charge.refunded_minor,
        at=instant(charge.at_ms),
    )


def money_text(amount_minor: int, currency: str) -> str:
    """Return an amount for people, such as ``19.99``; minor units where the currency is unknown."""
    exponent = EXPONENTS.get(currency, 0)
    if exponent == 0:
        return f"{amount_minor:,}"
    whole, minor = divmod(amount_minor, 10**exponent)
    return f"{whole:,}.{minor:0{exponent}d}"
