"""Faults: the outside failed. Each is retried in exactly one layer, with a bound, and carries its fields."""

from __future__ import annotations


class Fault(Exception):
    """Base of everything that a retry, a restart or an operator can heal."""


class StorageUnavailable(Fault):
    """A store did not take the request, and surely has not done it."""

    def __init__(self, store: str, reason: str) -> None:
        super().__init__(f"{store} is unavailable: {reason}")
        self.store = store
        self.reason = reason
