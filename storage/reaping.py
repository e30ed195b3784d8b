"""Ending the leases of hosts whose processes are known to be dead, by whoever reaped them."""

from __future__ import annotations

from collections.abc import Sequence

from runtime.config import Config
from storage.connections import Connector
from storage.ledger import Reader
from storage.opening_books import connector
from storage.ownership import LEASE_SETTINGS
from storage.sql_files import load_statements

_SQL = load_statements("ownership.sql")


class ReapedLeases:
    """The leases in all shards, seen by the parent of hosts' processes."""

    def __init__(self, connectors: Sequence[Connector]) -> None:
        self._readers = [Reader(connector, LEASE_SETTINGS) for connector in connectors]

    async def release(self, *, host_name: str, node: str, pid: int) -> None:
        """End what that process held, so that others need not wait until it lapses.

        Only for a process that was reaped: a living host whose lease is released ends. Raises
        StorageUnavailable; then it lapses by itself.
        """
        for reader in self._readers:
            await reader.fetch(_SQL["release_reaped_lease"], host_name, node, pid)

    async def close(self) -> None:
        """End all connections."""
        for reader in self._readers:
            await reader.close()


def reaped_leases(config: Config, *, application_name: str) -> ReapedLeases:
    """The leases in all shards, for the parent of hosts' processes."""
    return ReapedLeases(
        [
            connector(config, shard, "owner", application_name=application_name)
            for shard in config.postgres.shards
        ]
    )
