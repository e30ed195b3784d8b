"""The configuration file of the local Valkey servers, each setting with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ops.local.ports import LOOPBACK

# Orders in transit and key records of the last minutes. Admission control keeps far below this.
MEMORY_BYTES_MAX = 2 * 1024**3

APPEND_DIRECTORY = "appendonlydir"
APPEND_FILE = "appendonly.aof"

_SETTINGS: Mapping[str, str] = {
    "bind": LOOPBACK,
    "protected-mode": "yes",
    "enable-debug-command": "no",
    "enable-module-command": "no",
    # An acknowledged order is on disk: fsync before the reply, on the primary and on the replica.
    "appendonly": "yes",
    "appendfsync": "always",
    "no-appendfsync-on-rewrite": "no",
    "appenddirname": APPEND_DIRECTORY,
    "appendfilename": APPEND_FILE,
    # The append-only file is rewritten when it doubled: the disk it takes stays bounded.
    "auto-aof-rewrite-percentage": "100",
    "auto-aof-rewrite-min-size": "64mb",
    # No snapshots beside it: they would only be a second, older truth.
    "save": '""',
    # Refuse writes when full; forgetting an accepted order is never right.
    "maxmemory-policy": "noeviction",
    # The replica is fed straight from memory, at once: it is the only one.
    "repl-diskless-sync": "yes",
    "repl-diskless-sync-delay": "0",
    # A replica away for a moment catches up from here instead of copying everything.
    "repl-backlog-size": "64mb",
    # A frozen peer is noticed in seconds.
    "repl-timeout": "10",
    "repl-ping-replica-period": "1",
    # Each client waits for its own writes and checks the count; this would refuse too early.
    "min-replicas-to-write": "0",
    "replica-read-only": "yes",
    "tcp-keepalive": "10",
    # Gateways and hosts hold a few connections each.
    "maxclients": "2000",
    "databases": "16",
    # A rewritten title would overwrite the environment, and with it the mark of the stack.
    "set-proc-title": "no",
    "daemonize": "no",
    "loglevel": "notice",
}


def render_settings(
    *,
    port: int,
    directory: Path,
    password: str,
    memory_bytes_max: int,
    primary_port: int | None,
) -> str:
    """The configuration of a node; `primary_port` is given for a replica."""
    settings = {
        "port": str(port),
        "dir": _quoted(str(directory)),
        "maxmemory": str(memory_bytes_max),
        "requirepass": _quoted(password),
        "masterauth": _quoted(password),
        **_SETTINGS,
    }
    if primary_port is not None:
        settings["replicaof"] = f"{LOOPBACK} {primary_port}"
    lines = [f"{name} {value}" for name, value in settings.items()]
    return "\n".join(["# Written at each start; changes made here are lost.", *lines, ""])


def _quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
