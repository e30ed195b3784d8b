"""The picture of `tally top`: everything in its place at every width, and the alarms in sight."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rich.console import Console

from ops.top.computing import view_of
from ops.top.figures import PartitionFigures, StandbyFigures, View
from ops.top.rendering import Caption, picture
from ops.top.texts import bar_text, bytes_text, count_text, ms_text, rate_text, seconds_text
from tests.unit.ops.test_top_computing import a_host, a_reading, host_samples

CAPTION = Caption(home="var", uptime_s=3_700, is_live=True)


def a_view(*, partition_count: int = 4, is_readable: bool = True) -> View:
    hosts = (
        a_host("host-0", (0, 1), host_samples(10)),
        a_host("host-1", (2,), host_samples(20, partitions=(2,)) if is_readable else None),
    )
    view = view_of(a_reading(0.0, 100, *hosts), a_reading(2.0, 160, *hosts))
    standby = StandbyFigures(
        name="standby1",
        sync_state="quorum",
        flush_lag_bytes=12_345,
        replay_lag_bytes=0,
        flush_lag_ms=0.75,
        replay_lag_ms=None,
    )
    more = [
        PartitionFigures(index=index, owner="host-0", epoch=1, stream=index, oldest_s=float(index))
        for index in range(4, partition_count)
    ]
    return replace(
        view,
        unreadable=[item for item in view.unreadable if item.source != "books"],
        stores=replace(view.stores, standbys=[standby]),
        partitions=[*view.partitions, *more],
    )


def drawn(view: View, *, width: int = 100, height: int | None = 40) -> str:
    console = Console(width=width, record=True, quiet=True, color_system=None)
    with console.capture() as capture:
        console.quiet = False
        console.print(picture(view, CAPTION, width=width, height=height))
    return capture.get()


def line_of(text: str, word: str) -> str:
    return next(line for line in text.splitlines() if line.lstrip(" ").startswith(word))


def test_the_picture_says_what_the_view_says() -> None:
    """Totals, rates, hosts, copies and partitions stand in the picture with their units."""
    text = drawn(a_view())
    assert "up 1 h 1 min" in text
    assert line_of(text, "accepted").split()[:3] == ["accepted", "30", "160"]
    assert line_of(text, "settled").split()[:3] == ["settled", "0", "30"]
    assert "present processes" in line_of(text, "orders")
    assert line_of(text, "failed").startswith("  failed ")
    assert line_of(text, "host-0 ").split()[:2] == ["host-0", "2"]
    assert "flush 12 kB, 0.8 ms" in line_of(text, "books")
    assert "10.0.0.2:7404" in line_of(text, "queue")
    assert line_of(text, "0 host-0").split()[:3] == ["0", "host-0", "7"]
    assert "unreadable" not in text


@pytest.mark.parametrize("width", [80, 100, 120, 160, 200])
def test_no_line_is_cut_at_any_width(width: int) -> None:
    """From 80 columns on every column has its whole heading and every line its end."""
    text = drawn(a_view(), width=width)
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width
    for heading in ("answers/s", "problems/s", "waiters", "settled/s", "per flush", "memory"):
        assert heading in text
    assert ("faults" in text) == (width >= 100)


@pytest.mark.parametrize("width", [80, 120])
def test_what_is_wrong_stands_on_top(width: int) -> None:
    """What can't be read and what nobody owns is named below the title, and marked in its table."""
    text = drawn(a_view(is_readable=False), width=width)
    top = text.splitlines()[1:4]
    assert "unreadable: host-1" in top[0]
    assert "no owner: 1 partitions  3" in top[1]
    assert line_of(text, "host-1").split()[:4] == ["host-1", "1", "unreadable", "–"]
    assert line_of(text, "settled").split()[1:3] == ["≥", "0"]
    assert "2 host-1  unreadable" in text
    assert "3 no owner" in text


def test_a_halted_partition_is_an_alarm() -> None:
    """A partition that a defect stopped is named with its host."""
    view = a_view()
    halted = replace(view, hosts=[replace(view.hosts[0], halted=1), *view.hosts[1:]])
    assert "halted: host-0" in drawn(halted)


@pytest.mark.parametrize("height", [24, 40])
def test_partitions_that_lag_most_are_shown_where_not_all_fit(height: int) -> None:
    """A full terminal is not exceeded, the worst partitions are on it, and the others are counted."""
    text = drawn(a_view(partition_count=256), width=100, height=height)
    lines = text.splitlines()
    assert len(lines) <= height
    assert "more that are no worse" in lines[-1]
    assert "255 host-0" in text
    assert "3 no owner" in text


def test_without_books_the_picture_says_so() -> None:
    """Hosts, partitions and copies that nobody can tell of are called unreadable, not left empty."""
    text = drawn(view_of(None, a_reading(0.0, 7, are_hosts_known=False)))
    assert text.count("unreadable") >= 4
    assert line_of(text, "settled").split()[1:3] == ["–", "–"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (count_text(12_345), "12 345"),
        (count_text(None), "–"),
        (rate_text(0.0), "0"),
        (rate_text(0.25), "0.2"),
        (rate_text(321.4), "321"),
        (ms_text(3.14), "3.1 ms"),
        (ms_text(248.9), "249 ms"),
        (ms_text(1_480.0), "1.5 s"),
        (seconds_text(0.0), "0 s"),
        (seconds_text(75), "1 min 15 s"),
        (seconds_text(90_000), "1 d 1 h"),
        (bytes_text(66_400), "66 kB"),
        pytest.param(bytes_text(None), "–", id="unknown size"),
        (bar_text(0, 100, 4), "    "),
        (bar_text(0.1, 100, 4), "▏   "),
        (bar_text(50, 100, 4), "██  "),
        (bar_text(500, 100, 4), "████"),
    ],
)
def test_figures_are_short_and_honest(text: str, expected: str) -> None:
    """Figures have the digits that matter; unknown is a dash; a bar shows anything above nothing."""
    assert text == expected
