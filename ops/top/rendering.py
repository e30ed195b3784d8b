"""A View as a picture for a terminal of 80 columns or more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from ops.top.figures import (
    GatewayFigures,
    HostFigures,
    StoreFigures,
    Totals,
    View,
)
from ops.top.partition_table import partition_table
from ops.top.styles import BAD, DIM, GOOD, HEAD, WARN
from ops.top.texts import (
    UNKNOWN,
    bytes_text,
    count_text,
    ms_text,
    rate_text,
    seconds_text,
    share_text,
)

# Wide enough for all columns of gateways and hosts; narrower terminals leave the last ones out.
WIDE_COLUMNS = 100
# Title, figures of orders and stages, and the headings of all that follows, with a line to spare.
_LINES_FIXED = 16
# Replicas tell how far they are each second.
SILENT_S_MAX = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Caption:
    """What stands in the title: which stack, and how it is looked at."""

    home: str
    uptime_s: float | None
    is_live: bool


def picture(view: View, caption: Caption, *, width: int, height: int | None) -> RenderableType:
    """Return the whole view; with a height, partitions that don't fit are counted instead."""
    alarms = _alarms(view)
    parts: list[RenderableType] = [_title(view, caption, is_well=not alarms), *alarms]
    parts += [_side_by_side(_totals(view.totals), _stages(view), width)]
    parts += [_headed("gateways"), _gateways(view.gateways, width)]
    parts += [_headed("hosts"), _hosts(view, width)]
    parts += [_headed("stores"), _stores(view.stores)]
    used = _LINES_FIXED + len(alarms) + len(view.gateways) + max(1, len(view.hosts))
    used += len(view.stores.standbys or "1") + len(view.stores.replicas or "1")
    lines_max = None if height is None else max(1, height - used)
    parts += [_headed("partitions"), partition_table(view.partitions, width, lines_max)]
    return Group(*parts)


def _headed(title: str) -> Rule:
    return Rule(Text(title, style=HEAD), align="left", style=DIM)


def _title(view: View, caption: Caption, *, is_well: bool) -> Text:
    title = Text(no_wrap=True, overflow="ellipsis")
    title.append("● ", style=GOOD if is_well else BAD)
    title.append("tally top", style="bold")
    if caption.uptime_s is not None:
        title.append(f"   up {seconds_text(caption.uptime_s)}")
    if view.seconds:
        title.append(f"   rates over {view.seconds:.1f} s")
    if caption.is_live:
        title.append("   q quits", style=DIM)
    title.append(f"   {caption.home}", style=DIM)
    return title


def _alarms(view: View) -> list[Text]:
    """What nobody should have to look for."""
    alarms = [("unreadable", item.source, item.reason) for item in view.unreadable]
    unowned = [str(item.index) for item in view.partitions if item.owner is None]
    if unowned:
        alarms.append(("no owner", f"{len(unowned)} partitions", " ".join(unowned)))
    alarms += [
        ("halted", host.name, f"{host.halted} partitions, by a defect: see its log")
        for host in view.hosts
        if host.halted
    ]
    return [
        Text.assemble(
            (f"  {what}: ", BAD), who, (f"  {why}", DIM), no_wrap=True, overflow="ellipsis"
        )
        for what, who, why in alarms
    ]


def _side_by_side(left: Table, right: Table, width: int) -> Table:
    grid = Table.grid(padding=(0, 4 if width >= WIDE_COLUMNS else 2))
    grid.add_row(left, right)
    return grid


def _table(*columns: str) -> Table:
    """A table whose first column is text, and all others numbers."""
    table = Table(box=None, pad_edge=False, padding=(0, 1), header_style=DIM)
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right", no_wrap=True)
    return table


def _totals(totals: Totals) -> Table:
    table = _table("orders", "per s", "present processes")
    rows = (
        ("accepted", totals.accepted_per_s, totals.accepted, totals.are_gateways_complete, ""),
        ("taken in", totals.taken_in_per_s, totals.taken_in, totals.are_hosts_complete, ""),
        ("settled", totals.settled_per_s, totals.settled, totals.are_hosts_complete, "bold green"),
        ("  failed", totals.failed_per_s, totals.failed, totals.are_hosts_complete, ""),
    )
    for name, per_s, count, is_complete, style in rows:
        table.add_row(
            Text(name),
            Text(_at_least(per_s, rate_text(per_s), is_complete=is_complete), style=style),
            Text(_at_least(count, count_text(count), is_complete=is_complete)),
        )
    open_text = count_text(totals.open_orders)
    is_complete = totals.are_hosts_complete
    table.add_row("open now", "", _at_least(totals.open_orders, open_text, is_complete=is_complete))
    return table


def _at_least(value: float | None, text: str, *, is_complete: bool) -> str:
    """What an unreadable process counted is missing: there are at least so many."""
    return text if is_complete or value is None else f"≥ {text}"


