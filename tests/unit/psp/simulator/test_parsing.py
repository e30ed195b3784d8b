"""What the simulator reads, from its log and from those who experiment: a value, or the documented fault."""

from __future__ import annotations

from pathlib import Path
from zlib import crc32

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from psp.simulator.log import LOG_NAME, LOG_VERSION, DurableLog, LogUnusable
from psp.simulator.records import OpenRecord, Record
from psp.simulator.sandbox import scenario_changed
from psp.simulator.wire import UNREADABLE, Scenario

OPENING = OpenRecord(v=LOG_VERSION, name="simulator", seed=7)


def _frame(payload: bytes) -> bytes:
    return b"#%d %08x\n" % (len(payload), crc32(payload)) + payload


_GOOD = _frame(msgspec.json.encode(OPENING) + b"\n")
lines = st.sampled_from(
    [b"{}\n", b'{"t":"charge"}\n', b"\xff\n", b"[" * 20_000 + b"\n", b"not JSON", b"\n", b""]
)
logs = st.one_of(
    st.binary(max_size=80),
    st.binary(max_size=80).map(lambda tail: _GOOD + tail),
    lines.map(lambda line: _GOOD + _frame(line)),
    lines.map(_frame),
    st.integers(1, len(_GOOD)).map(lambda cut: _GOOD[:-cut]),
)


@given(data=logs)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_any_log_is_replayed_or_unusable(tmp_path: Path, data: bytes) -> None:
    """Of any file all whole records are handed over and a torn tail is cut, or it is refused as unusable."""
    path = tmp_path / LOG_NAME
    path.write_bytes(data)
    found: list[Record] = []
    try:
        log = DurableLog.opened(tmp_path, OPENING, on_durable=found.append)
    except LogUnusable:
        return
    await log.close()
    kept = path.read_bytes()
    assert kept == _GOOD or data.startswith(kept)


@given(
    changes=st.binary(max_size=40)
    | st.sampled_from(
        [
            b"[" * 20_000,
            b'{"a":' * 20_000,
            b'{"down":true}',
            b'{"down":1}',
            b'{"a":"\xff"}',
            b'{"latency_ms_median":1e400}',
        ]
    )
)
def test_any_change_of_a_scenario_is_taken_or_refused(changes: bytes) -> None:
    """An experimenter's JSON changes what it names, or is refused by one of the named faults."""
    try:
        changed = scenario_changed(Scenario(), changes)
    except UNREADABLE:
        return
    assert msgspec.convert(msgspec.to_builtins(changed), type=Scenario) == changed
