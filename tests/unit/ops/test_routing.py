"""``tally route explain``: what it says of a configuration, without a stack that runs."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from ops.commands.routing import cost_text, route
from ops.context import CommandContext
from ops.output import Output

CONFIG = """
[deployment]
id = "0d9c2f8e-8f3c-4b52-9f43-6f2a7c0e9d11"
[postgres]
gateway_password_file = "g"
owner_password_file = "o"
reader_password_file = "r"
[[postgres.shards]]
name = "one"
partition_first = 0
partition_end = 16
addresses = ["127.0.0.1:1"]
[redis]
address = "127.0.0.1:2"
replica_addresses = ["127.0.0.1:3"]
password_file = "q"
[secrets]
api_key_pepper_file = "p"
fingerprint_key_file = "f"
[[psps]]
name = "cheap"
url = "http://127.0.0.1:1"
cost_basis_points = 140
cost_fixed = {EUR = 10}
[[psps]]
name = "steady"
url = "http://127.0.0.1:2"
cost_basis_points = 290
[[routing.rules]]
name = "yen stay"
psps = ["cheap"]
currencies = ["JPY"]
[[routing.rules]]
name = "large ones"
psps = ["steady", "cheap"]
amount_min = 10000
success_percent_min = 80
"""


def explained(home: Path, *arguments: str) -> Any:
    """Run the command; returns its JSON, or raises what it ends with."""
    out = io.StringIO()
    context = CommandContext(
        root=home, environment={}, output=Output({}, out=out, err=io.StringIO())
    )
    done = CliRunner().invoke(route, ["explain", *arguments], obj=context, standalone_mode=False)
    if done.exception is not None:
        raise done.exception
    return json.loads(out.getvalue()) if "--json" in arguments else out.getvalue()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "tallystick.toml").write_text(CONFIG)
    return tmp_path


def an_order(amount: int, *more: str) -> list[str]:
    return [
        *("--amount", str(amount), "--currency", "EUR", "--payment-method", "tok_approve"),
        *("--merchant", "m_shop", *more),
    ]


def test_each_rule_and_each_psp_is_named(home: Path) -> None:
    """Which rule decides and why the others don't; who is asked in which order, at which cost."""
    told = explained(home, *an_order(12_345), "--json")
    assert [(rule["rule"], rule["has_matched"], rule["decides"]) for rule in told["rules"]] == [
        ("yen stay", False, False),
        ("large ones", True, True),
    ]
    assert [(said["place"], said["psp"], said["cost"]) for said in told["psps"]] == [
        (1, "steady", "358.005"),
        (2, "cheap", "182.83"),
    ]
    text = explained(home, *an_order(9_999))
    assert "the amount 9999 is below 10000" in text
    assert text.index("cheap") < text.index("steady")


def test_health_can_be_supposed(home: Path) -> None:
    """As if a breaker were open, or declines had come."""
    told = explained(home, *an_order(12_345, "--refusing", "steady"), "--json")
    assert [(said["psp"], said["place"]) for said in told["psps"]] == [
        ("cheap", 1),
        ("steady", None),
    ]
    told = explained(home, *an_order(12_345, "--success", "steady=79"), "--json")
    assert [said["psp"] for said in told["psps"]] == ["cheap", "steady"]


@pytest.mark.parametrize(
    "more", [("--refusing", "nobody"), ("--success", "steady"), ("--success", "steady=101")]
)
def test_a_slip_is_told(home: Path, more: tuple[str, ...]) -> None:
    """A PSP that there is not, and a share that is none."""
    with pytest.raises(click.UsageError):
        explained(home, *an_order(1), *more)


def test_costs_are_exact() -> None:
    """Without rounding, and without zeros at the end."""
    assert [cost_text(n) for n in (0, 1, 10_000, 123_400)] == ["0", "0.0001", "1", "12.34"]