def _stages(view: View) -> Table:
    table = _table("stage", "per s", "p50", "p99")
    for stage in view.stages:
        table.add_row(
            stage.name, rate_text(stage.per_s), ms_text(stage.p50_ms), ms_text(stage.p99_ms)
        )
    return table


def _gateways(gateways: Sequence[GatewayFigures], width: int) -> Table:
    columns = ["gateway", "answers/s", "orders/s", "problems/s", "pending", "waiters"]
    columns += ["batch", "memory"]
    columns += ["unreported", "cpu"] if width >= WIDE_COLUMNS else []
    table = _table(*columns)
    for gateway in gateways:
        if gateway.reason:
            table.add_row(*_unreadable_row([gateway.name], len(columns)))
            continue
        cells: list[RenderableType] = [
            gateway.name,
            rate_text(gateway.answers_per_s),
            rate_text(gateway.accepted_per_s),
            _warned(rate_text(gateway.problems_per_s), is_bad=bool(gateway.problems_per_s)),
            count_text(gateway.pending),
            count_text(gateway.waiters),
            rate_text(gateway.orders_per_append),
            bytes_text(gateway.memory_bytes),
            count_text(gateway.unreported),
            share_text(gateway.cpu_share),
        ]
        table.add_row(*cells[: len(columns)])
    return table


def _unreadable_row(known: Sequence[str], column_count: int) -> list[Text]:
    """A row of what others say of a process that says nothing itself."""
    cells = [Text(text, style=BAD) for text in (*known, "unreadable")]
    return cells + [Text(UNKNOWN, style=DIM)] * (column_count - len(cells))


def _warned(text: str, *, is_bad: bool, style: str = WARN) -> Text:
    return Text(text, style=style if is_bad else "")


def _hosts(view: View, width: int) -> RenderableType:
    if not view.are_hosts_known:
        return Text("unreadable: the books say which hosts there are", style=BAD)
    if not view.hosts:
        return Text("none", style=BAD)
    columns = ["host", "parts", "settled/s", "flush/s", "per flush", "calls"]
    columns += ["retry/s", "refused", "memory"]
    columns += ["faults", "dead", "cpu"] if width >= WIDE_COLUMNS else []
    table = _table(*columns)
    for host in view.hosts:
        if host.reason:
            known = [host.name, count_text(host.partition_count)]
            table.add_row(*_unreadable_row(known, len(columns)))
        else:
            table.add_row(*_host_cells(host)[: len(columns)])
    return table


def _host_cells(host: HostFigures) -> list[RenderableType]:
    return [
        host.name,
        _warned(count_text(host.partition_count), is_bad=bool(host.halted), style=BAD),
        rate_text(host.settled_per_s),
        rate_text(host.flushes_per_s),
        rate_text(host.orders_per_flush),
        count_text(host.in_flight),
        _warned(rate_text(host.retries_per_s), is_bad=bool(host.retries_per_s)),
        _warned(count_text(host.late_writes), is_bad=bool(host.late_writes)),
        bytes_text(host.memory_bytes),
        _warned(count_text(host.flush_faults), is_bad=bool(host.flush_faults)),
        _warned(count_text(host.dead_letters), is_bad=bool(host.dead_letters)),
        share_text(host.cpu_share),
    ]


def _stores(stores: StoreFigures) -> Table:
    table = Table.grid(padding=(0, 2))
    if stores.standbys is None:
        table.add_row("books", Text("unreadable", style=BAD))
    elif not stores.standbys:
        table.add_row("books", Text("no standby", style=BAD))
    for standby in stores.standbys or ():
        is_awaited = standby.sync_state in ("sync", "quorum")
        table.add_row(
            "books",
            standby.name,
            Text(standby.sync_state or UNKNOWN, style=GOOD if is_awaited else WARN),
            f"flush {_lag(standby.flush_lag_bytes, standby.flush_lag_ms)}",
            f"replay {_lag(standby.replay_lag_bytes, standby.replay_lag_ms)}",
        )
    if stores.replicas is None:
        table.add_row("queue", Text("unreadable", style=BAD))
    elif not stores.replicas:
        table.add_row("queue", Text("no replica", style=BAD))
    for replica in stores.replicas or ():
        is_silent = replica.silent_s > SILENT_S_MAX
        table.add_row(
            "queue",
            replica.address,
            Text("silent" if is_silent else "online", style=BAD if is_silent else GOOD),
            f"behind {bytes_text(replica.lag_bytes)}",
            f"heard {replica.silent_s} s ago",
        )
    return table


def _lag(lag_bytes: int | None, lag_ms: float | None) -> str:
    took = "" if lag_ms is None else f", {ms_text(lag_ms)}"
    return bytes_text(lag_bytes) + took
