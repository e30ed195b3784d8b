"""Sizes as people read them."""

from __future__ import annotations

import pytest

from ops.size_text import size_text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (66_400, "66 kB"),
        (999_700, "1.0 MB"),
        (16_777_216, "17 MB"),
        (2.55e9, "2.5 GB"),
        (3e15, "3000 TB"),
    ],
)
def test_bytes_are_shown_in_the_unit_that_fits(count: float, text: str) -> None:
    """In steps of a thousand, with two digits at least where there are that many to tell."""
    assert size_text(count) == text
