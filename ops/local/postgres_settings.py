"""The configuration files of the local Postgres servers, each setting with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ops.local.ports import LOOPBACK

SUPERUSER = "tallystick"
REPLICATION_ROLE = "tallystick_replication"
# Whichever node is the standby goes by this name and uses this slot, so that both nodes have the
# same configuration and either can be the primary.
STANDBY_NAME = "standby1"

_SETTINGS: Mapping[str, str] = {
    # Loopback only, and no socket files: TCP with a password is the only way in.
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    # A host has a few connections per lane, a gateway a small pool; 200 is far above both.
    "max_connections": "200",
    # Enough for the hot end of the tables on a laptop that also runs everything else.
    "shared_buffers": "256MB",
    "jit": "off",
    # A commit returns when the standby has flushed it: an acknowledged payment is on two copies.
    "fsync": "on",
    "synchronous_commit": "on",
    "synchronous_standby_names": f"ANY 1 ({STANDBY_NAME})",
    "wal_level": "replica",
    "hot_standby": "on",
    # A long read on the standby is not cancelled by clean-up on the primary.
    "hot_standby_feedback": "on",
    # The standby, a base backup (two), a WAL archiver, and room to look.
    "max_wal_senders": "8",
    "max_replication_slots": "8",
    # By default a standby tries to reconnect only every 5 s, and commits wait for it meanwhile.
    "wal_retrieve_retry_interval": "200ms",
    # What a standby changes is in its memory nearly always: to look ahead for pages to fetch only costs it time.
    "recovery_prefetch": "off",
    # A frozen peer is noticed in seconds; on loopback a healthy one answers in microseconds.
    "wal_sender_timeout": "10s",
    "wal_receiver_timeout": "10s",
    # A standby that stays away can't fill the disk: beyond this it is rebuilt.
    "max_slot_wal_keep_size": "4GB",
    # Page images after a checkpoint are most of the WAL: few checkpoints, compressed images.
    "wal_compression": "pglz",
    "max_wal_size": "1GB",
    "min_wal_size": "256MB",
    "checkpoint_timeout": "15min",
    "checkpoint_completion_target": "0.9",
    # Dead clients hold locks: find out in seconds, not in the kernel's two hours.
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "10s",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_destination": "stderr",
    "logging_collector": "off",
    "log_line_prefix": "%m [%p] %q%u@%d/%a ",
    "log_min_duration_statement": "500ms",
    "log_lock_waits": "on",
    "log_checkpoints": "on",
    # Parameters may hold personal data; a log must not.
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
}

# The order of the lines decides; nobody gets in without a password.
ACCESS_RULES = f"""\
# Written at each start. Loopback with a password, nothing else.
host  replication  {REPLICATION_ROLE}  {LOOPBACK}/32  scram-sha-256
host  all          all                 {LOOPBACK}/32  scram-sha-256
"""


def render_settings(
    *, port: int, peer_port: int, passfile: Path, is_standby_awaited: bool = True
) -> str:
    """The settings file of a node; `peer_port` is the other node's, followed while a standby.

    Without `is_standby_awaited` commits return when this node alone has them.
    """
    connection = (
        f"host={LOOPBACK} port={peer_port} user={REPLICATION_ROLE} "
        f"application_name={STANDBY_NAME} passfile={_connection_value(str(passfile))}"
    )
    settings = {
        "port": str(port),
        **_SETTINGS,
        "primary_conninfo": connection,
        "primary_slot_name": STANDBY_NAME,
    }
    if not is_standby_awaited:
        settings["synchronous_standby_names"] = ""
    lines = [f"{name} = {_quoted(value)}" for name, value in settings.items()]
    return "\n".join(["# Written at each start; changes made here are lost.", *lines, ""])


def _quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


def _connection_value(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
