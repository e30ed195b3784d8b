"""Commands that ask the books themselves, and may write there what an operator says."""

from __future__ import annotations

import asyncio
import getpass
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar
from uuid import UUID

from ops.context import CommandContext
from payments.identity import order_uuid
from runtime.config import Config
from storage.api_keys import matches, parse_api_key
from storage.deployments import read_deployment
from storage.directory import PostgresDirectory
from storage.opening_books import read_pool
from storage.read_pool import ReadPool

T = TypeVar("T")


@asynccontextmanager
async def books_session(
    config: Config, role: str, application_name: str
) -> AsyncIterator[ReadPool]:
    """One session with the books' primary, in a role of theirs, closed in the end."""
    pool = read_pool(
        config,
        config.postgres.shards[0],
        role,
        application_name=application_name,
        session_count_max=1,
    )
    try:
        yield pool
    finally:
        await pool.close()


def on_books(
    context: CommandContext,
    config: Config,
    work: Callable[[ReadPool], Awaitable[T]],
) -> T:
    """Run work on the running stack's books. Raises CommandFailed, and what the work raises."""

    async def run() -> T:
        async with books_session(config, "gateway", "tally evidence") as pool:
            stored = await pool.run(read_deployment)
            if stored is None or stored.deployment_id != config.deployment.id:
                context.fail("the books are of another deployment than the configuration")
            return await work(pool)

    context.running_state()
    return asyncio.run(run())


async def merchants_order(
    context: CommandContext, config: Config, pool: ReadPool, key: UUID
) -> list[UUID]:
    """Return the order_uuid of a key of the merchant whose API key is set; nothing for no such key.

    Raises StorageUnavailable.
    """
    text = context.api_key()
    parsed = parse_api_key(text)
    record = None if parsed is None else await PostgresDirectory(pool).api_key(parsed.key_id)
    pepper = config.secret(config.secrets.api_key_pepper_file).encode()
    if record is None or not record.merchant_id or not matches(record, text, pepper):
        return []
    return [order_uuid(record.merchant_id, record.mode, key)]


def actor_of(command: str) -> str:
    """Who acts, for the audit."""
    return f"tally {command} ({getpass.getuser()})"
