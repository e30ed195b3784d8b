"""Files and answers that the command line reads: any bytes are a value, or nothing, or the documented fault."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ops.local import resp
from ops.local.pidfile import ProcessIdentity, read_live
from ops.stack.settings import StackSettingsInvalid, port_base_of
from ops.stack.state import STATE_FILE, StackState, read_state

_VALUES = st.one_of(
    st.integers(),
    st.none(),
    st.booleans(),
    st.floats(),
    st.sampled_from(["", "self", "1", "a\0b", "../1", []]),
)
pid_files = st.one_of(
    st.binary(max_size=60),
    st.sampled_from([b"[" * 20_000, b'{"a":' * 20_000, b"null", b"1", b"{}"]),
    st.fixed_dictionaries({"pid": _VALUES, "start_ticks": _VALUES, "boot_id": _VALUES}).map(
        lambda record: json.dumps(record).encode()
    ),
)
state_files = st.one_of(
    st.binary(max_size=60),
    st.sampled_from([b"[" * 20_000, b'{"a":' * 20_000, b"{}", b'{"phase":"\xff"}']),
)
replies = st.one_of(
    st.binary(max_size=40),
    st.sampled_from(
        [
            b"+OK\r\n",
            b":x\r\n",
            b"$-5\r\n",
            b"$x\r\n",
            b"*1\r\n" * 20_000,
            b"\xff\r\n",
            b"-ERR no\r\n",
            b"*9\r\n+OK\r\n",
            b"$3\r\nab",
            b":" + b"9" * 5_000 + b"\r\n",
            b"+" + b"a" * 70_000 + b"\r\n",
        ]
    ),
)


@given(data=pid_files)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_pid_file_names_a_process_or_nobody(tmp_path: Path, data: bytes) -> None:
    """A pid file of any content names the very process that it records, or nobody and is removed."""
    path = tmp_path / "server.pid"
    path.write_bytes(data)
    named = read_live(path)
    assert named is None or isinstance(named, ProcessIdentity)
    assert path.exists() == (named is not None)
    if named is not None:
        assert type(named.pid) is int


@given(data=state_files)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_state_file_is_a_state_or_none(tmp_path: Path, data: bytes) -> None:
    """What a daemon of another version left, or a disk damaged, is no state; it stops no command."""
    (tmp_path / "run").mkdir(exist_ok=True)
    (tmp_path / "run" / STATE_FILE).write_bytes(data)
    state = read_state(tmp_path)
    assert state is None or isinstance(state, StackState)


@given(
    text=st.text(max_size=12)
    | st.integers(-5, 10**6).map(str)
    | st.sampled_from(["9" * 5_000, "\u0663"])
)
def test_any_port_base_is_a_number_or_refused(text: str) -> None:
    """TALLY_PORT_BASE is a number as it stands, or is refused by name."""
    try:
        base = port_base_of({"TALLY_PORT_BASE": text})
    except StackSettingsInvalid:
        return
    assert (base is None) == (text == "")
    assert base is None or base == int(text)


@given(answer=replies)
async def test_any_answer_of_a_server_is_read_or_refused(answer: bytes) -> None:
    """Whatever listens where a Redis should, asking it gives replies or the one documented fault."""

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"+OK\r\n" + answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        (reply,) = await resp.ask(port, "pw", ("PING",))
    except resp.RespError:
        return
    finally:
        server.close()
    assert reply is None or isinstance(reply, str | int | list)
