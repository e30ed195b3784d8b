"""Partitions side by side: who owns each, what waits in its stream, how many orders it has."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ops.top.figures import PartitionFigures
from ops.top.styles import BAD, DIM, WARN
from ops.top.texts import bar_text, count_text, rate_text, seconds_text

# A partition's figures, and the shortest bar that still shows a difference.
PARTITION_COLUMNS = 40
_PARTITION_FIXED = 38
# A bar is full at this many messages, or at the longest stream: short queues must not look long.
BAR_MESSAGES_MIN = 100

# Messages are taken in within milliseconds. Above the first something is slow, above the second
# it stands still.
SLOW_AGE_S = 1.0
STILL_AGE_S = 10.0


def partition_table(
    partitions: Sequence[PartitionFigures], width: int, lines_max: int | None
) -> RenderableType:
    """Return as many columns as fit. With ``lines_max``, what does not fit is counted instead."""
    if not partitions:
        return Text("unreadable: the books say who owns them", style=BAD)
    column_count = max(1, width // PARTITION_COLUMNS)
    shown, note = list(partitions), None
    if lines_max is not None and len(partitions) > lines_max * column_count:
        shown = _worst(partitions, max(1, (lines_max - 1) * column_count))
        note = Text(f"… and {len(partitions) - len(shown)} more that are no worse", style=DIM)
    bar_width = width // column_count - _PARTITION_FIXED
    stream_max = max(BAR_MESSAGES_MIN, *(item.stream or 0 for item in partitions))
    line_count = -(-len(shown) // column_count)
    columns = [
        _partition_lines(shown[first : first + line_count], bar_width, stream_max)
        for first in range(0, len(shown), line_count)
    ]
    head = Text(
        f"{'#':>3} {'owner':<7}{'queued':>7} {'':<{bar_width}}{'age':>6}{'open':>6}{'/s':>5}  ",
        style=DIM,
        no_wrap=True,
    )
    grid = Table.grid(padding=0)
    grid.add_row(*(head for _ in columns))
    for cells in zip_longest(*columns, fillvalue=Text("")):
        grid.add_row(*cells)
    return grid if note is None else Group(grid, note)


def _worst(partitions: Sequence[PartitionFigures], count_max: int) -> list[PartitionFigures]:
    """Those without an owner or figures first, then by age and length of their streams."""

    def badness(item: PartitionFigures) -> tuple[bool, bool, float, int]:
        return item.owner is None, item.stream is None, item.oldest_s or 0.0, item.stream or 0

    worst = sorted(partitions, key=badness, reverse=True)[:count_max]
    return sorted(worst, key=lambda item: item.index)


def _partition_lines(
    partitions: Sequence[PartitionFigures], bar_width: int, stream_max: int
) -> list[Text]:
    return [_partition_line(item, bar_width, stream_max) for item in partitions]


def _partition_line(item: PartitionFigures, bar_width: int, stream_max: int) -> Text:
    line = Text(f"{item.index:>3} ", no_wrap=True)
    if item.owner is None:
        return line.append("no owner", style=BAD)
    line.append(f"{item.owner:<7}", style="" if item.stream is not None else BAD)
    if item.epoch is None:
        return line.append(" unreadable", style=BAD)
    age_s = item.oldest_s or 0.0
    style = BAD if age_s > STILL_AGE_S else WARN if age_s > SLOW_AGE_S else ""
    line.append(f"{count_text(item.stream):>7} ", style=style)
    line.append(bar_text(item.stream or 0, stream_max, bar_width), style=style or "cyan")
    line.append(f"{seconds_text(item.oldest_s):>6}", style=style)
    line.append(f"{count_text(item.open_orders):>6}{rate_text(item.orders_per_s):>5}  ")
    return line
