"""One demonstration payment from POST to ledger, and its receipt."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ops.api_client import ApiAnswer, ApiClient
from ops.money_text import amount_text
from ops.output import Output
from payments.identity import dead_letter_id
from payments.routing import Cost
from storage.letters import Letter

DEMONSTRATION_ORDER: Mapping[str, object] = {
    "amount": 1999,
    "currency": "USD",
    "payment_method": "tok_approve",
    "description": "the demonstration payment",
}

_NONE_YET = "–"


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What became of one order. ``transfers`` and wallets are empty where it has not been settled."""

    answer: ApiAnswer
    idempotency_key: str
    transfers: Sequence[Mapping[str, Any]] = ()
    wallet_before: Mapping[str, Any] | None = None
    wallet_after: Mapping[str, Any] | None = None

    @property
    def is_succeeded(self) -> bool:
        return self.answer.body.get("status") == "succeeded"

    @property
    def is_undecided(self) -> bool:
        return self.answer.status == 202

    @property
    def is_set_aside(self) -> bool:
        """Whether its order could not be read: it is behind a dead letter, or was discarded."""
        return "amount" in self.answer.body and self.answer.body["amount"] is None

    @property
    def waits_for(self) -> str:
        """Why an undecided order has not ended yet, for people."""
        payment = self.answer.body
        if self.is_set_aside:
            return "its message is a dead letter: tally dead-letters list"
        if payment.get("status") == "requires_action":
            return "it waits for the buyer"
        if payment.get("outcome") == "unknown":
            return "its outcome is not known yet: the provider is asked again"
        return "it is still being processed"

    def document(self) -> dict[str, object]:
        """The receipt for programs."""
        return {
            "http_status": self.answer.status,
            "idempotency_key": self.idempotency_key,
            "payment": dict(self.answer.body),
            "transfers": [dict(transfer) for transfer in self.transfers],
            "wallet_before": self.wallet_before,
            "wallet_after": self.wallet_after,
        }


async def take_payment(
    client: ApiClient, order: Mapping[str, object], *, idempotency_key: str | None = None
) -> Receipt:
    """Post the order, wait for its outcome, and read what it did. Raises GatewayUnreachable."""
    key = idempotency_key or str(uuid.uuid4())
    owner = order.get("seller") or "me"
    before = await client.get(f"/v1/wallets/{owner}")
    answer = await client.pay(order, idempotency_key=key)
    if answer.is_problem and answer.status != 402:
        return Receipt(answer=answer, idempotency_key=key)
    transfers = await client.get(f"/v1/payments/{key}/transfers")
    after = await client.get(f"/v1/wallets/{owner}")
    return Receipt(
        answer=answer,
        idempotency_key=key,
        transfers=[] if transfers.is_problem else transfers.body["data"],
        wallet_before=None if before.is_problem else before.body,
        wallet_after=None if after.is_problem else after.body,
    )


def print_receipt(
    receipt: Receipt,
    output: Output,
    letter: Letter | None = None,
    *,
    prices: Mapping[str, Cost] | None = None,
) -> None:
    """Print it for people. ``letter``: the dead letter that the order is behind, where it is known.

    ``prices``: what each PSP takes, by its name in the configuration.
    """
    payment = receipt.answer.body
    if receipt.answer.is_problem:
        output.line(f"Payment {receipt.idempotency_key} failed: {receipt.answer.refusal()}")
        return
    if receipt.is_set_aside:
        _print_set_aside(payment, letter, output)
        return
    amount = amount_text(payment["amount"], payment["currency"])
    output.line(f"Payment {payment['id']}: {amount} {payment['status']}", style="bold")
    output.table("", ("state", "at", ""), _states(payment))
    output.line()
    output.table("", ("", ""), _details(payment, prices or {}))
    if receipt.transfers:
        output.line()
        output.table(
            "Ledger: one row a transfer, both halves in it",
            ("debit", "credit", "amount", "kind"),
            [
                (
                    transfer["debit_account"],
                    transfer["credit_account"],
                    amount_text(transfer["amount"], transfer["currency"]),
                    transfer["kind"],
                )
                for transfer in receipt.transfers
            ],
        )
    before = _balance(receipt.wallet_before, payment["currency"])
    after = _balance(receipt.wallet_after, payment["currency"])
    if before is not None and after is not None:
        output.line()
        output.line(f"Wallet before {before}, after {after}")


