"""Making the books ready before anybody works on them: roles, migrations, deployment, marker."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from ops.local.layout import StackHome
from ops.local.postgres import DATABASE
from ops.local.postgres_settings import SUPERUSER
from payments.partitioning import ShardRange
from runtime.config import Config
from storage.connections import Connector, ensure_server_marked
from storage.deployments import Deployment, RolePasswords, create_deployment, create_roles
from storage.migrations import migrate, migrations_of_package


async def prepare_books(config: Config, superuser_dsn: str) -> Sequence[str]:
    """Bring the books of the first shard up to this code; return the migrations that were applied.

    Raises StorageUnavailable, MigrationChanged, MigrationUnknown, DeploymentDiffers.
    """
    session = await Connector(superuser_dsn, application_name="tally stack").open()
    try:
        await create_roles(
            session,
            RolePasswords(
                gateway=config.secret(config.postgres.gateway_password_file),
                owner=config.secret(config.postgres.owner_password_file),
                reader=config.secret(config.postgres.reader_password_file),
            ),
        )
        applied = await migrate(session, migrations_of_package())
        shard = config.postgres.shards[0]
        await create_deployment(
            session,
            Deployment(
                deployment_id=config.deployment.id,
                partition_count=config.deployment.partition_count,
                shard=ShardRange(
                    name=shard.name,
                    first_index=shard.partition_first,
                    end_index=shard.partition_end,
                ),
                envelope_version=config.deployment.envelope_version,
            ),
        )
        # Both copies are in step by now, so gateways need not wait for a host to say so.
        await ensure_server_marked(session, "tally stack")
    finally:
        await session.close()
    return applied


async def apply_migrations(config: Config, root: Path) -> Sequence[str]:
    """Apply what the running books of the home at `root` lack. Raises as `prepare_books` does."""
    addresses = config.postgres.shards[0].addresses
    home = StackHome(root)
    password = quote(home.secret("postgres_superuser"), safe="")
    dsn = (
        f"postgresql://{SUPERUSER}:{password}@{','.join(addresses)}/{DATABASE}"
        "?target_session_attrs=primary"
    )
    return await prepare_books(config, dsn)
