"""Figures as people read them: short, of a steady width, and "–" for what is not known."""

from __future__ import annotations

from ops.size_text import size_text

UNKNOWN = "–"

_BLOCKS = " ▏▎▍▌▋▊▉█"


def count_text(value: float | None) -> str:
    """A count: ``1 234``."""
    return UNKNOWN if value is None else f"{value:,.0f}".replace(",", " ")


def rate_text(value: float | None) -> str:
    """A rate or a mean: one decimal below ten, where it still says something."""
    if value is None:
        return UNKNOWN
    return f"{value:.1f}" if 0 < value < 9.95 else count_text(value)


def ms_text(value_ms: float | None) -> str:
    """A duration that is given in milliseconds."""
    if value_ms is None:
        return UNKNOWN
    if value_ms < 9.95:
        return f"{value_ms:.1f} ms"
    return f"{value_ms:.0f} ms" if value_ms < 999.5 else seconds_text(value_ms / 1_000)


def seconds_text(value_s: float | None) -> str:
    """A duration or an age: its two largest units."""
    if value_s is None:
        return UNKNOWN
    if value_s < 60:
        return f"{value_s:.1f} s" if 0 < value_s < 9.95 else f"{value_s:.0f} s"
    minutes, seconds = divmod(int(value_s), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"


def bytes_text(value: float | None) -> str:
    """A size."""
    return UNKNOWN if value is None else size_text(value)


def share_text(value: float | None) -> str:
    """A part of one core."""
    return UNKNOWN if value is None else f"{100 * value:.0f} %"


def bar_text(value: float, value_max: float, width: int) -> str:
    """A bar of that many characters at most, in eighths; anything above zero shows."""
    eighths = round(8 * width * min(1.0, value / value_max)) if value_max > 0 else 0
    if value > 0:
        eighths = max(1, eighths)
    whole, rest = divmod(eighths, 8)
    return (_BLOCKS[8] * whole + (_BLOCKS[rest] if rest else "")).ljust(width)
