"""What the stack can say about one of its servers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ServerRole(StrEnum):
    """The roles as `tally status` names them."""

    POSTGRES_PRIMARY = "postgres_primary"
    POSTGRES_STANDBY = "postgres_standby"
    REDIS_PRIMARY = "redis_primary"
    REDIS_REPLICA = "redis_replica"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerHealth:
    """One server now. `detail` is a short fact for people: what is wrong, or how far it is."""

    name: str
    role: ServerRole
    port: int
    pid: int | None
    is_healthy: bool
    detail: str
