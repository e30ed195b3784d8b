"""Providers' references in memory."""

from __future__ import annotations

from tests.fakes.fake_queries import check_available


class FakePspReferences:
    """PspReferences over a dictionary."""

    def __init__(self) -> None:
        self.keys: dict[tuple[str, str], str] = {}
        self.is_available = True

    async def key_of(self, psp: str, reference: str) -> str | None:
        check_available(self.is_available)
        return self.keys.get((psp, reference))
