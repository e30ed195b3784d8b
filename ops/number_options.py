"""Numbers on the command line: within their range, and numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import click


class NumberRange(click.FloatRange):
    """click's range of floats without ``nan``, which is in every range, since no comparison refuses it."""

    name = "number"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number. Raises click.BadParameter, with the range."""
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if math.isnan(number):
            self.fail(
                f"{value!r} is not a number in the range {self._describe_range()}.", param, ctx
            )
        return super().convert(number, param, ctx)


class IntegerRange(click.IntRange):
    """click's range of whole numbers, whose refusal of what is none tells the range, too."""

    name = "integer"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number. Raises click.BadParameter, with the range."""
        try:
            number = int(value)
        except ValueError:
            self.fail(
                f"{value!r} is not a whole number in the range {self._describe_range()}.",
                param,
                ctx,
            )
        return super().convert(number, param, ctx)


def timeout_option(default_s: float) -> Callable[[Any], Any]:
    """``--timeout-s``: how long a command waits until it says that what it asked for has not come."""
    return click.option(
        "--timeout-s",
        type=NumberRange(min=0, min_open=True),
        default=default_s,
        show_default=True,
        help="Seconds to wait for the end of it.",
    )
