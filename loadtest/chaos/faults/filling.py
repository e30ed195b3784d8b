"""Disks that run full under a store."""

from __future__ import annotations

import contextlib
from pathlib import Path

from loadtest.chaos.failures import NotNow, NotPossible
from loadtest.chaos.faults.port import Detail, Scene
from loadtest.chaos.faults.processes import back_again, living
from ops.local.faults import ToolFailed

# Postgres writes into segments that it has; one switch makes it ask the disk for a new one.
_SWITCH_SQL = "SELECT pg_switch_wal();"
_SWITCHES = 2


class DiskFull:
    """No byte is left on the disk of one server."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._path: Path | None = None
        self._name = ""

    async def begin(self) -> Detail:
        scene = self._scene
        disks = scene.stack.disks
        if disks is None:
            raise NotPossible(scene.stack.disks_missing)
        (record,) = await living(scene)
        self._name = record.name
        # A server's name, valkey_1 or postgres_2, is also its directory's.
        path = disks.path_of(record.name)
        self._path = path
        size = await disks.fill(path)
        if record.name.startswith("postgres"):
            for _ in range(_SWITCHES):
                # It may end while it is asked: that is what was wanted.
                with contextlib.suppress(ToolFailed):
                    await scene.stack.stores.postgres.query(_SWITCH_SQL, database="postgres")
        return {"name": record.name, "disk_bytes": size}

    async def heal(self) -> Detail:
        disks = self._scene.stack.disks
        if disks is None or self._path is None:
            return {}
        await disks.empty(self._path)
        try:
            back = await back_again(self._scene, 1)
        except NotNow:
            back = {"is_back": False}
        if back["is_back"]:
            return back
        # Whoever wants to build the copy anew can't remove what is only a link to the disk.
        disks.release(self._name)
        return {**await back_again(self._scene, 1), "is_released": True}
