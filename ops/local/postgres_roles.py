"""Which of two Postgres servers is the primary: their data says, and else what was recorded."""

from __future__ import annotations

from ops.local.faults import DataRefused
from ops.local.postgres_node import PostgresNode


def roles_of(
    nodes: tuple[PostgresNode, PostgresNode], recorded: int | None
) -> tuple[PostgresNode, PostgresNode]:
    """(primary, standby), from the data, and from the recorded number where that names none.

    Raises DataRefused when it is not clear.
    """
    first, second = nodes
    with_data = [node for node in nodes if node.has_data]
    primaries = [node for node in with_data if not node.is_standby]
    if len(primaries) == 2:
        raise DataRefused(
            "Postgres",
            "both data directories are primaries, and they may have diverged",
            f"Compare {first.directory} and {second.directory}, then move the one to give up out "
            "of the way: it is rebuilt from the other",
        )
    if primaries:
        return (first, second) if primaries[0] is first else (second, first)
    if recorded is None and with_data:
        lost = second if with_data[0] is first else first
        raise _without_primary(lost, with_data[0])
    return (second, first) if recorded == second.number else (first, second)


def require_data(primary: PostgresNode, standby: PostgresNode, *, recorded: int | None) -> None:
    """Raises DataRefused when the primary's data is gone: an empty one would take its place."""
    if not primary.has_data and (standby.has_data or recorded is not None):
        raise _without_primary(primary, standby)


def _without_primary(primary: PostgresNode, standby: PostgresNode) -> DataRefused:
    what = "there is a standby but no primary" if standby.has_data else "its data is gone"
    return DataRefused(
        "Postgres",
        f"{what}: {primary.directory} is missing",
        "Bring the directory back. If it is lost, let the other copy lead: "
        "tally stores promote postgres",
    )
