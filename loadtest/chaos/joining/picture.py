"""What faults did as one picture: a row for each kind and target, a column for each figure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from xml.sax.saxutils import escape

from loadtest.chaos.goals import RECOVERY_S_MAX

# Pixels.
WIDTH = 1_160
_LABEL_WIDTH = 240
_TARGET_LEFT = 104
_COUNT_WIDTH = 44
_PANEL_GAP = 14
_VALUE_WIDTH = 46
"""Room for the number beside the longest bar."""
_ROW = 19
_GROUP_GAP = 9
_HEAD = 92
_FOOT = 30
_STEPS = (1, 1.5, 2, 3, 4, 5, 6, 8, 10)

_STYLE = """
text { font: 12px system-ui, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; fill: #1c2126; }
.title { font-size: 16px; font-weight: 600; } .name { font-weight: 600; }
.quiet, .value { fill: #66707a; }
.value { paint-order: stroke; stroke: #ffffff; stroke-width: 4px; stroke-linejoin: round; }
.ground { fill: #ffffff; } .line { stroke: #dfe2e5; }
.worst { fill: #a9c4e4; } .median { fill: #2563a8; } .goal { stroke: #b3261e; stroke-dasharray: 3 3; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6e8ea; } .quiet, .value { fill: #99a2ab; } .ground { fill: #1c2024; }
  .value { stroke: #1c2024; }
  .line { stroke: #33393f; } .worst { fill: #33506f; } .median { fill: #6aa9ee; }
  .goal { stroke: #f2887f; }
}
"""


class _Panel(NamedTuple):
    figure: str
    title: str
    subtitle: str
    unit: float = 1.0
    goal: float | None = None


_PANELS = (
    _Panel("outage_s", "Outage, s", "first to last failed request"),
    _Panel("accept_gap_s", "Nothing accepted, s", "longest time"),
    _Panel("settle_gap_s", "Nothing settled, s", "longest time"),
    _Panel("recovery_s", "Recovery, s", "until 95 % are served", goal=RECOVERY_S_MAX),
    _Panel("p99_ms", "p99 while it lasted, s", "of those not held", unit=1e-3),
)
_PANEL_WIDTH = (WIDTH - 20 - _LABEL_WIDTH - _COUNT_WIDTH - _PANEL_GAP * len(_PANELS)) / len(_PANELS)


def render_svg(document: Mapping[str, Any]) -> str:
    """Return the picture of what ``joined`` returned. It needs nothing else."""
    rows = list(_placed(list(document["by_fault"])))
    bottom = (rows[-1][1] if rows else _HEAD) + _ROW
    height = bottom + _FOOT
    totals = document["totals"]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}"'
        f' width="{WIDTH}" height="{height}" role="img">',
        f"<title>What {totals['faults']} faults did</title>",
        f"<style>{_STYLE}</style>",
        f'<rect class="ground" width="{WIDTH}" height="{height}"/>',
        _text(10, 26, f"What {totals['faults']:,} faults did", "title"),
        _text(10, 45, _subtitle(document), "quiet"),
        *_legend(),
        *_labels(rows, document["by_fault"]),
    ]
    for index, panel in enumerate(_PANELS):
        left = 10 + _LABEL_WIDTH + _COUNT_WIDTH + index * (_PANEL_WIDTH + _PANEL_GAP) + _PANEL_GAP
        parts += _panel(panel, left, bottom, rows, document["by_fault"])
    return "\n".join([*parts, "</svg>", ""])


def _subtitle(document: Mapping[str, Any]) -> str:
    totals, machine = document["totals"], document["machine"]
    return (
        f"{totals['runs']} runs, {totals['requests']:,} requests,"
        f" {totals['cells_hit']} of {totals['cells']} cells hit; verdict: {totals['verdict']}."
        f" {machine['cores_usable']} cores of {machine['cpu_model']}."
    )


def _legend() -> Iterator[str]:
    left = WIDTH - 214
    for offset, style, name in ((0, "median", "median"), (78, "worst", "worst of its kind")):
        yield f'<rect class="{style}" x="{left + offset}" y="17" width="11" height="11"/>'
        yield _text(left + offset + 16, 27, name, "quiet")


def _placed(names: list[str]) -> Iterator[tuple[str, float]]:
    """Each row with its upper edge; kinds are set apart."""
    top, last = float(_HEAD), None
    for name in names:
        kind = name.partition("/")[0]
        if last is not None and kind != last:
            top += _GROUP_GAP
        yield name, top
        top, last = top + _ROW, kind


def _labels(
    rows: list[tuple[str, float]], by_fault: Mapping[str, Mapping[str, Any]]
) -> Iterator[str]:
    right = 10 + _LABEL_WIDTH + _COUNT_WIDTH
    yield _text(10, _HEAD - 24, "Fault at target", "name")
    yield _text(right, _HEAD - 24, "faults", "name", anchor="end")
    last = None
    for name, top in rows:
        kind, _, target = name.partition("/")
        if kind != last:
            line_y = top - _GROUP_GAP / 2 if last is not None else top - 3
            yield f'<path class="line" d="M10 {line_y:.1f}H{WIDTH - 10}"/>'
            yield _text(10, top + 13, kind.replace("_", " "), "name")
        last = kind
        yield _text(_TARGET_LEFT, top + 13, target.replace("->", " → ").replace("_", " "))
        yield _text(right, top + 13, str(by_fault[name]["count"]), "quiet", anchor="end")


def _panel(
    panel: _Panel,
    left: float,
    bottom: float,
    rows: list[tuple[str, float]],
    by_fault: Mapping[str, Mapping[str, Any]],
) -> Iterator[str]:
    """One figure of every row, as bars on one scale."""
    yield _text(left, _HEAD - 24, panel.title, "name")
    yield _text(left, _HEAD - 9, panel.subtitle, "quiet")
    seen = [value for name, _ in rows if (value := by_fault[name][panel.figure]["max"]) is not None]
    top_value = _rounded_up(max([*(value * panel.unit for value in seen), panel.goal or 0, 1e-9]))
    scale = (_PANEL_WIDTH - _VALUE_WIDTH) / top_value
    yield f'<path class="line" d="M{left:.1f} {_HEAD - 3}V{bottom}"/>'
    if panel.goal is not None:
        goal_x = left + panel.goal * scale
        yield f'<path class="goal" d="M{goal_x:.1f} {_HEAD - 3}V{bottom}"/>'
        yield _text(goal_x, bottom + 15, f"goal {panel.goal:.0f}", "quiet", anchor="middle")
    for name, top in rows:
        figure = by_fault[name][panel.figure]
        for style, value in (("worst", figure["max"]), ("median", figure["median"])):
            if value is not None:
                width = value * panel.unit * scale
                yield (
                    f'<rect class="{style}" x="{left:.1f}" y="{top + 4:.1f}"'
                    f' width="{width:.1f}" height="11"/>'
                )
        yield _text(
            left + (figure["max"] or 0.0) * panel.unit * scale + 5,
            top + 13,
            "–" if figure["max"] is None else f"{figure['max'] * panel.unit:.1f}",
            "value",
        )


def _rounded_up(value: float) -> float:
    """The next round number: a scale that its longest bar nearly fills."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in _STEPS if value <= step * power * (1 + 1e-9))


def _text(x: float, y: float, text: str, style: str = "", *, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{style}" text-anchor="{anchor}">{escape(text)}</text>'
