"""What `tally bench` refuses before it begins: minutes later would be too late."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from loadtest.bench.__main__ import main
from loadtest.bench.plan import GROUPS, GROWTH, RUN_NAMES, Options
from ops.commands.bench import bench


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["growth", "noop"], "NAME: growth"),
        (["growth", "--repeat", "2"], "--repeat: growth is run once"),
        (["growth", "--short"], "--short: growth has no short form"),
        (["growth", "--seconds", "2"], "--seconds: growth ends with its last order"),
        (["noop", "--orders", "20"], "--orders: only growth"),
        (["nope"], "NAME"),
        (["--html", "/nowhere/page.html"], "--html"),
    ],
)
def test_what_could_not_be_measured_is_refused_at_once(arguments: list[str], named: str) -> None:
    """The complaint names the argument."""
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert named in result.output


@pytest.mark.parametrize(
    "arguments", [["--seed", "-1"], ["--seed", "x"], ["--repeat", "0"], ["--seconds", "nan"]]
)
def test_numbers_outside_their_range_are_refused_at_once(arguments: list[str]) -> None:
    """No process is started for them."""
    result = CliRunner().invoke(bench, arguments)
    assert result.exit_code == 2
    assert arguments[0] in result.output
    assert "range" in result.output


def test_more_connections_than_files_may_be_open_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Before any stack is started, and with where the bound comes from."""
    monkeypatch.setattr("resource.getrlimit", lambda _: (1_024, 1_048_576))
    result = CliRunner().invoke(main, ["noop", "--connections", "1100"])
    assert result.exit_code == 2
    assert "--connections: 1,100 and 128 other files" in result.output


def test_the_help_names_the_runs() -> None:
    """Whoever asks for one need not make a mistake first."""
    said = CliRunner().invoke(bench, ["--help"]).output.replace(",", " ").replace(";", " ").split()
    assert {*RUN_NAMES, *GROUPS, GROWTH} <= set(said)


@pytest.mark.parametrize(
    "option", ["connections", "held_every", "gateways", "hosts", "seed", "repeat"]
)
def test_the_help_tells_the_defaults_that_count(option: str) -> None:
    """The command of the operator's tool hands options on, and only says what they are otherwise."""
    said = " ".join(CliRunner().invoke(bench, ["--help"]).output.split())
    begin = said.index(f"--{option.replace('_', '-')} ")
    default = said[begin:].partition("[default: ")[2].partition("]")[0]
    assert default.split(";")[0].split(",")[0] == str(getattr(Options(), option))
