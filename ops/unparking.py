"""Letting parked payments go on, for the command line."""

from __future__ import annotations

import asyncio
import getpass
from uuid import UUID

from runtime.config import Config
from storage.opening import read_pool
from storage.unparking import PostgresUnparking

_LOOK_EVERY_S = 0.2


async def unpark_payment(
    config: Config, payment_id: UUID, *, reason: str, timeout_s: float
) -> bool | None:
    """Want a payment to go on, and wait for its owner. Returns whether it does; None if it isn't parked.

    Raises StorageUnavailable.
    """
    pool = read_pool(
        config,
        config.postgres.shards[0],
        "gateway",
        application_name="tally payments unpark",
        session_count_max=1,
    )
    try:
        parked_orders = PostgresUnparking(pool)
        found = await parked_orders.parked(payment_id)
        if not found:
            return None
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
    finally:
        await pool.close()
