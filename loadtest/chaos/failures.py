"""How a run of faults ends when it can't go on."""

from __future__ import annotations

from runtime.faults import Fault


class ChaosFailed(Fault):
    """Something that a run needs did not work; the text says what."""


class NotPossible(Exception):
    """A fault can't be made on this stack; the text is the reason, kept in the coverage."""


class NotNow(NotPossible):
    """A fault could not be made at this moment; later in the run it is tried again."""
