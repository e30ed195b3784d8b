"""Fixtures that any test may ask for. Nothing starts until one does."""

from __future__ import annotations

from hypothesis import settings

from tests.servers import database_dsn, servers, valkey_url

__all__ = ["database_dsn", "servers", "valkey_url"]

# A shared machine stalls now and then; how long one example takes proves nothing.
settings.register_profile("tallystick", deadline=None, max_examples=60)
# For make test-fast: enough to catch a slip while working; make test looks harder.
settings.register_profile("fast", deadline=None, max_examples=8)
settings.load_profile("tallystick")
