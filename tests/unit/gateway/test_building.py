"""From the configuration to a gateway process."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from msgspec.structs import replace

from gateway.building import GatewayProcess, gateway_settings
from gateway.resending import Resending
from gateway.settings import GatewaySettingsInvalid
from payments.mode import Mode
from psp.stripe.webhooks import signature_of as stripe_signature
from psp.webhooks import Refusal, signature_of
from runtime.config import Config, ConfigError, load_config
from runtime.psp_config import PspConfig
from tests.unit.gateway.stack import settings

CONFIG = """
[deployment]
id = "{id}"
partition_count = 8

[[postgres.shards]]
name = "one"
partition_first = 0
partition_end = 8
addresses = ["127.0.0.1:1"]

[postgres]
gateway_password_file = "secret"
owner_password_file = "secret"
reader_password_file = "secret"

[redis]
address = "127.0.0.1:1"
replica_addresses = ["127.0.0.1:1"]
password_file = "secret"

[gateway]
port = 0
metrics_port = {metrics_port}
request_timeout_ms = 300
drain_s = 1

[[psps]]
name = "simulator"
kind = "{psp_kind}"
url = "http://127.0.0.1:1"

[secrets]
api_key_pepper_file = "secret"
fingerprint_key_file = "secret"
"""


def _config_file(folder: Path, *, psp_kind: str = "simulator", metrics_port: int = 0) -> Path:
    (folder / "secret").write_text("s" * 48)
    path = folder / "tallystick.toml"
    path.write_text(CONFIG.format(id=uuid4(), psp_kind=psp_kind, metrics_port=metrics_port))
    return path


def _config(folder: Path, **changes: object) -> Config:
    return load_config(_config_file(folder, **changes), {})  # type: ignore[arg-type]  # by name


def test_settings_come_from_the_configuration(tmp_path: Path) -> None:
    """What the file says about the gateway is what the gateway does."""
    config = _config(tmp_path, metrics_port=9100)
    built = gateway_settings(config, "gateway-2")
    assert (built.partition_count, built.request_deadline_s, built.drain_s) == (8, 0.3, 1.0)
    assert built.direct_port == 9102
    assert [route.mode for route in built.routes] == [Mode.TEST]
    assert "ssss" not in repr(built)


def test_a_psp_of_no_kind_is_refused(tmp_path: Path) -> None:
    """A provider that the gateway knows nothing about stops the start."""
    with pytest.raises(ConfigError, match="abacus"):
        gateway_settings(_config(tmp_path, psp_kind="abacus"), "gateway-0")


@pytest.mark.parametrize(
    "changes",
    [
        {"partition_count": 0},
        {"fingerprint_key": b"short"},
        {"cache_fresh_s": 901},
        {"name": ""},
        {"waiters_max": 0},
        {"drain_s": 0.1},
    ],
)
def test_settings_that_make_no_sense_are_refused(changes: dict[str, object]) -> None:
    """A relation that can't hold stops the start."""
    with pytest.raises(GatewaySettingsInvalid):
        settings(**changes)


def test_webhooks_are_taken_from_psps_with_a_secret(tmp_path: Path) -> None:
    """Every file's secret counts, so that one can follow another; without any the PSP sends none."""
    assert gateway_settings(_config(tmp_path), "gateway-0").webhooks == {}
    for name in ("old", "new"):
        (tmp_path / name).write_text(name * 10)
    source = gateway_settings(_with_secrets(tmp_path, "old", "new"), "g").webhooks["simulator"]
    for name in ("old", "new"):
        signature = signature_of((name * 10).encode(), "a", 100, b"{}")
        headers = {
            "webhook-id": "a",
            "webhook-timestamp": "100",
            "webhook-signature": signature,
        }
        assert source.verifier.refusal_of(headers.__getitem__, b"{}", now_s=100) is None
        refusal = source.verifier.refusal_of(headers.__getitem__, b"{}", now_s=500)
        assert refusal is Refusal.TIMESTAMP


def test_stripes_webhooks_are_signed_in_its_own_way(tmp_path: Path) -> None:
    """By all of the secret's text, in one header; what a route takes needs no secret key."""
    (tmp_path / "hook").write_text("whsec_" + "x" * 30)
    psp = PspConfig(
        name="stripe", kind="stripe", secret_key_file="none", webhook_secret_files=["hook"]
    )
    made = gateway_settings(replace(_config(tmp_path), psps=[psp]), "g")
    signed = f"t=100,v1={stripe_signature(b'whsec_' + b'x' * 30, 100, b'{}')}"
    verifier = made.webhooks["stripe"].verifier
    assert verifier.refusal_of({"stripe-signature": signed}.__getitem__, b"{}", now_s=100) is None
    (route,) = made.routes
    assert (route.mode, route.token_prefixes) == (Mode.TEST, ("pm_",))
    live = replace(_config(tmp_path), psps=[replace(psp, mode="live")])
    assert gateway_settings(live, "g").routes[0].mode is Mode.LIVE


def test_a_webhook_secret_that_can_not_be_used_is_refused(tmp_path: Path) -> None:
    """One too short to sign by, and one for a PSP that sends no webhooks."""
    (tmp_path / "short").write_text("short")
    with pytest.raises(ConfigError, match="24 bytes"):
        gateway_settings(_with_secrets(tmp_path, "short"), "g")
    (tmp_path / "long").write_text("x" * 40)
    with pytest.raises(ConfigError, match="no webhooks"):
        gateway_settings(_with_secrets(tmp_path, "long", kind="in_process"), "g")


def _with_secrets(folder: Path, *files: str, kind: str = "simulator") -> Config:
    config = _config(folder)
    psp = replace(config.psps[0], kind=kind, webhook_secret_files=list(files))
    return replace(config, psps=[psp])


async def test_a_watch_that_died_ends_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gateway that would not notice a new primary any more stops, and says what it died of."""

    async def die(_resending: Resending) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(Resending, "run", die)
    process = GatewayProcess(_config(tmp_path), name="gateway-0", environment={})
    stop = asyncio.Event()
    process.start(stop.set)
    await asyncio.wait_for(stop.wait(), 5)
    with pytest.raises(RuntimeError, match="a defect"):
        await process.close()


def test_the_process_starts_without_its_stores_and_drains(tmp_path: Path) -> None:
    """A gateway whose stores are away is alive and not ready, and ends with 0 on SIGTERM."""
    process = subprocess.Popen(
        [sys.executable, "-m", "gateway", "--config", str(_config_file(tmp_path))],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        line = json.loads(process.stderr.readline())
        assert (line["event"], line["process"]) == ("listening", "gateway-0")
        host, port = line["addresses"][0].split(":")
        assert _get(host, int(port), "/healthz")[0] == 200
        status, document = _get(host, int(port), "/readyz")
        assert status == 503
        assert {name: check["state"] for name, check in document["checks"].items()} == {
            "gateway": "ok",
            "queue": "failed",
            "books": "failed",
        }
        process.send_signal(signal.SIGTERM)
        _, rest = process.communicate(timeout=10)
        assert process.returncode == 0, rest
        assert [json.loads(text)["event"] for text in rest.splitlines()] == ["draining", "stopped"]
    finally:
        process.kill()
        process.wait()


def _get(host: str, port: int, path: str) -> tuple[int, Any]:
    connection = HTTPConnection(host, port, timeout=5)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()
