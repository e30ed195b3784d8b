"""Small disks for the stores: memory file systems that can be made full, and given space again."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from loadtest.chaos.failures import ChaosFailed, NotNow, NotPossible
from ops.local.faults import ToolFailed
from ops.local.layout import StackHome
from ops.local.process import run_tool
from ops.local.stores import LocalStores

# Pages are taken as files grow; Postgres keeps up to max_wal_size of WAL.
DISK_BYTES = 3 * 1024**3
_PAGE = 4_096
# What a server writes while a disk is looked at and made small.
_MARGIN_BYTES = 16 * 1_024
FILL_TRIES_MAX = 20


class SmallDisks:
    """One memory file system for each server: Valkey's whole directory, Postgres' WAL.

    Both lie behind links, as Postgres' own ``initdb --waldir`` has it: so a copy that is put aside
    and built again just stops being on a small disk.
    """

    def __init__(self, home: StackHome) -> None:
        self._home = home
        self._mounts: list[Path] = []

    @classmethod
    async def prepare(cls, home: StackHome, progress: Callable[[str], None]) -> SmallDisks:
        """Make the stores, and move them onto small disks before anything runs on them.

        Raises NotPossible where file systems can't be mounted.
        """
        if os.geteuid() != 0:
            raise NotPossible("mounting a memory file system takes root")
        disks = cls(home)
        try:
            for number in (1, 2):
                disk = await disks._mounted(f"valkey-{number}")
                (disk / "data").mkdir(mode=0o700)
                (home.data / f"valkey-{number}").symlink_to(disk / "data")
            stores = LocalStores.at(home.root, port_base=0)
            await stores.start(progress)
            await stores.stop()
            for number in (1, 2):
                disk = await disks._mounted(f"postgres-{number}")
                wal = home.data / f"postgres-{number}" / "pg_wal"
                await asyncio.to_thread(_move_behind_link, wal, disk)
        except BaseException:
            await disks.close()
            raise
        return disks

    def path_of(self, server: str) -> Path:
        """The small disk of ``valkey_1``, ``postgres_2``… Raises NotPossible when it has none any more."""
        link = self._link(server)
        path = self._disk(server.replace("_", "-"))
        if path not in self._mounts or not link.is_symlink():
            raise NotPossible(f"the data of {server} is not on a small disk any more")
        return path

    def release(self, server: str) -> None:
        """Take the link away: what the server has there is gone, and can be built again anywhere."""
        self._link(server).unlink(missing_ok=True)

    async def fill(self, path: Path) -> int:
        """Leave no room on a small disk; return the bytes that it holds. Raises NotNow."""
        for margin in range(FILL_TRIES_MAX):
            status = os.statvfs(path)
            used = (status.f_blocks - status.f_bfree) * status.f_frsize
            # The server writes on meanwhile, and a disk can't be made smaller than what it holds.
            size = used + margin * _MARGIN_BYTES or _PAGE
            try:
                await self._remount(path, size)
            except ToolFailed:
                continue
            return size
        raise NotNow(f"{path.name} grows faster than it can be made small")

    async def empty(self, path: Path) -> None:
        """Give a small disk its space again."""
        await self._remount(path, DISK_BYTES)

    async def close(self) -> None:
        """Unmount all of them; what was on them is gone."""
        while self._mounts:
            path = self._mounts.pop()
            try:
                await run_tool(["umount", "--lazy", str(path)])
            except ToolFailed as failed:
                raise ChaosFailed(f"{path} stays mounted: {failed}") from failed

    async def _mounted(self, name: str) -> Path:
        """Make and mount one more. Raises NotPossible."""
        path = self._disk(name)
        path.mkdir()
        options = f"size={DISK_BYTES},mode=0711"
        try:
            await run_tool(["mount", "-t", "tmpfs", "-o", options, "tallystick", str(path)])
        except ToolFailed as failed:
            raise NotPossible(f"no memory file system can be mounted: {failed}") from failed
        self._mounts.append(path)
        return path

    async def _remount(self, path: Path, size: int) -> None:
        await run_tool(["mount", "-o", f"remount,size={size}", str(path)])

    def _disk(self, name: str) -> Path:
        return self._home.data / f"{name}.disk"

    def _link(self, server: str) -> Path:
        directory = self._home.data / server.replace("_", "-")
        return directory if server.startswith("valkey") else directory / "pg_wal"


def _move_behind_link(wal: Path, disk: Path) -> None:
    owner = wal.stat()
    os.chown(disk, owner.st_uid, owner.st_gid)
    _copy_owned(wal, disk / "pg_wal")
    shutil.rmtree(wal)
    wal.symlink_to(disk / "pg_wal")
    os.chown(wal, owner.st_uid, owner.st_gid, follow_symlinks=False)


def _copy_owned(source: Path, target: Path) -> None:
    """Copy a tree with its owners and modes."""
    shutil.copytree(source, target)
    for path in [source, *source.rglob("*")]:
        status = path.stat()
        copied = target / path.relative_to(source)
        os.chown(copied, status.st_uid, status.st_gid)
        copied.chmod(status.st_mode & 0o777)
