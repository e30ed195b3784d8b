"""From a provider's own name for a charge to the attempt of ours that made it."""

from __future__ import annotations

from typing import Protocol

from payments.identity import psp_key
from storage.read_pool import ReadPool
from storage.sql_files import load_statements

_SQL = load_statements("psp_references.sql")


class PspReferences(Protocol):
    """Reads from the primary: what was charged was in the books before."""

    async def key_of(self, psp: str, reference: str) -> str | None:
        """Return the key of the attempt that a provider's reference is of; None: none of ours.

        Raises StorageUnavailable.
        """
        ...


class PostgresPspReferences:
    """PspReferences of one shard."""

    def __init__(self, pool: ReadPool) -> None:
        self._pool = pool

    async def key_of(self, psp: str, reference: str) -> str | None:
        """See ``PspReferences``."""
        row = await self._pool.fetchrow(_SQL["attempt_of_payment_intent"], psp, reference)
        return None if row is None else psp_key(row["order_uuid"], row["attempt_no"])
