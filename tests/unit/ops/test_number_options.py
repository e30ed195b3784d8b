"""Numbers on the command line."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from ops.number_options import IntegerRange, NumberRange


@click.command()
@click.option("--seconds", type=NumberRange(0.2, 600))
def command(seconds: float) -> None:
    click.echo(repr(seconds))


@pytest.mark.parametrize("text", ["nan", "-nan", "NaN", "abc", "", "0", "inf", "1e9"])
def test_what_is_no_number_of_the_range_is_refused_with_the_range(text: str) -> None:
    """``nan`` passes every comparison that a range makes, and nothing ends after so many seconds."""
    result = CliRunner().invoke(command, ["--seconds", text])
    assert result.exit_code == 2
    assert "0.2<=x<=600" in result.output


def test_a_number_of_the_range_is_taken() -> None:
    """The range's ends belong to it."""
    assert CliRunner().invoke(command, ["--seconds", "0.2"]).output == "0.2\n"


@click.command()
@click.option("--count", type=IntegerRange(1, 600))
def counting(count: int) -> None:
    click.echo(repr(count))


@pytest.mark.parametrize("text", ["x", "1.5", "", "nan", "0", "601"])
def test_what_is_no_whole_number_of_the_range_is_refused_with_the_range(text: str) -> None:
    """click's own range names itself and no bounds where something is no number at all."""
    result = CliRunner().invoke(counting, ["--count", text])
    assert result.exit_code == 2
    assert "1<=x<=600" in result.output


def test_a_whole_number_of_the_range_is_taken() -> None:
    """The range's ends belong to it."""
    assert CliRunner().invoke(counting, ["--count", "600"]).output == "600\n"
