"""Mistakes of a decision, on their way to a letter."""

from __future__ import annotations

import pytest

from actors.isolating import decide
from payments.decided import Batch
from payments.defects import ContentDefect
from tests.scenario import START, BookWorld, an_order


def test_a_mistake_is_what_the_defect_is_from() -> None:
    """The letter names its kind alone, so whoever writes it looks at the cause; machine code, too."""
    order = an_order(1)._replace(description="it stumbles here")
    with pytest.raises(ContentDefect, match="ValueError: stumbled") as raised:
        decide(BookWorld().book, Batch(commands=[order], now=START), "stumbles")
    assert type(raised.value.__cause__) is ValueError
