"""Bad requests of every class against a real gateway: refused as documented, and nothing comes of them."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator

import pytest
from redis import Redis

from loadtest.bad_input.catalogue import CLASSES
from payments.card_numbers import contains_card_number
from storage.queue_keys import stream_key
from tests.rig import PARTITION_COUNT, Rig
from tests.servers import SharedServers

# Six rounds of all classes; 10,000 a seed are for people: docs/load-testing.md.
REQUESTS = 6 * len(CLASSES)


@pytest.fixture(scope="module")
def rig(servers: SharedServers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """A gateway and no owner: whatever got onto a stream would stay there."""
    with Rig(servers, tmp_path_factory.mktemp("bad-input")) as rig:
        rig.start_gateway("gateway-0")
        asyncio.run(rig.until_ready())
        yield rig


def _send(rig: Rig, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "loadtest.bad_input",
            "--url",
            rig.url,
            "--key",
            rig.api_key,
            *options,
        ],
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )


def test_every_class_is_refused_as_documented(rig: Rig) -> None:
    """Each bad request gets its documented problem; no order, no message, no 5xx and no memory is left."""
    gateway = rig.processes[-1]
    done = _send(
        rig,
        "--seed",
        "11",
        "--requests",
        str(REQUESTS),
        "--gateway-pid",
        str(gateway.pid),
        "--json",
    )
    assert done.stdout, done.stderr
    result = json.loads(done.stdout)
    assert result["first_unexpected"] == []
    assert result["effects"] == []
    assert result["as_expected"], result["pss_growth_bytes"]
    assert done.returncode == 0
    assert all(count["sent"] >= 1 for count in result["classes"].values())
    assert result["requests"] == REQUESTS
    with Redis.from_url(rig.servers.valkey_url) as redis:
        assert [redis.xlen(stream_key(index)) for index in range(PARTITION_COUNT)] == (
            [0] * PARTITION_COUNT
        )
    rows = asyncio.run(rig.fetch("SELECT count(*) AS n FROM payment_order"))
    assert rows[0]["n"] == 0
    assert '"error"' not in rig.log_of("gateway-0")
    assert not contains_card_number(rig.log_of("gateway-0"))


def test_one_request_is_sent_again(rig: Rig) -> None:
    """A request is shown with its answer by its seed and index alone, and without the API key."""
    done = _send(rig, "--seed", "11", "--index", "60")
    assert done.returncode == 0, done.stderr
    assert "wrong     nothing" in done.stdout
    assert rig.api_key not in done.stdout
