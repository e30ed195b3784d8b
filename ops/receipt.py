"""One demonstration payment from POST to ledger, and its receipt."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ops.api_client import ApiAnswer, ApiClient
from ops.money_text import amount_text
from ops.output import Output

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
    def waits_for(self) -> str:
        """Why an undecided order has not ended yet, for people."""
        payment = self.answer.body
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


def print_receipt(receipt: Receipt, output: Output) -> None:
    """Print it for people."""
    payment = receipt.answer.body
    if receipt.answer.is_problem:
        output.line(f"Payment {receipt.idempotency_key} failed: {receipt.answer.refusal()}")
        return
    amount = amount_text(payment["amount"], payment["currency"])
    output.line(f"Payment {payment['id']}: {amount} {payment['status']}", style="bold")
    output.table("", ("state", "at", ""), _states(payment))
    output.line()
    rows = [
        ("PSP", f"{payment['psp'] or _NONE_YET} {payment['psp_reference'] or _NONE_YET}"),
        ("seller", payment["seller"]),
        ("fee", amount_text(payment["fee"], payment["currency"])),
    ]
    action = payment.get("next_action")
    if action:
        rows += [
            ("buyer's action", f"{action['type']}: {action['url']}"),
            ("until", action["expires_at"]),
        ]
    output.table("", ("", ""), rows)
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


def _states(payment: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    rows = [
        ("created", payment["created_at"], "the order is on both copies of the queue"),
        ("processing", payment.get("effective_at"), "the PSP has charged it"),
        (payment["status"], payment.get("ledger_updated_at"), "it is in both copies of the books"),
    ]
    return [(state, at, what) for state, at, what in rows if at]


def _balance(wallet: Mapping[str, Any] | None, currency: str) -> str | None:
    if wallet is None:
        return None
    for balance in wallet["balances"]:
        if balance["currency"] == currency:
            return amount_text(balance["available"], currency)
    return amount_text(0, currency)
