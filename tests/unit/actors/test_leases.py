"""Leases: who is alive, and who should own what."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from actors.leases import LeaseWatch, Plan, plan
from storage.ports import LeaseView, PartitionView

A, B, C = UUID(int=1), UUID(int=2), UUID(int=3)


def a_lease(
    incarnation: UUID, counter: int = 0, *, name: str = "", is_released: bool = False
) -> LeaseView:
    return LeaseView(
        incarnation=incarnation,
        host_name=name or f"host-{incarnation.int}",
        pid=1,
        counter=counter,
        is_released=is_released,
    )


def planned(
    own: UUID,
    owners: Iterable[UUID | None],
    *,
    alive: Iterable[UUID] = (A, B),
    draining: Iterable[str] = (),
    held: Iterable[int] | None = None,
) -> Plan:
    views = [
        PartitionView(partition_index=index, epoch=1, owner=owner)
        for index, owner in enumerate(owners)
    ]
    mine = {view.partition_index for view in views if view.owner == own}
    return plan(
        own=own,
        leases=[a_lease(incarnation) for incarnation in (A, B, C)],
        alive=frozenset(alive),
        draining=frozenset(draining),
        partitions=views,
        held=frozenset(mine if held is None else held),
    )


def claimed(doing: Plan) -> list[int]:
    return [view.partition_index for view in doing.claim]


# --- who is alive -------------------------------------------------------------------------------------


def watched(watch: LeaseWatch, *reads: tuple[float, int]) -> list[bool]:
    """Whether A was alive at each read of its counter."""
    return [A in watch.observe([a_lease(A, counter)], at_s) for at_s, counter in reads]


def test_a_counter_that_stands_still_lapses() -> None:
    """A lease lapses when its counter was unchanged in reads over more than its time, and not before."""
    watch = LeaseWatch(1_500)
    assert watched(watch, (10.0, 7), (10.7, 7), (11.4, 7), (11.6, 7)) == [True, True, True, False]
    assert watched(watch, (11.7, 8)) == [True]


def test_own_blindness_lapses_nobody() -> None:
    """After a time without a successful read the others get their whole time again."""
    watch = LeaseWatch(1_500)
    assert watched(watch, (10.0, 7), (10.4, 7), (20.0, 7), (20.7, 7), (21.4, 7)) == [True] * 5
    assert watched(watch, (21.6, 7)) == [False]


def test_blindness_brings_nobody_back() -> None:
    """Who lapsed stays so until it beats: a takeover half-way done is not turned around."""
    watch = LeaseWatch(1_500)
    assert watched(watch, (10.0, 7), (10.7, 7), (11.4, 7), (11.6, 7))[-1] is False
    assert watched(watch, (13.0, 7), (13.1, 8)) == [False, True]


def test_a_released_lease_is_over_at_once() -> None:
    """A host that left, or was reaped, is not waited for."""
    watch = LeaseWatch(1_500)
    watch.observe([a_lease(A)], 10.0)
    assert watch.observe([a_lease(A, 1, is_released=True)], 10.1) == frozenset()


# --- who owns what ------------------------------------------------------------------------------------


@given(st.integers(1, 3), st.lists(st.sampled_from([None, A, B, C]), max_size=40))
def test_shares_are_even_and_complete(host_count: int, owners: list[UUID | None]) -> None:
    """After every host did as planned each partition has an owner, and shares differ by one at most."""
    hosts = [A, B, C][:host_count]
    owned = list(owners)
    for _ in range(4):
        for host in hosts:
            doing = planned(host, owned, alive=hosts)
            for index in doing.give_up:
                assert owned[index] == host
                owned[index] = None
            for view in doing.claim:
                assert owned[view.partition_index] not in set(hosts) - {host}
                owned[view.partition_index] = host
    counts = [owned.count(host) for host in hosts]
    assert sum(counts) == len(owners)
    assert max(counts) - min(counts) <= 1


def test_nobody_claims_what_a_live_host_owns() -> None:
    """A partition moves only when its owner gave it up or lapsed."""
    assert claimed(planned(B, [A, A, A, A])) == []
    assert set(claimed(planned(B, [A, A, C, None]))) == {2, 3}


def test_a_draining_host_gives_all_up_and_claims_nothing() -> None:
    """What the operator drains ends with nothing, and the others share it."""
    doing = planned(A, [A, A, None, B], draining=["host-1"])
    assert (doing.give_up, doing.claim) == ((0, 1), ())
    assert claimed(planned(B, [None, None, None, B], draining=["host-1"])) == [0, 1, 2]


def test_a_restart_under_the_same_name_is_another_host() -> None:
    """The new incarnation waits for the old one's lease, then takes its partitions."""
    leases = [a_lease(A, name="host-0"), a_lease(B, name="host-0")]
    views = [PartitionView(partition_index=n, epoch=1, owner=A) for n in range(4)]
    for alive, expected in ((frozenset({A, B}), []), (frozenset({B}), [0, 1, 2, 3])):
        doing = plan(
            own=B,
            leases=leases,
            alive=alive,
            draining=frozenset(),
            partitions=views,
            held=frozenset(),
        )
        assert claimed(doing) == expected


def test_a_partition_that_went_to_another_is_lost() -> None:
    """What the books give to somebody else is dropped, not given up."""
    doing = planned(A, [A, B, None, A], held=[0, 1, 2, 3])
    assert doing.lost == {1, 2}
    assert doing.give_up == ()


def test_our_own_that_we_do_not_hold_is_always_claimed() -> None:
    """A claim whose answer was lost leaves no partition that nobody works on, also above the share."""
    assert claimed(planned(A, [A, A, A, B], held=[0, 1])) == [2]
    assert claimed(planned(A, [A, A, A, B], held=[0, 1], draining=["host-1"])) == [2]
