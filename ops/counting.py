"""Numbers of things, for people."""

from __future__ import annotations


def counted(count: int, noun: str) -> str:
    """A number with its noun: "1 host", "2 hosts"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
