"""Orders to fill books with, all drawn by one seed: the same seed gives the same orders."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from payments.answer import API_VERSION
from payments.commands import PaymentCommand
from payments.fees import SANDBOX_FEE, FeeSchedule
from payments.fingerprint import FINGERPRINT_BYTES, VERSION
from payments.identity import MERCHANT_ID_RANDOM_BYTES, new_merchant_id, order_uuid
from payments.mode import Mode
from payments.money import Money
from runtime.config import Config
from storage.directory import PostgresDirectory
from storage.opening_books import read_pool
from storage.read_ports import MerchantRecord

# Each seller sells in one of them; the yen has no minor unit, the dinar three.
CURRENCIES = ("USD", "EUR", "JPY", "KWD")

AMOUNT_MINOR_MIN = 100
AMOUNT_MINOR_MAX = 50_000

APPROVED_TOKEN = "tok_approve"  # noqa: S105  # a sandbox token's name
DECLINED_TOKEN = "tok_decline_do_not_honor"  # noqa: S105

# Sellers are made side by side: each waits for the standby.
_SESSIONS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class SellingSeller:
    """A seller as orders name it."""

    seller_no: int
    fee: FeeSchedule
    currency: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """One merchant with its sellers."""

    merchant: MerchantRecord
    sellers: Sequence[SellingSeller]


async def open_shop(config: Config, *, seller_count: int, seed: int) -> Shop:
    """Make a merchant with so many sellers. Raises StorageUnavailable, MerchantExists for a seed used before."""
    shard = config.postgres.shards[0]
    pool = read_pool(
        config, shard, "gateway", application_name="loadtest orders", session_count_max=_SESSIONS
    )
    try:
        directory = PostgresDirectory(pool)
        merchant = await directory.create_merchant(
            merchant_id=new_merchant_id(random.Random(seed).randbytes(MERCHANT_ID_RANDOM_BYTES)),  # noqa: S311
            name=f"Load test {seed}",
            fee=SANDBOX_FEE,
            actor="loadtest",
        )
        turns = asyncio.Semaphore(_SESSIONS)

        async def make(index: int) -> SellingSeller:
            async with turns:
                seller = await directory.create_seller(
                    merchant.merchant_no,
                    Mode.TEST,
                    f"seller-{index:06d}",
                    f"Seller {index}",
                    SANDBOX_FEE,
                )
            return SellingSeller(
                seller_no=seller.seller_no,
                fee=SANDBOX_FEE,
                currency=CURRENCIES[index % len(CURRENCIES)],
            )

        sellers = await asyncio.gather(*(make(index) for index in range(seller_count)))
    finally:
        await pool.close()
    return Shop(merchant=merchant, sellers=sellers)


def drawn_orders(
    shop: Shop, *, count: int, seed: int, declined_share: float, accepted_at: datetime
) -> Iterator[PaymentCommand]:
    """Yield orders of random sellers and amounts; ``declined_share`` of them will be declined."""
    draw = random.Random(seed)  # noqa: S311  # no secret depends on it
    for _ in range(count):
        token = DECLINED_TOKEN if draw.random() < declined_share else APPROVED_TOKEN
        yield order_of(
            shop,
            draw.choice(shop.sellers),
            key=UUID(int=draw.getrandbits(128), version=4),
            amount_minor=draw.randint(AMOUNT_MINOR_MIN, AMOUNT_MINOR_MAX),
            token=token,
            accepted_at=accepted_at,
        )


def order_of(
    shop: Shop,
    seller: SellingSeller,
    *,
    key: UUID,
    amount_minor: int,
    token: str,
    accepted_at: datetime,
) -> PaymentCommand:
    """Return one order as a gateway would have accepted it."""
    merchant = shop.merchant
    content = f"{seller.seller_no}|{amount_minor}|{token}".encode()
    digest = hashlib.blake2b(content, digest_size=FINGERPRINT_BYTES - 1).digest()
    return PaymentCommand(
        order_uuid=order_uuid(merchant.merchant_id, Mode.TEST, key),
        idempotency_key=key,
        merchant_no=merchant.merchant_no,
        merchant_id=merchant.merchant_id,
        mode=Mode.TEST,
        seller_no=seller.seller_no,
        amount_minor=amount_minor,
        currency=seller.currency,
        fee_minor=seller.fee.fee(Money(amount_minor, seller.currency)).amount_minor,
        payment_method=token,
        description=None,
        buyer_json=None,
        metadata_json=None,
        fingerprint=bytes([VERSION]) + digest,
        accepted_at=accepted_at,
        api_version=API_VERSION,
        reply_to="",
    )
