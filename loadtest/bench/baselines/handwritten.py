"""``python -m loadtest.bench.baselines.handwritten``: the payment service that one writes by hand.

aiohttp, uvloop, an asyncpg pool, prepared statements, and one transaction a payment: take the order
in, ask the PSP, settle, commit; then answer. Idempotency is a unique index. The PSP is asked inside
the transaction, so that the index keeps a second request of the same key waiting instead of charging.
Four round trips, because the driver sends one statement at a time: BEGIN, the intake as one statement,
the settlement as one statement, COMMIT. (Writing everything after the PSP's answer would save two of
them, and charge cards of which the database knows nothing.)
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Any
from uuid import UUID

import asyncpg
import click
import msgspec
import uvloop
from aiohttp import web

from loadtest.bench.baselines.noop import Payment
from loadtest.bench.baselines.serving import serve_until_stopped
from loadtest.bench.generator.requests import PATH
from loadtest.bench.statements import load_own_statements
from payments.attempts import ResultClass
from payments.fees import SANDBOX_FEE
from payments.money import Money
from psp.in_process import InProcessPsp
from psp.port import ChargeTerms
from runtime.clock import SystemClock

MERCHANT_NO = 1
MERCHANT_ID = "mrc_handwritten"
PSP_NAME = "simulator"
PSP_TIMEOUT_S = 5.0

_SQL = load_own_statements("handwritten.sql")
_DECODER = msgspec.json.Decoder(Payment)
_ENCODER = msgspec.json.Encoder()


class Service:
    """The whole service."""

    def __init__(self, pool: asyncpg.Pool[Any], api_key: str) -> None:
        self._pool = pool
        self._authorization = f"Bearer {api_key}"
        self._psp = InProcessPsp(name=PSP_NAME, account="default", seed=1, clock=SystemClock())

    async def create(self, request: web.Request) -> web.Response:
        """POST /v1/payments: 201 once it is committed, 200 for a repetition."""
        if not hmac.compare_digest(request.headers.get("Authorization", ""), self._authorization):
            return _answer(401, {"code": "unauthorized"})
        body = await request.read()
        try:
            key = UUID(request.headers["Idempotency-Key"])
            payment = _DECODER.decode(body)
        except (KeyError, ValueError, msgspec.MsgspecError):
            return _answer(422, {"code": "invalid"})
        fingerprint = hashlib.sha256(body).digest()
        async with self._pool.acquire() as connection:
            settled = await self._settle(connection, key, payment, fingerprint)
            if settled is None:
                return await self._replay(connection, key, fingerprint)
        return _view(201, key, payment, settled)

    async def _settle(
        self, connection: Any, key: UUID, payment: Payment, fingerprint: bytes
    ) -> bool | None:
        """The one transaction. Whether the PSP approved; None when the key is taken."""
        amount_minor, currency = payment.amount, payment.currency
        fee_minor = SANDBOX_FEE.fee(Money(amount_minor, currency)).amount_minor
        charge = self._psp.canonical_charge(
            ChargeTerms(
                amount_minor=amount_minor,
                currency=currency,
                token=payment.payment_method,
                merchant_id=MERCHANT_ID,
                order_key=key,
                capture=True,
            )
        )
        psp_key = f"hand_{key.hex}_1"
        async with connection.transaction():
            order_no = await connection.fetchval(
                _SQL["begin_order"],
                *(MERCHANT_NO, key, payment.seller, amount_minor, currency, fee_minor),
                *(fingerprint, PSP_NAME, psp_key, charge),
            )
            if order_no is None:
                return None
            answer = await self._psp.charge(psp_key, charge, timeout_s=PSP_TIMEOUT_S)
            if answer.result is ResultClass.APPROVED:
                await connection.execute(
                    _SQL["settle_order"],
                    *(order_no, amount_minor, answer.reference),
                    *(payment.seller, fee_minor, currency),
                )
                return True
            await connection.execute(_SQL["refuse_order"], order_no, str(answer.result))
            return False

    async def _replay(self, connection: Any, key: UUID, fingerprint: bytes) -> web.Response:
        row = await connection.fetchrow(_SQL["find_order"], MERCHANT_NO, key)
        if row is None or row["fingerprint"] != fingerprint:
            return _answer(422, {"code": "idempotency_key_reused"})
        return _answer(200, {"id": str(key), "status": row["status"]})


def _view(status: int, key: UUID, payment: Payment, is_settled: bool) -> web.Response:
    return _answer(
        status,
        {
            "id": str(key),
            "status": "succeeded" if is_settled else "failed",
            "amount": payment.amount,
            "currency": payment.currency,
            "seller": payment.seller,
        },
    )


def _answer(status: int, document: dict[str, object]) -> web.Response:
    return web.Response(
        body=_ENCODER.encode(document), status=status, content_type="application/json"
    )


async def _serve(port: int, dsn: str, pool_size: int, api_key: str) -> None:
    pool = await asyncpg.create_pool(dsn, min_size=pool_size, max_size=pool_size)
    app = web.Application()
    app.router.add_post(PATH, Service(pool, api_key).create)
    await serve_until_stopped(app, port)
    await pool.close()


@click.command()
@click.option("--port", type=int, required=True)
@click.option("--dsn", envvar="BENCH_DSN", required=True)
@click.option("--pool-size", type=int, required=True)
@click.option("--api-key", envvar="BENCH_API_KEY", required=True)
def main(port: int, dsn: str, pool_size: int, api_key: str) -> None:
    """Serve. The URL and the key come by the environment: command lines are seen by everybody."""
    uvloop.run(_serve(port, dsn, pool_size, api_key))


if __name__ == "__main__":
    main()
