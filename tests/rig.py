"""A whole payment path on real servers without Ray: gateway, hosts and PSP as processes of a test.

The servers are the session's (tests/servers.py); each rig has a database and an empty queue of its own.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import aiohttp
import asyncpg

from payments.fees import SANDBOX_FEE
from payments.identity import new_merchant_id
from payments.mode import Mode
from payments.partitioning import ShardRange
from runtime.config import Config, load_config
from storage.api_keys import RANDOM_BYTES, issue_api_key
from storage.connections import Connector, ensure_server_marked
from storage.deployments import Deployment, RolePasswords, create_deployment, create_roles
from storage.directory import PostgresDirectory
from storage.migrations import migrate, migrations_of_package
from storage.opening_books import read_pool
from storage.read_ports import KeyRole
from tests.servers import SharedServers
from tests.simulator_process import SimulatorProcess

PARTITION_COUNT = 16

PASSWORDS = RolePasswords(gateway="gateway-test", owner="owner-test", reader="reader-test")

# Imports of aiohttp, asyncpg and msgspec take about a second on an idle machine.
START_S_MAX = 30.0


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Rig:
    """Use as a context manager; everything it started ends with it. One at a time: they share the queue."""

    _is_one_running = False

    def __init__(
        self,
        servers: SharedServers,
        directory: Path,
        *,
        simulator: tuple[str, ...] = (),
        has_second_psp: bool = False,
        has_webhooks: bool = False,
        more_config: str = "",
    ) -> None:
        """``has_webhooks``: the simulator sends its webhooks to the rig's gateway."""
        self.servers = servers
        self.directory = directory
        self.database = f"rig_{uuid4().hex[:12]}"
        self.processes: list[subprocess.Popen[bytes]] = []
        self.gateway_port = free_port()
        self._simulator_options = ("--seed", "7", "--latency-ms", "0", *simulator)
        if has_webhooks:
            assert not has_second_psp, "the secret is told of the last PSP"
            directory.mkdir(parents=True, exist_ok=True)
            secret = directory / "psp_webhook"
            secret.write_text("w" * 32, encoding="utf-8")
            self._simulator_options += (
                *("--webhooks", "--webhook-url", f"{self.url}/v1/psp/simulator/webhooks"),
                *("--webhook-secret-file", str(secret)),
            )
            more_config = f'webhook_secret_files = ["psp_webhook"]\n{more_config}'
        self.simulator = SimulatorProcess(directory / "psp", options=self._simulator_options)
        self.second = (
            SimulatorProcess(directory / "psp-b", options=("--seed", "8"))
            if has_second_psp
            else None
        )
        self._more_config = more_config
        self.config: Config
        self.merchant_id = ""
        self.api_key = ""

    # --- life -------------------------------------------------------------------------------------------

    def __enter__(self) -> Rig:
        assert not Rig._is_one_running, "the hosts of two rigs would take in each other's orders"
        self.directory.mkdir(parents=True, exist_ok=True)
        self.servers.empty_valkey()
        self.servers.create_database(self.database)
        self.simulator.__enter__()
        if self.second is not None:
            self.second.__enter__()
        self._write_config()
        asyncio.run(self._install())
        self.merchant_id, self.api_key = asyncio.run(self.create_merchant("Test shop"))
        Rig._is_one_running = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        Rig._is_one_running = False
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait(10)
        self.simulator.__exit__(None, None, None)
        if self.second is not None:
            self.second.__exit__(None, None, None)
        self.servers.drop_database(self.database)

    # --- parts ------------------------------------------------------------------------------------------

    @property
    def config_path(self) -> Path:
        return self.directory / "tallystick.toml"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.gateway_port}"

    @property
    def dsn(self) -> str:
        """The superuser's URL of this rig's database."""
        return self.servers.dsn(self.database)

    def start_host(
        self, name: str, environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a host process; it claims partitions by itself."""
        return self._start(
            name,
            ["-m", "actors", "host", "--config", str(self.config_path), "--name", name],
            environment,
        )

    def start_gateway(
        self, name: str = "gateway-0", environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a gateway process on the rig's port."""
        return self._start(
            name, ["-m", "gateway", "--config", str(self.config_path), "--name", name], environment
        )

    def start_dispatcher(self) -> subprocess.Popen[bytes]:
        """Start the process that sends the merchants' webhooks."""
        arguments = ["-m", "actors", "dispatcher", "--config", str(self.config_path)]
        return self._start("dispatcher", arguments, None)

    def restart_simulator(self) -> None:
        """Kill the PSP and start it again, on its port and its log."""
        self.simulator.__exit__(None, None, None)
        self.simulator = SimulatorProcess(
            self.directory / "psp", port=self.simulator.port, options=self._simulator_options
        )
        self.simulator.__enter__()

    def log_of(self, name: str) -> str:
        """What a process has written so far."""
        return (self.directory / f"{name}.log").read_text(encoding="utf-8")

    async def create_merchant(self, name: str) -> tuple[str, str]:
        """A merchant with the sandbox fee and a test key: (merchant_id, api_key)."""
        pool = read_pool(
            self.config,
            self.config.postgres.shards[0],
            "gateway",
            application_name="rig",
            session_count_max=1,
        )
        directory = PostgresDirectory(pool)
        try:
            merchant = await directory.create_merchant(
                merchant_id=new_merchant_id(os.urandom(10)), name=name, fee=SANDBOX_FEE, actor="rig"
            )
            key, record = issue_api_key(
                self.config.secret(self.config.secrets.api_key_pepper_file).encode(),
                os.urandom(RANDOM_BYTES),
                role=KeyRole.MERCHANT,
                mode=Mode.TEST,
                merchant_no=merchant.merchant_no,
                merchant_id=merchant.merchant_id,
            )
            await directory.store_api_key(record, actor="rig")
        finally:
            await pool.close()
        return merchant.merchant_id, key

    async def create_operator_key(self) -> str:
        """An operator's test key."""
        pool = read_pool(
            self.config,
            self.config.postgres.shards[0],
            "gateway",
            application_name="rig",
            session_count_max=1,
        )
        try:
            key, record = issue_api_key(
                self.config.secret(self.config.secrets.api_key_pepper_file).encode(),
                os.urandom(RANDOM_BYTES),
                role=KeyRole.OPERATOR,
                mode=Mode.TEST,
            )
            await PostgresDirectory(pool).store_api_key(record, actor="rig")
        finally:
            await pool.close()
        return key

    async def fetch(self, sql: str, *arguments: object) -> list[asyncpg.Record]:
        """Ask the database as the superuser."""
        connection = await asyncpg.connect(self.dsn)
        try:
            return list(await connection.fetch(sql, *arguments))
        finally:
            await connection.close()

    async def owners(self) -> dict[int, str]:
        """Host name by partition, for those that a living lease owns by the books."""
        rows = await self.fetch(
            "SELECT p.partition_index, l.host_name FROM partition p"
            " JOIN host_lease l ON l.incarnation = p.owner WHERE l.released_at IS NULL"
        )
        return {row["partition_index"]: row["host_name"] for row in rows}

    async def until_owned_by(self, *names: str, timeout_s: float = START_S_MAX) -> float:
        """Wait until the hosts named own every partition between them. Returns the seconds it took."""
        started_s = time.monotonic()
        while True:
            owners = await self.owners()
            if len(owners) == PARTITION_COUNT and set(owners.values()) == set(names):
                return time.monotonic() - started_s
            if time.monotonic() - started_s > timeout_s:
                raise AssertionError(f"owners after {timeout_s} s: {owners}")
            await asyncio.sleep(0.05)

    async def until_ended(
        self, merchant_id: str, order_count: int, *, timeout_s: float = START_S_MAX
    ) -> None:
        """Wait until the ledger holds that many ended orders of the merchant, and none that is open."""
        started_s = time.monotonic()
        while True:
            rows = await self.fetch(
                "SELECT count(*) AS n, count(x.order_no) AS ended FROM payment_order o"
                " JOIN merchant m USING (merchant_no)"
                " LEFT JOIN order_outcome x USING (partition_index, order_no)"
                " WHERE m.merchant_id = $1",
                merchant_id,
            )
            if rows[0]["n"] == rows[0]["ended"] == order_count:
                return
            if time.monotonic() - started_s > timeout_s:
                raise AssertionError(f"{rows[0]['ended']} of {rows[0]['n']} orders have ended")
            await asyncio.sleep(0.1)

    async def until_ready(self, *, timeout_s: float = START_S_MAX) -> None:
        """Wait until the gateway accepts orders."""
        async with asyncio.timeout(timeout_s), aiohttp.ClientSession() as session:
            while True:
                try:
                    async with session.get(self.url + "/readyz") as response:
                        if response.status == 200:
                            return
                except aiohttp.ClientError:
                    pass
                await asyncio.sleep(0.05)

    # --- how ----------------------------------------------------------------------------------------------

    def _start(
        self, name: str, arguments: list[str], environment: Mapping[str, str] | None
    ) -> subprocess.Popen[bytes]:
        with (self.directory / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, *arguments],
                stdout=log,
                stderr=log,
                env={**os.environ, **(environment or {})},
            )
        self.processes.append(process)
        return process

    def _write_config(self) -> None:
        secrets = {
            "gateway.pw": PASSWORDS.gateway,
            "owner.pw": PASSWORDS.owner,
            "reader.pw": PASSWORDS.reader,
            "redis.pw": urlsplit(self.servers.valkey_url).password or "",
            "pepper": "p" * 32,
            "fingerprint": "f" * 32,
        }
        for name, text in secrets.items():
            (self.directory / name).write_text(text, encoding="utf-8")
        postgres = urlsplit(self.servers.dsn(self.database))
        primary, replica = (
            urlsplit(self.servers.valkey_url),
            urlsplit(self.servers.valkey_replica_url),
        )
        self.config_path.write_text(
            f"""
[deployment]
id = "{uuid4()}"
partition_count = {PARTITION_COUNT}
[postgres]
shards = [{{ name = "s0", partition_first = 0, partition_end = {PARTITION_COUNT},
             addresses = ["{postgres.hostname}:{postgres.port}"], database = "{self.database}" }}]
gateway_password_file = "gateway.pw"
owner_password_file = "owner.pw"
reader_password_file = "reader.pw"
[redis]
address = "{primary.hostname}:{primary.port}"
replica_addresses = ["{replica.hostname}:{replica.port}"]
password_file = "redis.pw"
[gateway]
port = {self.gateway_port}
[actors]
call_timeout_ms = 1500
[[psps]]
name = "simulator"
kind = "simulator"
url = "{self.simulator.url}"
{self._second_psp()}{self._more_config}
[secrets]
api_key_pepper_file = "pepper"
fingerprint_key_file = "fingerprint"
""".replace("[{ name", "[{ name").replace(",\n             addresses", ", addresses"),
            encoding="utf-8",
        )
        self.config = load_config(self.config_path, {})

    def _second_psp(self) -> str:
        if self.second is None:
            return ""
        return f'[[psps]]\nname = "simulator_b"\nurl = "{self.second.url}"\n'

    async def _install(self) -> None:
        session = await Connector(self.dsn, application_name="rig").open()
        try:
            await create_roles(session, PASSWORDS)
            await migrate(session, migrations_of_package())
            await create_deployment(
                session,
                Deployment(
                    deployment_id=UUID(str(self.config.deployment.id)),
                    partition_count=PARTITION_COUNT,
                    shard=ShardRange(name="s0", first_index=0, end_index=PARTITION_COUNT),
                    envelope_version=1,
                ),
            )
            await ensure_server_marked(session, "rig")
        finally:
            await session.close()


async def until(is_true: Callable[[], bool], *, timeout_s: float = START_S_MAX) -> None:
    """Wait for a fact of this process."""
    async with asyncio.timeout(timeout_s):
        while not is_true():
            await asyncio.sleep(0.02)
