"""Configuration and settings of crash points: any text is a value, or refused by the documented type."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from runtime.config import ConfigError, load_config
from runtime.crash_points import POINTS, CrashPointError, CrashPoints

_COUNTS = st.one_of(
    st.text(max_size=6),
    st.integers(-3, 10**12).map(str),
    st.sampled_from(["", "\u0663", "\u00b2", "1e3", "9" * 5_000]),
)
specs = st.text(max_size=20) | st.builds(
    "{}:{}".format, st.sampled_from(sorted(POINTS)) | st.text(max_size=5), _COUNTS
)
toml_texts = st.one_of(
    st.binary(max_size=60),
    st.sampled_from(
        [
            b"a = " + b"[" * 20_000,
            b"a = " + b"9" * 5_000,
            b"[redis]\naddress = 1",
            b"deployment = []",
            b"a.b.c = nan",
        ]
    ),
    st.lists(
        st.sampled_from(
            [
                "[deployment]",
                "id = 1",
                "[[psps]]",
                "name = 'a'",
                "x = 1979-05-27",
                "[redis",
                "= 3",
                "a = {b = [1]}",
            ]
        ),
        max_size=6,
    ).map(lambda lines: "\n".join(lines).encode()),
)


@given(at=specs, freeze=specs)
@example(at="after_append:" + "9" * 5_000, freeze="")
def test_any_crash_point_is_armed_or_refused(at: str, freeze: str) -> None:
    """A variable names known points and counts, or the process does not start; nothing is half armed."""
    environment = {"TALLY_CRASH_AT": at, "TALLY_FREEZE_AT": freeze}
    try:
        CrashPoints.from_environment(environment, is_sandbox=True)
    except CrashPointError:
        return
    for spec in filter(None, (at, freeze)):
        point, _, count = spec.partition(":")
        assert point in POINTS
        assert count == "" or int(count) >= 1


@given(text=toml_texts)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_configuration_is_read_or_refused(tmp_path: Path, text: bytes) -> None:
    """A file of any bytes is a configuration whose relations hold, or is refused by name."""
    path = tmp_path / "tallystick.toml"
    path.write_bytes(text)
    with pytest.raises(ConfigError, match=r"tallystick\.toml"):
        load_config(path, {})


@given(
    name=st.text("ABC_", max_size=12),
    text=st.text(max_size=20) | st.sampled_from(["9" * 5_000, "[" * 20_000]),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_override_is_taken_or_refused(tmp_path: Path, name: str, text: str) -> None:
    """A variable of any form and content changes the configuration, or is refused."""
    path = tmp_path / "tallystick.toml"
    path.write_text("")
    with pytest.raises(ConfigError):
        load_config(path, {f"TALLY__{name}": text, "TALLY__DEPLOYMENT__ID": text})
