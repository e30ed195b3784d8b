"""How a run of faults ends when it can't go on."""

from __future__ import annotations

from runtime.faults import Fault


class ChaosFailed(Fault):
    """Something that a run needs did not work; the text says what."""


class NotPossible(Exception):
    """A fault can't be made here and now; the text is the reason, kept in the coverage."""
