"""A gateway on fakes for whoever asks, and plain logs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import structlog

from tests.unit.gateway.stack import GatewayStack


@pytest.fixture(autouse=True)
def plain_logs() -> Iterator[None]:
    """One line of JSON an event on stdout; structlog's default renders tracebacks for seconds."""
    structlog.configure(
        processors=[structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    yield
    structlog.reset_defaults()


@pytest.fixture
async def stack() -> AsyncIterator[GatewayStack]:
    async with GatewayStack() as opened:
        yield opened
