"""What the PSP contract needs of the connector to Stripe, against the simulator in Stripe's shapes."""

from __future__ import annotations

import aiohttp
import msgspec

from psp.simulator.wire import OracleRow
from psp.stripe.connector import StripePsp
from tests.contract.psp_harness import SimulatorHarness

SECRET_KEY = "sk_test_contract"


class StripeHarness(SimulatorHarness):
    """The same simulator, asked as Stripe is."""

    def __init__(self, url: str, http: aiohttp.ClientSession) -> None:
        super().__init__(url, http)
        self.psp = StripePsp(
            name="stripe",
            account="default",
            secret_key=SECRET_KEY,
            is_live=False,
            return_url="https://shop.example/back",
            url=url,
        )

    async def act(self, reference: str, *, is_approved: bool) -> None:
        await super().act(reference.replace("pi_", "ch_", 1), is_approved=is_approved)

    async def oracle_rows(self) -> list[OracleRow]:
        """Return what was charged, under the names that Stripe would tell of it."""
        rows = await super().oracle_rows()
        return [
            msgspec.structs.replace(row, reference=row.reference.replace("ch_", "pi_", 1))
            for row in rows
        ]
