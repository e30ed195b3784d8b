"""What the environment and options say about a stack."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.stack.settings import (
    StackSettings,
    StackSettingsInvalid,
    home_of,
    passed_environment,
    port_base_of,
)


def test_the_home_is_the_option_then_the_variable_then_var() -> None:
    """An option wins over TALLY_HOME, which wins over ./var; the result is absolute."""
    environment = {"TALLY_HOME": "/srv/a"}
    assert home_of(environment, Path("/srv/b")) == Path("/srv/b")
    assert home_of(environment, None) == Path("/srv/a")
    assert home_of({}, None) == Path.cwd() / "var"


def test_the_port_base_is_a_number() -> None:
    """TALLY_PORT_BASE is taken when it is a number, and refused otherwise."""
    assert port_base_of({}) is None
    assert port_base_of({"TALLY_PORT_BASE": "0"}) == 0
    with pytest.raises(StackSettingsInvalid, match="TALLY_PORT_BASE"):
        port_base_of({"TALLY_PORT_BASE": "74oo"})


@pytest.mark.parametrize("port_base", [1, 80, 65_001, -5])
def test_a_base_without_room_for_all_ports_is_refused(port_base: int) -> None:
    """Privileged ports, and a base whose ports would run out of range, are refused."""
    with pytest.raises(StackSettingsInvalid):
        StackSettings(root=Path("/srv/a"), port_base=port_base)


def test_only_what_concerns_us_is_passed_on() -> None:
    """Processes get overrides and crash points, and none of the caller's other variables."""
    environment = {
        "TALLY__GATEWAY__PROCESS_COUNT": "2",
        "TALLY_CRASH_AT": "after_append",
        "TALLY_CRASH_ORDER": "/srv/order",
        "HOME": "/srv/home",
        "AWS_SECRET_ACCESS_KEY": "s",
        "PYTHONPATH": "/elsewhere",
    }
    assert passed_environment(environment).keys() == {
        "TALLY__GATEWAY__PROCESS_COUNT",
        "TALLY_CRASH_AT",
        "TALLY_CRASH_ORDER",
        "HOME",
    }


def test_the_daemon_is_told_what_was_asked_for() -> None:
    """Home, ports and the way hosts are run reach the daemon's command line."""
    settings = StackSettings(root=Path("/srv/a"), port_base=9000, is_ray_used=False)
    arguments = settings.daemon_arguments()
    assert arguments[arguments.index("--home") + 1] == "/srv/a"
    assert arguments[arguments.index("--port-base") + 1] == "9000"
    assert "--hosts-without-ray" in arguments
