"""The part of the small payments API that captures, voids and refunds; see ``idempotent_server``."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

OperationName = tuple[str, str, str, str]
"""Owner, payment, kind, key."""


@dataclass(slots=True)
class Money:
    """What was done to one payment."""

    captured_minor: int
    refunded_minor: int = 0

    @property
    def left_minor(self) -> int:
        return self.captured_minor - self.refunded_minor


@dataclass(slots=True)
class Operations:
    """Operations by what names them, each with its body and its frozen answer."""

    broken: str
    money: dict[tuple[str, str], Money] = field(default_factory=dict)
    _answers: dict[OperationName, tuple[dict[str, Any], int, dict[str, object]]] = field(
        default_factory=dict
    )
    _count: int = 0

    async def answer(
        self, owner: str, payment: str, kind: str, key: str, body: dict[str, Any]
    ) -> web.Response:
        """Do it once, and tell the same for ever."""
        name = self._name(owner, payment, kind, key)
        known = self._answers.get(name)
        if self.broken == "races":
            await asyncio.sleep(0.3)
        if known is not None and self.broken != f"{kind}_runs_again":
            differs = [
                each for each in ("amount", "reason") if known[0].get(each) != body.get(each)
            ]
            if differs and self.broken != f"{kind}_ignores_body":
                members = {"details": {"differs": differs}}
                return problem(422, "idempotency_key_reused", **members)
            return _rendered(known[1], known[2], is_replay=True)
        status, told = self._done(self.money[owner, payment], kind, body.get("amount"))
        if self.broken != "refusals_are_forgotten" or status == 201:
            self._answers[name] = body, status, told
        return _rendered(status, told, is_replay=False)

    def _name(self, owner: str, payment: str, kind: str, key: str) -> OperationName:
        if self.broken == "operations_share_keys":
            return owner, payment, "", key
        if self.broken == "payments_share_keys":
            return owner, "", kind, key
        return owner, payment, kind, key

    def _done(
        self, money: Money, kind: str, wanted_minor: int | None
    ) -> tuple[int, dict[str, object]]:
        self._count += 1
        told: dict[str, object] = {"id": f"op_{self._count}", "status": "succeeded"}
        if kind == "void":
            return 201, told
        amount_minor = wanted_minor or money.left_minor
        if kind == "capture":
            money.captured_minor += amount_minor
        elif amount_minor > money.left_minor and self.broken != "refunds_too_much":
            failed = {**told, "status": "failed"}
            members = {"status": 422, "code": "refund_exceeds_captured", "retryable": False}
            return 422, {**members, "refund": failed}
        else:
            money.refunded_minor += amount_minor
        return 201, told


def _rendered(status: int, told: dict[str, object], *, is_replay: bool) -> web.Response:
    headers = {"Idempotent-Replayed": "true"} if is_replay else {}
    kind = "application/json" if status == 201 else "application/problem+json"
    return web.json_response(told, status=status, headers=headers, content_type=kind)


def problem(status: int, code: str, **members: object) -> web.Response:
    """Return a problem that is final."""
    document = {"status": status, "code": code, "retryable": False, **members}
    return web.json_response(document, status=status, content_type="application/problem+json")
