"""Leases of dead hosts, ended by whoever reaped their processes, on real Postgres."""

from __future__ import annotations

from uuid import uuid4

from storage.connections import Connector
from storage.ledger import PostgresLedger
from storage.ownership import PostgresOwnership
from storage.reaping import ReapedLeases
from tests.books import PASSWORDS, copy_of_installed_books
from tests.servers import SharedServers

DATABASE = "reaping"


async def test_only_the_lease_of_the_reaped_process_is_released(servers: SharedServers) -> None:
    """Another process of the same name, or the same number on another machine, goes on."""
    await copy_of_installed_books(servers, DATABASE)
    connector = Connector(
        servers.dsn(DATABASE, role="tally_owner", password=PASSWORDS.owner),
        application_name="tests",
    )
    ownership = PostgresOwnership(connector, PostgresLedger(connector, lane_count=1))
    reaped = ReapedLeases([connector])
    leases = {uuid4(): ("h1", "n1", 41), uuid4(): ("h1", "n1", 42), uuid4(): ("h1", "n2", 41)}
    try:
        for incarnation, (host_name, node, pid) in leases.items():
            await ownership.register(
                incarnation=incarnation, host_name=host_name, node=node, pid=pid
            )
        await reaped.release(host_name="h1", node="n1", pid=41)
        alive = [await ownership.beat(incarnation) for incarnation in leases]
        assert alive == [False, True, True]
    finally:
        await reaped.close()
        await ownership.close()
