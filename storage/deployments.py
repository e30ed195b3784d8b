"""Installing a shard: its roles, its deployment row, its partitions. Done once, then checked."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from payments.chain import GENESIS
from payments.partitioning import ShardRange
from storage.sessions import Session, postgres_faults
from storage.sql_files import load_statements

_SQL = load_statements("deployments.sql")


class DeploymentDiffers(Exception):
    """These books are of another deployment, or another range of partitions: refuse to start."""

    def __init__(self, stored: Deployment, wanted: Deployment) -> None:
        super().__init__(f"the books are of {stored}, the configuration is of {wanted}")
        self.stored = stored
        self.wanted = wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """What is fixed when a deployment is created; ``shard`` is the part in this Postgres."""

    deployment_id: UUID
    partition_count: int
    shard: ShardRange
    envelope_version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RolePasswords:
    """The passwords of the three roles, as the installation made them."""

    gateway: str
    owner: str
    reader: str


async def create_roles(session: Session, passwords: RolePasswords) -> None:
    """Create or refresh the roles that the schema's grants name. ``session`` is a superuser's.

    Run before the migrations: their grants name these roles. Running it again sets the passwords.
    """
    roles = {
        "tally_gateway": passwords.gateway,
        "tally_owner": passwords.owner,
        "tally_reader": passwords.reader,
    }
    with postgres_faults():
        for role, password in roles.items():
            # Names and passwords can't be parameters of CREATE ROLE: the server quotes them itself.
            rows = await session.fetch(_SQL["role_statements"], role, password)
            for row in rows:
                await session.execute(row["statement"])
        await session.execute(_SQL["role_settings"])


async def create_deployment(session: Session, deployment: Deployment) -> bool:
    """Write the deployment and its partitions, or check them. Returns whether they are new.

    Raises DeploymentDiffers when the books are of another deployment, StorageUnavailable.
    """
    with postgres_faults():
        row = await session.fetchrow(
            _SQL["create_deployment"],
            deployment.deployment_id,
            deployment.partition_count,
            deployment.shard.name,
            deployment.shard.first_index,
            deployment.shard.end_index,
            deployment.envelope_version,
            GENESIS,
        )
    if row is not None and row["partitions_made"]:
        return True
    stored = await read_deployment(session)
    if stored is None or stored != deployment:
        raise DeploymentDiffers(stored or deployment, deployment)
    return False


async def read_deployment(session: Session) -> Deployment | None:
    """Return the deployment that these books belong to, or None for new books."""
    with postgres_faults():
        row = await session.fetchrow(_SQL["read_deployment"])
    if row is None:
        return None
    return Deployment(
        deployment_id=row["deployment_id"],
        partition_count=row["partition_count"],
        shard=ShardRange(
            name=row["shard_name"],
            first_index=row["partition_first"],
            end_index=row["partition_end"],
        ),
        envelope_version=row["envelope_version"],
    )
