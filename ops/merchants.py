"""Creating merchants and keys, and the sandbox's own merchant."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from ops.local.durable import write_durably
from ops.local.layout import StackHome
from ops.stack.secret_files import OPERATOR_KEY_FILE, SANDBOX_KEY_FILE, SANDBOX_MERCHANT_FILE
from payments.fees import SANDBOX_FEE, FeeSchedule
from payments.identity import MERCHANT_ID_RANDOM_BYTES, new_merchant_id
from payments.mode import Mode
from runtime.config import Config
from storage.api_keys import RANDOM_BYTES, issue_api_key
from storage.directory import PostgresDirectory
from storage.opening_books import read_pool
from storage.read_ports import KeyRole

SANDBOX_NAME = "Sandbox shop"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewMerchant:
    """A merchant and its first key. The key is shown once and kept nowhere."""

    merchant_id: str
    api_key: str = field(repr=False)


class MerchantOffice:
    """Writes to the directory with the gateway's rights. Close it in the end."""

    def __init__(self, config: Config) -> None:
        self._pepper = config.secret(config.secrets.api_key_pepper_file).encode()
        self._pool = read_pool(
            config,
            config.postgres.shards[0],
            "gateway",
            application_name="tally merchants",
            session_count_max=1,
        )
        self._directory = PostgresDirectory(self._pool)

    async def create(
        self, name: str, *, fee: FeeSchedule, mode: Mode = Mode.TEST, actor: str
    ) -> NewMerchant:
        """Create a merchant with a key. Raises StorageUnavailable."""
        merchant = await self._directory.create_merchant(
            merchant_id=new_merchant_id(secrets.token_bytes(MERCHANT_ID_RANDOM_BYTES)),
            name=name,
            fee=fee,
            actor=actor,
        )
        api_key, record = issue_api_key(
            self._pepper,
            secrets.token_bytes(RANDOM_BYTES),
            role=KeyRole.MERCHANT,
            mode=mode,
            merchant_no=merchant.merchant_no,
            merchant_id=merchant.merchant_id,
        )
        await self._directory.store_api_key(record, actor=actor)
        return NewMerchant(merchant_id=merchant.merchant_id, api_key=api_key)

    async def create_operator_key(self, *, mode: Mode = Mode.TEST, actor: str) -> str:
        """Create an operator's key and return it. Raises StorageUnavailable."""
        key, record = issue_api_key(
            self._pepper, secrets.token_bytes(RANDOM_BYTES), role=KeyRole.OPERATOR, mode=mode
        )
        await self._directory.store_api_key(record, actor=actor)
        return key

    async def close(self) -> None:
        await self._pool.close()


async def ensure_sandbox(home: StackHome, config: Config) -> None:
    """Make sure that the sandbox has its merchant and keys; they are kept among the home's secrets.

    A start that was cut off in between makes new ones: what it had made is harmless.
    """
    actor = "tally up"
    office = MerchantOffice(config)
    try:
        if not (home.secrets / SANDBOX_KEY_FILE).exists():
            merchant = await office.create(SANDBOX_NAME, fee=SANDBOX_FEE, actor=actor)
            write_durably(home.secrets / SANDBOX_MERCHANT_FILE, merchant.merchant_id)
            write_durably(home.secrets / SANDBOX_KEY_FILE, merchant.api_key)
        if not (home.secrets / OPERATOR_KEY_FILE).exists():
            key = await office.create_operator_key(actor=actor)
            write_durably(home.secrets / OPERATOR_KEY_FILE, key)
    finally:
        await office.close()
