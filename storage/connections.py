"""Opening connections to Postgres: which server, which settings, and whether it may be read yet.

A server that has just started, or was promoted, may show commits that no standby holds. One marker
row per server start, committed synchronously, proves that every earlier commit is decided. Owners
write it on a server new to them, before they read anything; gateways only look for it.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

import asyncpg
from asyncpg.connect_utils import SessionAttribute

from runtime.faults import StorageUnavailable
from storage.sessions import ANSWER_TIMEOUT_S, STORE, Backend, Session, postgres_faults
from storage.sql_files import load_statements

# A host that does not answer a connect within this is dead or frozen: try the next one. A connect
# takes about 15 ms on a loaded machine; a takeover has 3 s in all.
CONNECT_TIMEOUT_S = 2.0

# Dead peers are noticed in about 5 + 3 s when nothing is sent, in 5 s when something is.
_KEEPALIVE_IDLE_S = 5
_KEEPALIVE_INTERVAL_S = 1
_KEEPALIVE_COUNT = 3
_USER_TIMEOUT_MS = 5_000

# What every session of ours sets. The server drops a session whose client is gone also while it
# waits for a lock; a lock wait ends by an error before the statement's time is up, so that it is
# certain that nothing was done; compiling statements of milliseconds costs more than it saves.
_SESSION_SETTINGS: Mapping[str, str] = {
    "synchronous_commit": "on",
    "lock_timeout": "4000",
    "client_connection_check_interval": "1000",
    "tcp_keepalives_idle": str(_KEEPALIVE_IDLE_S),
    "tcp_keepalives_interval": str(_KEEPALIVE_INTERVAL_S),
    "tcp_keepalives_count": str(_KEEPALIVE_COUNT),
    "tcp_user_timeout": str(_USER_TIMEOUT_MS),
    "jit": "off",
}

# For statements that join a short list with large tables. The list has no statistics, and a plan is
# made once: loops over indexes are right while a table is empty, and stay right when it has grown.
INDEX_LOOPS: Mapping[str, str] = {
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
}

# For statements that are run over and over. Left to itself the server plans a look-up of fewer than ten
# orders anew each time, because it takes the shorter list for so much cheaper: 1.1 ms of its CPU against
# 0.13 ms. Lists choose for themselves (storage/listing.py).
PLANNED_ONCE: Mapping[str, str] = {"plan_cache_mode": "force_generic_plan"}

_DEFAULT_PORT = 5432

# What a host can answer that is no primary, or none that lets us in. That it is a standby comes as an
# internal error of the driver's; the next host may still be the primary.
_NO_SESSION = (
    OSError,
    TimeoutError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)

_SQL = load_statements("connections.sql")


class Connector:
    """Opens sessions on whichever server of a shard is the primary now.

    ``dsn`` may name several hosts, as libpq's URLs do: ``postgresql://user:pw@a:1,b:2/tally``.
    ``application_name`` shows in ``pg_stat_activity``. ``answer_timeout_s`` is how long a session
    waits for a statement; only what is not on the way of a payment may wait longer.
    """

    def __init__(
        self, dsn: str, *, application_name: str, answer_timeout_s: float = ANSWER_TIMEOUT_S
    ) -> None:
        self._dsn = dsn
        self._answer_timeout_s = answer_timeout_s
        self._hosts = hosts_of(dsn)
        self._application_name = application_name

    async def open(self, settings: Mapping[str, str] | None = None) -> Session:
        """Return a new session on the primary, whether or not it may be read yet.

        Raises StorageUnavailable when no host is a primary that lets us in.
        """
        reasons: list[str] = []
        for host, port in self._hosts:
            try:
                return await self._open_on(host, port, settings or {})
            except _NO_SESSION as fault:
                reasons.append(f"{host}:{port} {type(fault).__name__} {fault}".strip())
        raise StorageUnavailable(STORE, "; ".join(reasons))

    async def open_marked(self, settings: Mapping[str, str] | None = None) -> Session:
        """Return a new session on a marked primary, marking it if need be. For owners."""
        session = await self.open(settings)
        try:
            await session.finish(ensure_server_marked(session, self._application_name))
        except BaseException:
            session.abort()
            raise
        return session

    async def _open_on(self, host: str, port: int, settings: Mapping[str, str]) -> Session:
        connection = await asyncpg.connect(
            self._dsn,
            host=host,
            port=port,
            timeout=CONNECT_TIMEOUT_S,
            target_session_attrs=SessionAttribute.primary,
            server_settings={
                "application_name": self._application_name,
                **_SESSION_SETTINGS,
                **settings,
            },
        )
        try:
            _keep_alive(connection)
            row = await connection.fetchrow(_SQL["own_backend"], timeout=CONNECT_TIMEOUT_S)
            if row is None:
                raise OSError("the server does not show our own session")
        except BaseException:
            connection.terminate()
            raise
        return Session(
            connection,
            Backend(pid=row["pid"], started_at=row["backend_start"]),
            answer_timeout_s=self._answer_timeout_s,
        )


def hosts_of(dsn: str) -> Sequence[tuple[str, int]]:
    """Return the hosts and ports that a URL names, in its order."""
    netloc = urlsplit(dsn).netloc.rpartition("@")[2]
    hosts: list[tuple[str, int]] = []
    for part in netloc.split(","):
        host, colon, port = part.rpartition(":")
        if not colon or port.endswith("]"):
            host, port = part, str(_DEFAULT_PORT)
        hosts.append((host.strip("[]") or "localhost", int(port)))
    return hosts


async def ensure_server_marked(session: Session, marked_by: str) -> None:
    """Write this server start's marker unless it is there; it is on a standby on return.

    Raises StorageUnavailable, also when the wait for the standby was cut short.
    """
    with postgres_faults():
        if await is_server_marked(session):
            return
        session.take_warnings()
        # One transaction of one statement: synchronous_commit is on whatever the session is for.
        await session.execute("BEGIN")
        await session.execute(_SQL["commit_synchronously"])
        await session.fetch(_SQL["mark_server_start"], marked_by)
        await session.execute("COMMIT")
    if warnings := session.take_warnings():
        session.abort()
        raise StorageUnavailable(STORE, f"the marker was not confirmed: {warnings[0]}")


async def is_server_marked(session: Session) -> bool:
    """Return whether this server start is marked: before that, nothing on it may be relied on."""
    row = await session.fetchrow(_SQL["server_start_marked"])
    return row is not None


def _keep_alive(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    """Have the kernel notice a dead server. The driver has no public way to its socket."""
    wire: asyncio.Transport = connection._transport  # type: ignore[attr-defined]  # noqa: SLF001
    sock = wire.get_extra_info("socket")
    if sock is None or sock.family == socket.AF_UNIX:
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEPALIVE_IDLE_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _KEEPALIVE_INTERVAL_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _KEEPALIVE_COUNT)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _USER_TIMEOUT_MS)
