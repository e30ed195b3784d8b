"""Letting parked payments go on, for the command line."""

from __future__ import annotations

import asyncio
import getpass
from collections.abc import Sequence
from uuid import UUID

from ops.books import books_session
from runtime.config import Config
from storage.unparking import PostgresUnparking, RestingPayment

_LOOK_EVERY_S = 0.2


async def unpark_payment(
    config: Config, payment_id: UUID, *, reason: str, timeout_s: float
) -> bool | str:
    """Want a payment to go on, and wait for its owner. Returns whether it does, or why there is nothing to do.

    Raises StorageUnavailable.
    """
    async with books_session(config, "gateway", "tally payments unpark") as pool:
        parked_orders = PostgresUnparking(pool)
        found = await parked_orders.parked(payment_id)
        if not found:
            return not_parked(payment_id, await parked_orders.resting(payment_id))
        for parked in found:
            await parked_orders.want(
                parked, actor=f"tally payments unpark ({getpass.getuser()})", reason=reason
            )
        give_up_at_s = asyncio.get_running_loop().time() + timeout_s
        while await parked_orders.parked(payment_id):
            if asyncio.get_running_loop().time() >= give_up_at_s:
                return False
            await asyncio.sleep(_LOOK_EVERY_S)
        return True


def not_parked(payment_id: UUID, resting: Sequence[RestingPayment]) -> str:
    """Return why a payment that is not parked has nothing to be let go."""
    if not resting:
        return f"payment {payment_id} is not parked"
    reasons = ", ".join(sorted({f"{each.reason} ({each.psp})" for each in resting}))
    return (
        f"payment {payment_id} is not parked: it waits for PSPs, {reasons}, and goes on by itself"
    )
