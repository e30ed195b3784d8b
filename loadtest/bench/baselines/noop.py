"""``python -m loadtest.bench.baselines.noop PORT``: parses a payment and answers 202. Nothing else.

What aiohttp itself costs: no gateway on it can be faster.
"""

from __future__ import annotations

import sys

import msgspec
import uvloop
from aiohttp import web

from loadtest.bench.baselines.serving import serve_until_stopped
from loadtest.bench.generator.requests import PATH


class Payment(msgspec.Struct, frozen=True):
    """The body that the generator sends."""

    amount: int
    currency: str
    payment_method: str
    seller: str


_DECODER = msgspec.json.Decoder(Payment)


async def create(request: web.Request) -> web.Response:
    """POST /v1/payments: 202, whatever it was."""
    payment = _DECODER.decode(await request.read())
    answer = {
        "id": request.headers["Idempotency-Key"],
        "status": "processing",
        "amount": payment.amount,
        "currency": payment.currency,
        "seller": payment.seller,
    }
    return web.Response(
        body=msgspec.json.encode(answer), status=202, content_type="application/json"
    )


def main() -> None:
    """Serve."""
    app = web.Application()
    app.router.add_post(PATH, create)
    uvloop.run(serve_until_stopped(app, int(sys.argv[1])))


if __name__ == "__main__":
    main()
