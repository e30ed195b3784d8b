"""How a benchmark ends when it can't measure."""

from __future__ import annotations

from runtime.faults import Fault


class BenchFailed(Fault):
    """Something that a run needs did not work; the text says what."""
