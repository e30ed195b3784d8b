"""What the dispatcher needs to know, and its rhythms."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatcherSettings:
    """Defaults are those of the configuration."""

    name: str
    connections_per_endpoint: int = 32
    pause_after: timedelta = timedelta(hours=72)
    """An endpoint where nothing succeeded for so long is paused: just before its first dead letters."""
    keep: timedelta = timedelta(days=30)
    """How long the log of what has ended is kept."""
    drain_s: float = 5.0
    """How long what is on its way may take at the end; what is left is sent again."""


# How often the feed is looked at for endpoints that just got something, and at most how long for one that
# does not: its merchant sells little, and a second is soon enough.
LOOK_PAUSE_S_MIN = 0.05
LOOK_PAUSE_S_MAX = 1.0
# Endpoints looked after in one statement.
LINES_PER_LOOK_MAX = 128
# Events rendered by one statement.
EVENTS_PER_READ_MAX = 1_000
# Events kept for a merchant's other endpoints, which are about as far: 4 MB of ordinary ones. The largest, with
# all the metadata that there may be, have 200 KB each: what one merchant writes must not take everybody's memory.
BODIES_KEPT_MAX = 4_096
BODIES_KEPT_BYTES_MAX = 16 * 1024**2

# How often deliveries that are due are looked for: the shortest wait is ten times as long.
DUE_EVERY_S = 0.5

# Results are written together: so often, that is one small transaction for some tens of deliveries.
RECORD_EVERY_S = 0.05
# In one transaction: it takes the server about as long as its pause.
RECORDS_MAX = 2_000

# Signs of life; endpoints are read anew as often, so that one that was made, stopped or given another secret
# is known within it.
BEAT_EVERY_S = 1.0
# One who leads and has not beaten for so long is frozen. Its session is ended by who waits.
LEAD_SILENT_S = 10.0
# Between two tries to reach a store that failed, or to take the lead.
STORE_RETRY_S = 0.5

# Places of endpoints that got nothing are written as rarely: they only spare a start some reading.
PLACES_EVERY_S = 5.0
RECOUNT_EVERY_S = 10.0
PRUNE_EVERY_S = 60.0
PRUNED_MAX = 1_000

# A feed that stands still for so long is held up by a transaction that somebody forgot.
HELD_UP_S = 30.0
