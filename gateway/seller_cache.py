"""Sellers as the gateway needs them: by id for new orders, by number for orders it renders."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence

from gateway.caches import ReadThroughCache
from gateway.gathering import Gathering
from gateway.settings import CACHE_STALE_S_MAX, GatewaySettings
from payments.identity import SELLER_ID_LENGTH_MAX
from payments.mode import Mode
from runtime.clock import Clock
from storage.read_ports import Directory, SellerKey, SellerRecord

# 100,000 sellers at about 400 bytes would be 40 MiB; the busy ones are far fewer.
SELLERS_CACHED_MAX = 20_000
# Another gateway may create a seller right after it was asked for in vain.
ABSENT_S = 1.0
# One page of the directory while looking for a seller by number.
PAGE_COUNT = 1_000


class SellerCache:
    """Reads sellers through the cache. Every method raises StorageUnavailable."""

    def __init__(self, directory: Directory, settings: GatewaySettings, *, clock: Clock) -> None:
        self._directory = directory
        self._ids_by_no: OrderedDict[int, str] = OrderedDict()
        self._records: ReadThroughCache[SellerKey, SellerRecord] = ReadThroughCache(
            Gathering(self._read).load,
            clock=clock,
            fresh_s=settings.cache_fresh_s,
            stale_s_max=CACHE_STALE_S_MAX,
            absent_s=ABSENT_S,
            count_max=SELLERS_CACHED_MAX,
        )

    def at_hand(self, merchant_no: int, mode: Mode, seller_id: str) -> SellerRecord | None:
        """Return the seller if it is kept and fresh: the way without a task switch."""
        return self._records.fresh((merchant_no, mode, seller_id))

    async def seller(self, merchant_no: int, mode: Mode, seller_id: str) -> SellerRecord | None:
        """Return the seller of that id, or None."""
        # A merchant's own wallet goes under its merchant id, so any short text may be one.
        if not 1 <= len(seller_id) <= SELLER_ID_LENGTH_MAX or "\0" in seller_id:
            return None
        return await self._records.get((merchant_no, mode, seller_id))

    def created(self, merchant_no: int, mode: Mode, record: SellerRecord) -> None:
        """Keep a seller that was just created."""
        self._records.put((merchant_no, mode, record.seller_id), record)
        self._remember(record)

    async def seller_id_of(self, merchant_no: int, mode: Mode, seller_no: int) -> str | None:
        """Return the id of a seller by number, or None when the merchant has no such seller.

        Rarely asked: for orders that are not in the books yet, and mostly answered from memory.
        """
        known = self._ids_by_no.get(seller_no)
        after: str | None = None
        has_more = known is None
        while has_more and known is None:
            page, has_more = await self._directory.sellers(
                merchant_no, mode, starting_after=after, count_max=PAGE_COUNT
            )
            for record in page:
                self._remember(record)
                if record.seller_no == seller_no:
                    known = record.seller_id
            has_more = has_more and bool(page)
            after = page[-1].seller_id if page else None
        return known

    async def _read(self, keys: Sequence[SellerKey]) -> Mapping[SellerKey, SellerRecord]:
        records = await self._directory.sellers_named(keys)
        for record in records.values():
            self._remember(record)
        return records

    def _remember(self, record: SellerRecord) -> None:
        self._ids_by_no[record.seller_no] = record.seller_id
        if len(self._ids_by_no) > SELLERS_CACHED_MAX:
            self._ids_by_no.popitem(last=False)
