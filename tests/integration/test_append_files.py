"""Append-only files of real Valkey servers, written anew before a run of the benchmark."""

from __future__ import annotations

import asyncio

import pytest

from loadtest.bench import append_files
from loadtest.bench.append_files import rewrite_append_only_file
from loadtest.bench.faults import BenchFailed
from ops.local.ports import free_port
from ops.local.resp import ask, info_fields
from tests.servers import SharedServers

_VALUE = "x" * 1_000_000
_FILE_MAX = 100_000


async def _persistence(servers: SharedServers) -> dict[str, str]:
    pair = servers.stores.valkey
    (reply,) = await ask(pair.primary.port, pair.password, ("INFO", "persistence"))
    return info_fields(reply)


async def test_a_file_holds_what_is_kept_and_nothing_else(servers: SharedServers) -> None:
    """A run that starts now has 64 MB before the next rewrite, whatever was written before it."""
    servers.empty_valkey()
    pair = servers.stores.valkey
    key = "test:overwritten"
    await ask(pair.primary.port, pair.password, *[("SET", key, _VALUE)] * 3, ("DEL", key))
    before = await _persistence(servers)
    assert int(before["aof_current_size"]) > 3 * len(_VALUE)

    await rewrite_append_only_file(pair.primary.port, pair.password)

    after = await _persistence(servers)
    assert int(after["aof_rewrites"]) == int(before["aof_rewrites"]) + 1
    assert (after["aof_rewrite_in_progress"], after["aof_last_bgrewrite_status"]) == ("0", "ok")
    assert int(after["aof_current_size"]) < _FILE_MAX


async def test_a_rewrite_that_goes_on_is_waited_for(servers: SharedServers) -> None:
    """It began with what was there before: another one follows, and neither is refused."""
    servers.empty_valkey()
    pair = servers.stores.valkey
    before = await _persistence(servers)
    await asyncio.gather(
        *(rewrite_append_only_file(pair.primary.port, pair.password) for _ in range(3))
    )
    after = await _persistence(servers)
    assert int(after["aof_rewrites"]) > int(before["aof_rewrites"])
    assert (after["aof_rewrite_in_progress"], after["aof_rewrite_scheduled"]) == ("0", "0")


async def test_no_server_is_a_clear_end(servers: SharedServers) -> None:
    """The run ends with the port and the reason, not with a traceback."""
    port = free_port()
    with pytest.raises(BenchFailed, match=f"port {port} did not rewrite its file: no answer"):
        await rewrite_append_only_file(port, servers.stores.valkey.password)


async def test_a_rewrite_without_end_is_told(
    servers: SharedServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk, say: the bound says how long was waited."""
    monkeypatch.setattr(append_files, "REWRITE_TIMEOUT_S", 0.2)
    monkeypatch.setattr(append_files, "_begin", lambda *_: asyncio.sleep(0))
    pair = servers.stores.valkey
    with pytest.raises(BenchFailed, match="not done after 0 s"):
        await rewrite_append_only_file(pair.primary.port, pair.password)
