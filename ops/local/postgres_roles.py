"""Which of two Postgres servers is the primary: their data says, and else what was recorded."""

from __future__ import annotations

from collections.abc import Sequence

from ops.local.faults import DataRefused
from ops.local.postgres_node import PostgresNode


def roles_of(
    nodes: tuple[PostgresNode, PostgresNode],
    with_data: Sequence[PostgresNode],
    recorded: int | None,
) -> tuple[PostgresNode, PostgresNode]:
    """(primary, standby), from the data that may be used, and else from the recorded number.

    Raises DataRefused when it is not clear.
    """
    first, second = nodes
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
        raise without_primary(lost, has_standby_data=True)
    return (second, first) if recorded == second.number else (first, second)


def without_primary(primary: PostgresNode, *, has_standby_data: bool) -> DataRefused:
    """The primary's data is gone: an empty one must not take its place."""
    what = "there is a standby but no primary" if has_standby_data else "its data is gone"
    return DataRefused(
        "Postgres",
        f"{what}: {primary.directory} is missing",
        "Bring the directory back. If it is lost, let the other copy lead: "
        "tally stores promote postgres",
    )
