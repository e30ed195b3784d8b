"""What a host keeps about its PSPs, shown as metrics when somebody asks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from actors.breakers import BreakerState
from actors.calls import PspCalls
from actors.lane_partitions import LanePartitions
from actors.parking import Resumer, parked_counts
from runtime.host_metrics import (
    HOST_BREAKER_OPENED,
    HOST_BREAKER_STATE,
    HOST_CALLS_REFUSED,
    HOST_PARKED,
    HOST_RESUMED,
)
from runtime.metric_collectors import Sample
from runtime.metrics import Metrics

# As its gauge shows it: the higher, the less goes through.
_SHOWN = {BreakerState.CLOSED: 0, BreakerState.HALF_OPEN: 1, BreakerState.OPEN: 2}


def expose_psps(
    metrics: Metrics,
    calls: Sequence[PspCalls],
    resumers: Sequence[Resumer],
    lanes: Sequence[LanePartitions],
) -> None:
    """Show the calls, the resumed and the parked of all hosts of one process, one a shard."""

    def states() -> list[Sample]:
        worst: dict[str, int] = {}
        for each in calls:
            for psp, line in each.lines.items():
                worst[psp] = max(worst.get(psp, 0), _SHOWN[line.breaker.state])
        return [((psp,), state) for psp, state in worst.items()]

    def opened() -> list[Sample]:
        counts: Counter[str] = Counter()
        for each in calls:
            counts.update({psp: line.breaker.opened_count for psp, line in each.lines.items()})
        return [((psp,), count) for psp, count in counts.items()]

    metrics.read(HOST_BREAKER_STATE, states)
    metrics.read(HOST_BREAKER_OPENED, opened)
    metrics.read(HOST_CALLS_REFUSED, lambda: [((), sum(each.refused_count for each in calls))])
    metrics.read(HOST_RESUMED, lambda: [((), sum(each.resumed_count for each in resumers))])
    metrics.read(
        HOST_PARKED,
        lambda: parked_counts(
            (book for lane in lanes for book in lane.books.values()),
            {psp for each in calls for psp in each.lines},
        ),
    )
