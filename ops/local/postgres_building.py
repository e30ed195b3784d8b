"""Making a Postgres data directory: an empty cluster, or a copy of a running one."""

from __future__ import annotations

from pathlib import Path

from ops.local.ports import LOOPBACK
from ops.local.postgres_node import PostgresNode
from ops.local.postgres_programs import PostgresPrograms, locale_options
from ops.local.postgres_settings import REPLICATION_ROLE, STANDBY_NAME, SUPERUSER

# Copying a laptop's worth of payments: gigabytes at tens of MB/s.
BACKUP_TIMEOUT_S = 900.0


async def create_cluster(node: PostgresNode, programs: PostgresPrograms, password: str) -> None:
    """Give a node an empty cluster whose superuser has that password. Raises ToolFailed."""
    part = node.begin()
    password_file = part.with_name("postgres-initial-password")
    programs.write(password_file, password + "\n")
    try:
        await node.run(
            "initdb",
            *("-D", str(part), "-U", SUPERUSER, f"--pwfile={password_file}"),
            *("--auth-local=scram-sha-256", "--auth-host=scram-sha-256", "--data-checksums"),
            *locale_options(await node.run("postgres", "--version")),
        )
    finally:
        password_file.unlink()
    node.finish(part, as_standby=False)


async def copy_cluster(primary: PostgresNode, standby: PostgresNode, *, passfile: Path) -> None:
    """Give a node without data a copy of the running primary. Raises ToolFailed."""
    part = standby.begin()
    # Under its own name: as STANDBY_NAME it would count as the synchronous standby.
    connection = (
        f"host={LOOPBACK} port={primary.port} user={REPLICATION_ROLE} application_name=base_backup"
    )
    await standby.run(
        "pg_basebackup",
        *("-d", connection, "-D", str(part), "--no-password"),
        *("-X", "stream", "-S", STANDBY_NAME, "--checkpoint=fast"),
        passfile=passfile,
        timeout_s=BACKUP_TIMEOUT_S,
    )
    standby.finish(part, as_standby=True)
