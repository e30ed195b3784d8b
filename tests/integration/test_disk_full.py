"""Disks without room: the store ends in a clear state, nothing is promoted, and room brings it back."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ops.local.faults import LocalFault
from ops.local.pidfile import identity_of
from ops.local.stores import LocalStores
from tests.integration.stacks import StartStores, get_key, until
from tests.integration.test_store_care import Site, caring, seconds_until

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="a small disk is a tmpfs: needs root")

MIB = 1024**2

ROWS = "INSERT INTO kept SELECT 1, repeat(md5(random()::text), 100) FROM generate_series(1, 500)"


@contextmanager
def small_disk(directory: Path, size_mib: int) -> Iterator[Path]:
    """Move a directory's content to a tmpfs in its place; yields a ballast to remove for room."""
    status = directory.stat()
    aside = directory.with_name(directory.name + ".aside")
    directory.rename(aside)
    directory.mkdir()
    options = f"size={size_mib}m,mode=0700,uid={status.st_uid},gid={status.st_gid}"
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(directory)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip(f"no file system may be mounted here: {mounted.stderr.strip()}")
    try:
        subprocess.run(["cp", "-a", f"{aside}/.", str(directory)], check=True)
        shutil.rmtree(aside)
        ballast = directory / "ballast"
        ballast.write_bytes(b"x" * (8 * MIB))
        yield ballast
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)


def fill(directory: Path, *, left_bytes: int) -> Path:
    """Take the room of a small disk, but for so much."""
    filler = directory / "filler"
    free_bytes = shutil.disk_usage(directory).free - left_bytes
    filler.write_bytes(b"x" * max(0, free_bytes))
    return filler


async def _stopped(start_stores: StartStores) -> LocalStores:
    stores = await start_stores()
    await stores.postgres.query("CREATE TABLE kept (n int, pad text)")
    await stores.stop()
    return stores


@needs_root
@pytest.mark.campaign
async def test_a_queue_without_room_loses_nothing(start_stores: StartStores) -> None:
    """Valkey ends when it can't write its log; what it acknowledged is there when it is back."""
    first = await _stopped(start_stores)
    directory = first.home.data / "valkey-1"
    with small_disk(directory, 24) as ballast:
        stores = await start_stores()
        async with caring(stores) as site:
            filler = fill(directory, left_bytes=MIB)
            accepted: list[str] = []
            while await site.accept(name := f"key-{len(accepted)}-{'x' * 50_000}"):
                accepted.append(name)
            await until(lambda: "its disk is full" in site.problems.get("valkey_1", ""))
            assert accepted
            assert stores.valkey.primary.name == "valkey_1"
            ballast.unlink()
            filler.unlink()
            await seconds_until(lambda: site.accept("after"))
            await site.until_whole()
            assert _promotions(stores) == []
            for name in accepted:
                assert await get_key(stores, stores.valkey.replica.port, name) == "1"
        await stores.stop()


@needs_root
@pytest.mark.campaign
async def test_books_without_room_lose_nothing(start_stores: StartStores) -> None:
    """Postgres panics when it can't write its log; every commit is there when it is back."""
    first = await _stopped(start_stores)
    directory = first.home.data / "postgres-1"
    with small_disk(directory, 160) as ballast:
        stores = await start_stores()
        async with caring(stores) as site:
            pid = stores.postgres.primary.child().pid
            committed = 0
            while committed < 5:
                committed += await _commits(site, ROWS)
            filler = fill(directory, left_bytes=0)
            await until(lambda: "its disk is full" in site.problems.get("postgres_1", ""))
            assert identity_of(pid) is not None
            # Refused, until a new segment of the log is needed: then it panics.
            while identity_of(pid) is not None:
                committed += await _commits(site, ROWS)
                await _commits(site, "SELECT pg_switch_wal()")
            await until(lambda: "its disk is full" in site.problems.get("postgres_1", ""))
            assert stores.postgres.primary.name == "postgres_1"
            ballast.unlink()
            filler.unlink()
            await seconds_until(lambda: _commits(site, ROWS))
            await site.until_whole()
            assert _promotions(stores) == []
            count = int(await stores.postgres.query("SELECT count(*) FROM kept"))
            assert count >= 500 * (committed + 1)
        await stores.stop()


async def _commits(site: Site, sql: str) -> bool:
    try:
        await site.stores.postgres.query(sql)
    except LocalFault:
        return False
    return True


def _promotions(stores: LocalStores) -> list[str]:
    records = (stores.postgres.file.read(), stores.valkey.file.read())
    return [
        event.node for record in records for event in record.history if event.what == "promoted"
    ]
