"""Fixtures that any test may ask for. Nothing starts until one does."""

from __future__ import annotations

from tests.servers import database_dsn, servers, valkey_url

__all__ = ["database_dsn", "servers", "valkey_url"]
