"""Who is alive, and how many partitions each host should own.

Leases decide who *tries*; epochs in the ledger decide who *may*. So an error here costs a takeover,
never money.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from runtime.faults import Fault
from storage.ports import LeaseView, PartitionView


class LeaseLost(Fault):
    """Somebody released our lease: this incarnation must not go on. A new one may start."""


class LeaseWatch:
    """Tells lapsed leases: those whose counter stood still through ``lease_ms`` of successful reads.

    Only this observer's monotonic clock counts, so neither a clock step nor a restart of the
    database lapses anybody.
    """

    def __init__(self, lease_ms: int) -> None:
        self._lease_s = lease_ms / 1000
        self._seen: dict[UUID, tuple[int, float]] = {}
        self._lapsed: set[UUID] = set()
        self._last_read_s: float | None = None

    def observe(self, leases: Iterable[LeaseView], now_s: float) -> frozenset[UUID]:
        """Take one successful read in; return the incarnations that are alive."""
        if self._last_read_s is not None and now_s - self._last_read_s > self._lease_s / 2:
            # We were blind ourselves: what stood still meanwhile proves nothing about the others.
            self._seen = {key: (counter, now_s) for key, (counter, _) in self._seen.items()}
        self._last_read_s = now_s
        seen: dict[UUID, tuple[int, float]] = {}
        alive: set[UUID] = set()
        lapsed: set[UUID] = set()
        for lease in leases:
            counter, since_s = self._seen.get(lease.incarnation, (None, now_s))
            is_beating = counter != lease.counter
            if is_beating:
                since_s = now_s
            seen[lease.incarnation] = (lease.counter, since_s)
            # Who lapsed once stays so until it beats, also if we were blind meanwhile: else its
            # partitions would be given up half-way through their takeover.
            is_still = lease.incarnation in self._lapsed and not is_beating
            if is_still or now_s - since_s > self._lease_s:
                lapsed.add(lease.incarnation)
            elif not lease.is_released:
                alive.add(lease.incarnation)
        self._seen, self._lapsed = seen, lapsed
        return frozenset(alive)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What one host should do now."""

    claim: tuple[PartitionView, ...]
    """Our own that we don't work on, then free partitions to try for, in this order."""
    give_up: tuple[int, ...]
    """Own partitions above the fair share."""
    lost: frozenset[int]
    """Partitions we thought we own and the books give to somebody else."""


def plan(
    *,
    own: UUID,
    leases: Sequence[LeaseView],
    alive: frozenset[UUID],
    draining: frozenset[str],
    partitions: Sequence[PartitionView],
    held: frozenset[int],
) -> Plan:
    """Decide from one reading of the tables. Every host computes the same shares from the same rows.

    ``held`` are the partitions this host works on; ``draining`` names hosts that should own none.
    """
    sharers = sorted(
        (lease.host_name, lease.incarnation)
        for lease in leases
        if lease.incarnation in alive and lease.host_name not in draining
    )
    ranks = {incarnation: rank for rank, (_, incarnation) in enumerate(sharers)}
    share = _share(len(partitions), len(sharers), ranks.get(own))
    lost = frozenset(
        view.partition_index
        for view in partitions
        if view.partition_index in held and view.owner != own
    )
    kept = sorted(held - lost)
    others = [view for view in partitions if view.partition_index not in held]
    # Ours by a claim whose answer was lost. While we live nobody else takes them, so the share does
    # not count: what is too much is given up in good order afterwards.
    orphans = [view for view in others if view.owner == own]
    free = [
        view
        for view in others
        if view.owner is None or (view.owner != own and view.owner not in alive)
    ]
    # Hosts start at different places, so that they don't race for the same partition.
    offset = ranks.get(own, 0) * len(free) // max(1, len(sharers))
    free = free[offset:] + free[:offset]
    return Plan(
        claim=(*orphans, *free[: max(0, share - len(kept) - len(orphans))]),
        give_up=tuple(kept[share:]),
        lost=lost,
    )


def _share(partition_count: int, sharer_count: int, rank: int | None) -> int:
    """An even share; the first hosts take one more where it does not divide."""
    if rank is None:
        return 0
    return partition_count // sharer_count + (1 if rank < partition_count % sharer_count else 0)
