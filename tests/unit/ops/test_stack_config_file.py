"""The configuration that a stack writes for itself."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.local.layout import StackHome
from ops.local.ports import PORT_NAMES, port_offset
from ops.stack.config_file import CONFIG_FILE, OVERRIDES_FILE, write_config
from ops.stack.toml import render_toml
from runtime.config import ConfigError

PORTS = {name: 7_400 + port_offset(name) for name in PORT_NAMES}
REDIS_PORTS = (PORTS["valkey_1"], PORTS["valkey_2"])


def test_the_written_file_is_a_whole_configuration(tmp_path: Path) -> None:
    """What is written can be loaded, names this stack's servers, and holds no secret itself."""
    home = StackHome.prepare(tmp_path)
    config = write_config(home, PORTS, REDIS_PORTS, {})
    assert str(config.deployment.id) == home.stack_id()
    assert config.gateway.port == PORTS["gateway"]
    assert config.postgres.shards[0].addresses == ["127.0.0.1:7401", "127.0.0.1:7402"]
    assert config.redis.address == "127.0.0.1:7403"
    secret = config.secret(config.postgres.owner_password_file)
    text = (tmp_path / CONFIG_FILE).read_text()
    assert secret not in text
    assert "overrides.toml" in text


def test_the_present_primary_of_the_queue_comes_first(tmp_path: Path) -> None:
    """After a promotion the configuration names the new primary as such."""
    config = write_config(StackHome.prepare(tmp_path), PORTS, (7_404, 7_403), {})
    assert config.redis.address == "127.0.0.1:7404"
    assert config.redis.replica_addresses == ["127.0.0.1:7403"]


def test_overrides_win_over_defaults_and_variables_over_both(tmp_path: Path) -> None:
    """The operator's file changes single keys; TALLY__ variables have the last word."""
    home = StackHome.prepare(tmp_path)
    (tmp_path / OVERRIDES_FILE).write_text(
        "[gateway]\nprocess_count = 3\nrequest_timeout_ms = 900\n"
    )
    environment = {"TALLY__GATEWAY__PROCESS_COUNT": "2"}
    config = write_config(home, PORTS, REDIS_PORTS, environment)
    assert config.gateway.process_count == 2
    assert config.gateway.request_timeout_ms == 900
    assert config.gateway.port == PORTS["gateway"]


@pytest.mark.parametrize(
    "overrides", ["[gateway]\nprocess_count = 0\n", "[gateway\n", "[x]\na=1\n"]
)
def test_overrides_that_do_not_fit_are_refused(tmp_path: Path, overrides: str) -> None:
    """A mistake in the overrides stops the start with its reason, and is said to be theirs."""
    home = StackHome.prepare(tmp_path)
    (tmp_path / OVERRIDES_FILE).write_text(overrides)
    with pytest.raises(ConfigError) as error:
        write_config(home, PORTS, REDIS_PORTS, {})
    assert str(error.value).startswith(str(tmp_path / OVERRIDES_FILE))
    assert CONFIG_FILE not in str(error.value)


_SCALARS = st.one_of(st.text(), st.integers(-(2**62), 2**62), st.booleans())


_VALUES = st.one_of(_SCALARS, st.lists(_SCALARS), st.dictionaries(st.text(), _SCALARS))


@given(
    values=st.dictionaries(st.from_regex(r"[a-z_]{1,8}", fullmatch=True), _VALUES),
    header=st.text(alphabet=st.characters(categories=["L", "N", "Zs"])),
)
def test_what_is_rendered_is_read_back(values: dict[str, Any], header: str) -> None:
    """Every text, number, flag, list and table within a section survives being written as TOML."""
    text = render_toml({"one": values, "two.items": [values, values]}, header=header)
    assert tomllib.loads(text) == {"one": values, "two": {"items": [values, values]}}
