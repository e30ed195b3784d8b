"""The story of a finding: everything that the books, and the PSPs, know of the thing it was found at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from ops.verify.report import CheckResult, Story
from storage.verifying import Plain, Snapshot, Unreadable

# Part -> the columns of the finding's row that it is asked by; a part is told where they all are.
_PARTS: Mapping[tuple[str, ...], Sequence[str]] = {
    ("partition_index", "order_no"): (
        "order",
        "attempts",
        "open_order",
        "timer",
        "outcome",
        "transfers",
        "events",
        "charges_of_order",
        "evidence_of_order",
        "psp_events_of_order",
    ),
    ("partition_index", "account_no"): ("account", "slice", "transfers_of_account"),
    ("partition_index", "batch_seq"): ("batch", "outcomes_of_batch", "transfers_of_batch"),
    ("reference",): ("charge",),
    ("order_uuid",): ("orders_of_identity", "charges_of_identity"),
    ("merchant_no", "mode", "seller_no", "currency"): ("wallet",),
    ("currency", "told_by"): ("odd_transfers",),
    ("partition_index",): ("partition",),
}


_OF_RECORDS = frozenset({"charges_of_order", "charge", "charges_of_identity"})
"""Parts that tell what PSPs recorded: that is in the session which has read it."""


async def with_story(result: CheckResult, books: Snapshot, records: Snapshot) -> CheckResult:
    """Tell the story of a result's first finding, if it has one."""
    if result.first is None:
        return result
    story = await _story_of(result.first.place, books, records)
    return replace(result, first=replace(result.first, story=story))


async def _story_of(place: Mapping[str, Plain], books: Snapshot, records: Snapshot) -> Story:
    """Gather what is known. A part that can't be read says so; the finding stands all the same."""
    story: dict[str, Sequence[Mapping[str, Plain]]] = {}
    for columns, parts in _PARTS.items():
        keys = [place.get(column) for column in columns]
        if any(column not in place for column in columns) or None in keys[:1]:
            continue
        for part in parts:
            session = records if part in _OF_RECORDS else books
            try:
                rows = await session.tell(part, *([] if part == "odd_transfers" else keys))
            except Unreadable as unreadable:
                rows = [{"unreadable": str(unreadable)}]
            if rows:
                story[part] = rows
    return story


def place_text(place: Mapping[str, Plain]) -> str:
    """A place in words: ``partition 3, order 17``."""
    names = {"partition_index": "partition", "order_no": "order", "account_no": "account"}
    return ", ".join(
        f"{names.get(name, name.replace('_', ' '))} {value}"
        for name, value in place.items()
        if value is not None
    )


def story_lines(story: Story) -> Iterator[str]:
    """A story for people: a line a row, under the name of its part."""
    for part, rows in story.items():
        yield f"  {part.replace('_', ' ')}"
        for row in rows:
            told = (f"{name}={value}" for name, value in row.items() if value is not None)
            yield f"    {', '.join(told)}"
