"""What one invariant's check finds: how much it looked at, and the first thing that is wrong."""

from __future__ import annotations

from typing import NamedTuple

from loadtest.checker.records import ClientKey, OrderId


class Subject(NamedTuple):
    """What a finding is about: the timeline of a counter-example is drawn around it."""

    key: ClientKey | None = None
    order: OrderId | None = None
    partition_index: int | None = None
    batch_seq: int | None = None
    """Of the partition's batches only those around this one are told."""
    psp_key: str | None = None


class Findings:
    """Counts, and keeps the first violation; the order of the checks is that of the records."""

    def __init__(self) -> None:
        self.checked = 0
        self.violated = 0
        self.what = ""
        self.subject = Subject()
        self.unknown = ""
        """Why nothing follows, where an input is missing."""

    def check(self, is_right: bool, what: str, subject: Subject) -> None:
        """Count one thing looked at; ``what`` is told when it is not right.

        Texts that cost something to make are better made by the caller, with ``wrong``.
        """
        self.checked += 1
        if not is_right:
            self.wrong(what, subject)

    def wrong(self, what: str, subject: Subject) -> None:
        """Count one violation of something counted as checked already."""
        self.violated += 1
        if self.violated == 1:
            self.what, self.subject = what, subject
