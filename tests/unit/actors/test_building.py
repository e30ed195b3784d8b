"""Building a host: what can't work is refused before anything is opened."""

from __future__ import annotations

from pathlib import Path

import pytest

from actors.building import build_host
from runtime.config import ConfigError, load_config
from tests.unit.runtime.test_config import EXAMPLE


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('url = "http://127.0.0.1:8100"', "", "no plain http"),
        ('url = "http://127.0.0.1:8100"', 'kind = "bank"', "unknown kind 'bank'"),
        (
            'url = "http://127.0.0.1:8100"',
            'kind = "stripe"\nsecret_key_file = "none"',
            "secret file",
        ),
        ("[ray]", "[ray]", "secret file"),
    ],
)
def test_a_host_that_can_not_work_is_not_built(
    tmp_path: Path, old: str, new: str, reason: str
) -> None:
    """A wrong PSP or a missing secret is a configuration error, told as one."""
    path = tmp_path / "tally.toml"
    path.write_text(EXAMPLE.replace(old, new), encoding="utf-8")
    with pytest.raises(ConfigError, match=reason):
        build_host(load_config(path, {}), name="host-0", environment={})
