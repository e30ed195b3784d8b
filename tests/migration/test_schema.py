"""The schema that people read is the schema that the migrations make."""

from __future__ import annotations

import asyncio

from tests.books import install_books
from tests.migration.dump import SCHEMA_FILE, schema_of
from tests.servers import SharedServers


def test_schema_sql_is_the_sum_of_the_migrations(servers: SharedServers, database_dsn: str) -> None:
    """schema.sql says what all migrations together make; else run `python -m tests.migration.dump`."""
    asyncio.run(install_books(database_dsn))
    database = database_dsn.rpartition("/")[2]
    assert schema_of(servers.stores.postgres, database) == SCHEMA_FILE.read_text()
