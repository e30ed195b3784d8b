"""Storefronts of a load's own on a local stack: merchants with keys, and some sellers each."""

from __future__ import annotations

from collections.abc import Sequence

import aiohttp

from loadtest.history.plan import Storefront
from ops.merchants import MerchantOffice
from payments.fees import SANDBOX_FEE
from runtime.config import Config
from runtime.faults import Fault

# Two whose money only ever comes, and two whose is given back, too.
SELLERS_EACH = 4
_CREATED = 201


class StorefrontsUnmade(Fault):
    """The gateway did not create a seller."""


async def open_storefronts(
    config: Config, gateway_url: str, count: int = 3
) -> Sequence[Storefront]:
    """Create merchants and sellers on a deployment. Raises StorefrontsUnmade, StorageUnavailable."""
    office = MerchantOffice(config)
    made: list[Storefront] = []
    try:
        async with aiohttp.ClientSession() as session:
            for number in range(count):
                merchant = await office.create(f"Load shop {number}", fee=SANDBOX_FEE, actor="load")
                sellers = tuple(f"seller_{number}_{each}" for each in range(SELLERS_EACH))
                for seller in sellers:
                    await _create_seller(session, gateway_url, merchant.api_key, seller)
                made.append(Storefront(merchant.merchant_id, "test", merchant.api_key, sellers))
    finally:
        await office.close()
    return made


async def _create_seller(
    session: aiohttp.ClientSession, gateway_url: str, api_key: str, seller: str
) -> None:
    async with session.post(
        f"{gateway_url}/v1/sellers",
        json={"id": seller, "name": seller, "fee": {"basis_points": 200, "fixed": {"USD": 10}}},
        headers={"Authorization": f"Bearer {api_key}"},
    ) as answer:
        if answer.status != _CREATED:
            raise StorefrontsUnmade(f"seller {seller}: {answer.status} {await answer.text()}")
