"""The metrics of real host processes: found by their leases, read as Prometheus reads them."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ops.http_probe import http_text
from ops.top.computing import view_of
from ops.top.reading import Reading, StackReader
from runtime.host_metrics import HOST_CATALOGUE
from storage.flush_laps import BEGIN, COMMIT, WRITE
from tests.rig import PARTITION_COUNT, Rig
from tests.servers import SharedServers
from tests.shop import open_shop

HOSTS = ("host-0", "host-1")

FLUSH_PARTS = {BEGIN, WRITE, COMMIT}


@pytest.fixture(scope="module")
def rig(servers: SharedServers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with Rig(servers, tmp_path_factory.mktemp("metrics")) as rig:
        rig.start_gateway()
        for name in HOSTS:
            rig.start_host(name)
        asyncio.run(rig.until_owned_by(*HOSTS))
        asyncio.run(until_balanced(rig))
        asyncio.run(rig.until_ready())
        yield rig


async def until_balanced(rig: Rig) -> None:
    """Wait until each host owns as many partitions as the other: the first one starts with all of them."""
    async with asyncio.timeout(30):
        while Counter((await rig.owners()).values()) != dict.fromkeys(
            HOSTS, PARTITION_COUNT // len(HOSTS)
        ):
            await asyncio.sleep(0.05)


async def addresses(rig: Rig) -> dict[str, str]:
    """Where each living host serves its metrics, by the books."""
    rows = await rig.fetch(
        "SELECT host_name, metrics_address FROM host_lease WHERE released_at IS NULL"
        " ORDER BY started_at"
    )
    return {row["host_name"]: row["metrics_address"] for row in rows}


async def scraped(address: str) -> str:
    host, _, port = address.rpartition(":")
    text = await http_text(host, int(port), "/metrics", timeout_s=5)
    assert text is not None
    return text


async def read(rig: Rig) -> Reading:
    """One look as `tally top` takes it."""
    reader = StackReader(rig.config)
    try:
        return await reader.read()
    finally:
        await reader.close()


async def test_each_host_serves_the_whole_catalogue(rig: Rig) -> None:
    """After some payments every metric of the hosts' catalogue has a series, and there are no others."""
    async with open_shop(rig.url, rig.api_key) as shop:
        answers = await asyncio.gather(*(shop.post(wait_s=10) for _ in range(64)))
    assert {answer.status for answer in answers} == {201}
    found = await addresses(rig)
    assert found.keys() == set(HOSTS)
    assert len(set(found.values())) == len(HOSTS)
    for address in found.values():
        families = list(text_string_to_metric_families(await scraped(address)))
        with_series = {family.name for family in families if family.samples}
        declared = {spec.name.removesuffix("_total") for spec in HOST_CATALOGUE}
        ours = {name for name in with_series if name.startswith("tallystick_")}
        assert ours == declared
        parts = next(f for f in families if f.name == "tallystick_host_flush_part_seconds")
        assert {sample.labels["part"] for sample in parts.samples} == FLUSH_PARTS
        assert {name for name in with_series - ours if not name.startswith("process_")} == set()


async def test_the_numbers_are_those_of_the_books(rig: Rig) -> None:
    """What hosts count together is what the books hold, and the stores' copies are seen by both."""
    rows = await rig.fetch("SELECT count(*) AS order_count FROM payment_order")
    reading = await read(rig)
    view = view_of(None, reading)
    assert view.unreadable == []
    assert view.totals.taken_in == view.totals.settled == rows[0]["order_count"]
    assert [item.owner for item in view.partitions].count("host-0") == PARTITION_COUNT / 2
    assert all(item.stream is not None and item.epoch is not None for item in view.partitions)
    assert view.stores.replicas is not None
    assert [standby.name for standby in view.stores.standbys or ()] == ["standby1"]
    assert len(view.stores.replicas) == 1


async def test_a_frozen_host_is_unreadable_and_its_thaw_shows(rig: Rig) -> None:
    """A host that stands still has no figures, never zeros; once it goes on it can be read again."""
    frozen = rig.processes[-1]
    os.kill(frozen.pid, signal.SIGSTOP)
    try:
        view = view_of(None, await read(rig))
    finally:
        os.kill(frozen.pid, signal.SIGCONT)
    assert [item.source for item in view.unreadable] == ["host-1"]
    [host] = [host for host in view.hosts if host.name == "host-1"]
    assert host.reason
    assert host.memory_bytes is None
    assert not view.totals.are_hosts_complete
    await asyncio.sleep(0.5)
    assert view_of(None, await read(rig)).unreadable == []


async def test_a_restarted_host_is_found_again(rig: Rig) -> None:
    """A host that was killed and started anew is read at its new address."""
    before = await addresses(rig)
    rig.processes[-1].kill()
    rig.start_host("host-1")
    async with asyncio.timeout(30):
        while (after := await addresses(rig))["host-1"] == before["host-1"]:
            await asyncio.sleep(0.1)
    assert after["host-0"] == before["host-0"]
    assert 'tallystick_host_partitions{state="owned"}' in await scraped(after["host-1"])
