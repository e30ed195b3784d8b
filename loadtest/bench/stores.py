"""Asking both stores: how durable they are, how far they are, and how often they synced."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

from loadtest.bench.append_files import rewrite_append_only_file
from loadtest.bench.statements import load_own_statements
from ops.local.resp import ask, info_fields

_SQL = load_own_statements("stores.sql")

POSTGRES_SETTINGS = (
    "fsync",
    "full_page_writes",
    "synchronous_commit",
    "synchronous_standby_names",
    "wal_level",
    "wal_sync_method",
    "data_checksums",
)
VALKEY_SETTINGS = (
    "appendonly",
    "appendfsync",
    "no-appendfsync-on-rewrite",
    "maxmemory-policy",
    "min-replicas-to-write",
)

# What a strict server says. A commit must be on two copies, each flushed, before it is answered.
_STRICT_POSTGRES = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on"}
_STRICT_VALKEY = {
    "appendonly": "yes",
    "appendfsync": "always",
    "no-appendfsync-on-rewrite": "no",
    "maxmemory-policy": "noeviction",
}
_SYNCHRONOUS = ("sync", "quorum")


@dataclass(frozen=True, slots=True, kw_only=True)
class ValkeyServer:
    """One server of the queue, and whose counters tell of it."""

    port: int
    pid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """What both stores have counted so far. Bytes, and numbers of fsyncs by server."""

    wal_bytes: int
    aof_bytes: int
    aof_rewrites: int
    fsyncs: dict[str, int | None]


class Stores:
    """Superuser's connections to both Postgres servers, and the password of both Valkey servers."""

    def __init__(
        self,
        primary: asyncpg.Connection[Any],
        standby: asyncpg.Connection[Any],
        *,
        valkey_password: str,
        valkey_primary: ValkeyServer,
        valkey_replica: ValkeyServer,
    ) -> None:
        self._primary = primary
        self._standby = standby
        self._password = valkey_password
        self._valkey = {"redis_primary": valkey_primary, "redis_replica": valkey_replica}

    async def close(self) -> None:
        await self._primary.close()
        await self._standby.close()

    async def fetchrow(self, name: str, *arguments: object) -> Any:
        """Run a named statement of stores.sql on the primary."""
        return await self._primary.fetchrow(_SQL[name], *arguments)

    async def fetch(self, name: str, *arguments: object) -> list[Any]:
        return await self._primary.fetch(_SQL[name], *arguments)

    async def execute(self, sql: str) -> None:
        """Run one statement on the primary, outside of a transaction."""
        await self._primary.execute(sql)

    async def rewrite_append_only_files(self) -> None:
        """Have both Valkey servers write their files anew, so that it is not due soon. Raises BenchFailed."""
        for valkey in self._valkey.values():
            await rewrite_append_only_file(valkey.port, self._password)

    async def counters(self) -> Counters:
        """Read everything that counts upwards."""
        wal = await self._primary.fetchrow(_SQL["wal_position"])
        assert wal is not None
        # The standby's receiver tells its counts only now and then, which gives no number for a run.
        row = await self._primary.fetchrow(_SQL["fsyncs"])
        assert row is not None
        fsyncs: dict[str, int | None] = {
            "postgres_primary_wal": row["wal"],
            "postgres_primary_data": row["data"],
        }
        infos: dict[str, dict[str, str]] = {}
        for name, valkey in self._valkey.items():
            infos[name] = await self._info(valkey.port)
            fsyncs[f"{name}_aof"] = _aof_write_count(valkey.pid, infos[name])
        persistence = infos["redis_primary"]
        return Counters(
            wal_bytes=wal["wal_bytes"],
            aof_bytes=int(persistence["aof_current_size"]),
            aof_rewrites=int(persistence["aof_rewrites"]),
            fsyncs=fsyncs,
        )

    async def versions(self) -> dict[str, str]:
        """What the servers call themselves."""
        row = await self._primary.fetchrow(_SQL["version"])
        assert row is not None
        info = await self._info(self._valkey["redis_primary"].port)
        is_valkey = "valkey_version" in info
        name, field = ("valkey", "valkey_version") if is_valkey else ("redis", "redis_version")
        return {"postgres": row["version"], name: info[field]}

    async def durability(self) -> dict[str, Any]:
        """What the servers themselves say of their durability; ``not_strict`` judges it."""
        document: dict[str, Any] = {}
        for name, server in (("primary", self._primary), ("standby", self._standby)):
            rows = await server.fetch(_SQL["settings"], list(POSTGRES_SETTINGS))
            document[f"postgres_{name}"] = {row["name"]: row["setting"] for row in rows}
        document["postgres_standbys"] = [dict(row) for row in await self.fetch("standbys")]
        for name, valkey in self._valkey.items():
            document[name] = await self._config(valkey.port)
        info = await self._info(self._valkey["redis_primary"].port)
        document["redis_replicas_connected"] = int(info["connected_slaves"])
        return document

    async def _info(self, port: int) -> dict[str, str]:
        return info_fields((await ask(port, self._password, ("INFO", "everything")))[0])

    async def _config(self, port: int) -> dict[str, str]:
        replies = await ask(
            port, self._password, *(("CONFIG", "GET", name) for name in VALKEY_SETTINGS)
        )
        return {str(reply[0]): str(reply[1]) for reply in replies if isinstance(reply, list)}


def not_strict(document: dict[str, Any]) -> list[str]:
    """Return what in ``Stores.durability`` is not strict; a run under any of it does not count."""
    wanted = {
        "postgres_primary": _STRICT_POSTGRES,
        "postgres_standby": _STRICT_POSTGRES,
        "redis_primary": _STRICT_VALKEY,
        "redis_replica": _STRICT_VALKEY,
    }
    lax = [
        f"{server}: {name} is {document[server].get(name)}, not {value}"
        for server, settings in wanted.items()
        for name, value in settings.items()
        if document[server].get(name) != value
    ]
    if not document["postgres_primary"].get("synchronous_standby_names"):
        lax.append("postgres_primary: synchronous_standby_names is empty")
    if not any(
        standby["state"] == "streaming" and standby["sync_state"] in _SYNCHRONOUS
        for standby in document["postgres_standbys"]
    ):
        lax.append("postgres: no synchronous standby streams")
    if document["redis_replicas_connected"] < 1:
        lax.append("redis_primary: no replica is connected")
    return lax


def _aof_write_count(pid: int, info: dict[str, str]) -> int | None:
    """How often the server wrote its append-only file, each time with one fsync.

    Valkey has no counter of fsyncs. Under ``appendfsync always`` it syncs after every write of the
    file, and it writes only there and to its clients (its log aside): so the kernel's count of its
    write calls, less its own count of writes to clients, is that number to within some lines of
    log. None where the kernel does not tell.
    """
    try:
        text = Path(f"/proc/{pid}/io").read_text(encoding="ascii")
    except OSError:
        return None
    calls = {
        name: int(value) for name, _, value in (line.partition(":") for line in text.splitlines())
    }
    return calls["syscw"] - int(info["total_writes_processed"])
