"""The few colours of the view: they repeat what a word or a figure says already."""

from __future__ import annotations

GOOD = "green"
WARN = "yellow"
BAD = "bold red"
DIM = "dim"
HEAD = "bold cyan"