def _details(payment: Mapping[str, Any], prices: Mapping[str, Cost]) -> list[tuple[str, object]]:
    rows: list[tuple[str, object]] = []
    if payment.get("outcome") == "unknown":
        rows.append(("outcome", "unknown: the PSP has not said what became of it"))
    rows += [
        ("PSP", f"{payment['psp'] or _NONE_YET} {payment['psp_reference'] or _NONE_YET}"),
        ("attempts", str(payment["attempts"])),
    ]
    if (price := prices.get(payment["psp"] or "")) is not None:
        rows.append(("its price", _price_text(price, payment["amount"], payment["currency"])))
    if payment.get("next_retry_at"):
        rows.append(("next try", payment["next_retry_at"]))
    if failure := payment.get("failure"):
        rows.append(("failure", _failure_text(failure)))
    currency = payment["currency"]
    for part in payment.get("splits") or [payment]:
        share = f": {amount_text(part['amount'], currency)}" if part is not payment else ""
        rows.append(("seller", f"{part['seller']}{share}"))
    rows.append(("fee", amount_text(payment["fee"], currency)))
    if action := payment.get("next_action"):
        rows += [
            ("buyer's action", f"{action['type']}: {action['url']}"),
            ("until", action["expires_at"]),
        ]
    return rows


def _price_text(price: Cost, amount_minor: int, currency: str) -> str:
    """What the configuration says that a PSP takes for such a charge: for routing; nothing books it."""
    fixed = amount_text(price.fixed_minor.get(currency, 0), currency)
    taken_minor = (price.ten_thousandths(amount_minor, currency) + 5_000) // 10_000
    return f"{price.basis_points} basis points + {fixed}: {amount_text(taken_minor, currency)}"


def _failure_text(failure: Mapping[str, Any]) -> str:
    declined = f" ({failure['decline_code']})" if failure.get("decline_code") else ""
    message = f": {failure['message']}" if failure.get("message") else ""
    return f"{failure['code']}{declined}{message}"


def _print_set_aside(payment: Mapping[str, Any], letter: Letter | None, output: Output) -> None:
    """Say in words what is known of an order whose message could not be read."""
    failure = payment.get("failure")
    output.line(f"Payment {payment['id']}: {payment['status']}", style="bold")
    rows: list[tuple[str, object]] = [
        ("created", payment["created_at"]),
        ("known", "its key, its merchant and its time; not its amount, currency and seller"),
    ]
    named = None if letter is None else dead_letter_id(letter.dead_letter_no)
    if failure:
        what = "an operator discarded its message: it never ran, and is not going to"
        rows += [
            ("failure", f"{_failure_text(failure)}: {what}"),
            ("discarded at", payment.get("ledger_updated_at") or _NONE_YET),
        ]
    else:
        rows.append(
            ("waits", "its message could not be taken in; an operator replays or discards it")
        )
    if letter is not None:
        rows.append(("dead letter", f"{named} ({letter.state.value}): {letter.reason}"))
    show = "list" if named is None else f"show {named}"
    rows.append(("more", f"tally dead-letters {show}"))
    output.table("", ("", ""), rows)


def _states(payment: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    rows = [
        ("created", payment["created_at"], "the order is durable in the queue"),
        ("processing", payment.get("effective_at"), _said_by_the_psp(payment)),
        (payment["status"], payment.get("ledger_updated_at"), "it is durable in the books"),
    ]
    return [(state, at, what) for state, at, what in rows if at]


def _said_by_the_psp(payment: Mapping[str, Any]) -> str:
    """What the PSP did first, as far as the payment tells: of one that ended without money, that it was told."""
    if payment["status"] in ("requires_capture", "partially_captured"):
        return "the PSP has authorized it"
    if payment["status"] != "succeeded":
        return "the PSP has said what became of it"
    is_held_first = payment.get("capture") == "manual"
    return f"the PSP has {'authorized' if is_held_first else 'charged'} it"


def _balance(wallet: Mapping[str, Any] | None, currency: str) -> str | None:
    if wallet is None:
        return None
    for balance in wallet["balances"]:
        if balance["currency"] == currency:
            return amount_text(balance["available"], currency)
    return amount_text(0, currency)
