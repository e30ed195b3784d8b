"""What `tally status` says: the daemon's state, joined with what the servers answer right now."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ops.disk_use import disk_use
from ops.http_probe import http_status
from ops.local.pidfile import identity_of
from ops.local.postgres import DATABASE
from ops.stack.config_file import CONFIG_FILE, read_config
from ops.stack.secret_files import (
    OPERATOR_KEY_FILE,
    SANDBOX_KEY_FILE,
    SANDBOX_MERCHANT_FILE,
    read_secret,
)
from ops.stack.state import Addresses, Phase, ProcessRecord, Role, StackState, read_state
from ops.stack.status_telling import (
    decisions_document,
    hosts_problem,
    orders_document,
    trouble_problems,
    webhook_problem,
    webhook_warnings,
    webhooks_document,
)
from ops.stack.store_report import space_warnings, store_documents
from ops.versions import versions
from runtime.asking import in_time
from runtime.config import Config, ConfigError
from storage.intent import IntentStore
from storage.opening_books import read_pool
from storage.status import (
    Decisions,
    HostStatus,
    OrderCounts,
    StatusQueries,
    StoreStatus,
    WebhookStatus,
)

# Status answers within 1.5 s whatever is away or frozen, imports included.
ASK_TIMEOUT_S = 0.8

_HTTP_OK = 200


async def status_report(root: Path, environment: Mapping[str, str]) -> dict[str, Any]:
    """The document of `tally status --json`."""
    state = read_state(root)
    if state is None:
        return {
            "healthy": False,
            "phase": "absent",
            **_addresses(root, None, None),
            **_empty(root),
        }
    is_running = state.is_daemon_alive and state.phase in (Phase.RUNNING, Phase.STARTING)
    try:
        config = read_config(root, environment)
    except ConfigError:
        config = None
    asked = _Answers()
    if is_running and config is not None and state.addresses is not None:
        asked = await _ask(config, state.addresses)
    hosts = [host for host in asked.hosts if identity_of(host.pid) is not None]
    names_by_pid = {host.pid: host.host_name for host in hosts}
    processes = [record for record in state.processes if record.is_alive()]
    problems = dict(state.problems)
    problems.update(asked.problems)
    if is_running and asked.are_hosts_known:
        problems.update(_host_problems(hosts, asked.wanted_host_count, state.partition_count))
    stores = store_documents(root, problems, is_running=is_running)
    for name, document in stores.items():
        if is_running and document["one_copy_until"] is not None:
            problems[name] = f"one copy is accepted until {document['one_copy_until']}"
    for record in state.processes:
        if is_running and not record.is_alive():
            problems.setdefault(record.name, f"pid {record.pid} is gone")
    return {
        "healthy": is_running
        and state.phase is Phase.RUNNING
        and asked.are_hosts_known
        and not problems,
        "phase": _phase(state),
        "error": state.error,
        "problems": problems,
        **_addresses(root, state, config),
        "partition_count": state.partition_count,
        "hosts": [
            {
                "name": host.host_name,
                "pid": host.pid,
                "partitions": sorted(host.partition_indexes),
                "metrics_url": metrics_url(host.metrics_address),
            }
            for host in sorted(hosts, key=lambda host: host.host_name)
        ],
        "processes": [_process(record, names_by_pid) for record in processes],
        "wanted_host_count": asked.wanted_host_count,
        "orders": orders_document(asked.counts, asked.decisions),
        "decisions": decisions_document(asked.decisions),
        "webhooks": webhooks_document(asked.webhooks),
        "standbys": _standbys(asked.store),
        "stores": stores,
        **_common(root, state, config, webhook_warnings(asked.webhooks)),
    }


def _host_problems(
    hosts: Sequence[HostStatus], wanted_count: int | None, partition_count: int
) -> dict[str, str]:
    """Return what is missing of owners and of hosts, by what it is of."""
    found: dict[str, str] = {}
    owned_count = sum(len(host.partition_indexes) for host in hosts)
    if owned_count < partition_count:
        found["partitions"] = f"{partition_count - owned_count} have no owner"
    missing = hosts_problem([host.host_name for host in hosts], wanted_count)
    if missing is not None:
        found["hosts"] = missing
    return found


class _Answers:
    """What the servers said in time."""

    def __init__(self) -> None:
        self.hosts: list[HostStatus] = []
        self.are_hosts_known = False
        self.store: StoreStatus | None = None
        self.counts: OrderCounts | None = None
        self.decisions: Decisions | None = None
        self.wanted_host_count: int | None = None
        self.webhooks: WebhookStatus | None = None
        self.problems: dict[str, str] = {}


async def _ask(config: Config, addresses: Addresses) -> _Answers:
    answers = _Answers()
    pool = read_pool(
        config,
        config.postgres.shards[0],
        "reader",
        application_name="tally status",
        session_count_max=7,
    )
    queries = StatusQueries(pool)
    (ready, hosts, store, counts, trouble), rest = await asyncio.gather(
        asyncio.gather(
            in_time(
                http_status(config.gateway.host, config.gateway.port, "/readyz"), ASK_TIMEOUT_S
            ),
            in_time(queries.hosts(), ASK_TIMEOUT_S),
            in_time(queries.store(), ASK_TIMEOUT_S),
            in_time(queries.counts(), ASK_TIMEOUT_S),
            in_time(queries.trouble(), ASK_TIMEOUT_S),
        ),
        asyncio.gather(
            in_time(queries.decisions(), ASK_TIMEOUT_S),
            in_time(IntentStore(pool).read(), ASK_TIMEOUT_S),
            in_time(queries.webhooks(), ASK_TIMEOUT_S),
        ),
    )
    answers.decisions, intent, answers.webhooks = rest
    if ready != _HTTP_OK:
        reason = "no answer" if ready is None else f"/readyz says {ready}"
        answers.problems["gateway"] = f"{addresses.gateway_url}: {reason}"
    if hosts is None:
        answers.problems["books"] = f"Postgres does not answer within {ASK_TIMEOUT_S} s"
    else:
        answers.hosts, answers.are_hosts_known = list(hosts), True
    answers.store, answers.counts = store, counts
    if intent is not None:
        wished = intent.host_count
        answers.wanted_host_count = config.actors.host_count if wished is None else wished
    if trouble is not None:
        answers.problems |= trouble_problems(trouble)
    if (problem := webhook_problem(answers.webhooks)) is not None:
        answers.problems["dispatcher"] = problem
    if (
        store is not None
        and store.synchronous_standby_names
        and not any(standby.sync_state in (None, "sync", "quorum") for standby in store.standbys)
    ):
        answers.problems["standby"] = "no synchronous standby: nothing can be settled"
    await pool.close()
    return answers


def metrics_url(address: str | None) -> str | None:
    """Where a process serves its metrics, from its ``host:port``."""
    return f"http://{address}/metrics" if address else None


def _phase(state: StackState) -> str:
    is_ended = state.phase in (Phase.STOPPED, Phase.FAILED)
    return state.phase if is_ended or state.is_daemon_alive else "died"


def _addresses(root: Path, state: StackState | None, config: Config | None) -> dict[str, Any]:
    addresses = None if state is None else state.addresses
    document: dict[str, Any] = {
        "gateway_url": addresses.gateway_url if addresses else None,
        "api_key": read_secret(root, SANDBOX_KEY_FILE),
        "merchant_id": read_secret(root, SANDBOX_MERCHANT_FILE),
        "operator_key": read_secret(root, OPERATOR_KEY_FILE),
        "psp_url": addresses.psp_url if addresses else None,
        "psps": [],
        "postgres": {"primary_dsn": None, "replica_dsns": []},
        "redis": {"primary_url": None, "replica_urls": []},
    }
    if addresses is None or config is None:
        return document
    reader = quote(read_secret(root, "postgres_reader") or "", safe="")
    valkey = quote(read_secret(root, "valkey") or "", safe="")

    def dsn(address: str) -> str:
        return f"postgresql://tally_reader:{reader}@{address}/{DATABASE}"

    def url(address: str) -> str:
        return f"redis://:{valkey}@{address}/0"

    document["psps"] = [{"name": psp.name, "url": psp.url} for psp in config.psps]
    document["postgres"] = {
        "primary_dsn": dsn(addresses.postgres_primary),
        "replica_dsns": [dsn(address) for address in addresses.postgres_standbys],
    }
    document["redis"] = {
        "primary_url": url(addresses.redis_primary),
        "replica_urls": [url(address) for address in addresses.redis_replicas],
    }
    return document


def _process(record: ProcessRecord, names_by_pid: Mapping[int, str]) -> dict[str, Any]:
    name = names_by_pid.get(record.pid, record.name) if record.role is Role.HOST else record.name
    return {"name": name, "pid": record.pid, "role": record.role}


def _standbys(store: StoreStatus | None) -> list[dict[str, Any]]:
    if store is None:
        return []
    return [
        {
            "name": standby.application_name,
            "state": standby.state,
            "sync_state": standby.sync_state,
            "flush_lag_bytes": standby.flush_lag_bytes,
            "replay_lag_bytes": standby.replay_lag_bytes,
        }
        for standby in store.standbys
    ]


def _empty(root: Path) -> dict[str, Any]:
    return {
        "error": None,
        "problems": {"stack": f"there is none in {root}"},
        "partition_count": 0,
        "hosts": [],
        "processes": [],
        "wanted_host_count": None,
        "orders": None,
        "decisions": None,
        "webhooks": None,
        "standbys": [],
        "stores": store_documents(root, {}, is_running=False),
        **_common(root, None, None),
    }


def _common(
    root: Path,
    state: StackState | None,
    config: Config | None,
    warnings: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    return {
        "home": str(root),
        "config_file": str(root / CONFIG_FILE),
        "stack_id": None if state is None else state.stack_id,
        "started_at": None if state is None else state.started_at,
        "is_ray_used": None if state is None else state.is_ray_used,
        "envelope_version": None if config is None else config.deployment.envelope_version,
        "disk": disk_use(root),
        "warnings": {**space_warnings(root), **(warnings or {})},
        "versions": versions(),
    }
