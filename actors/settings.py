"""What a partition host needs to know, checked as one value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from actors.psp_lines import PspLimits
from payments.retry_policy import RetryPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSettings:
    """Limits and rhythms of one partition host. Defaults are those of the configuration."""

    name: str
    node: str
    partition_count: int
    beat_ms: int = 400
    lease_ms: int = 1_500
    commands_per_flush_max: int = 1_024
    partitions_per_flush_max: int = 8
    open_orders_max: int = 50_000
    drain_s: int = 10
    policy: RetryPolicy = field(default_factory=RetryPolicy)
    psp_limits: Mapping[str, PspLimits] = field(default_factory=dict)
    """By the PSP's name; one that is not named has the defaults."""
    resume_per_s: int = 100
    """Parked orders that go on, each second and PSP."""

    def __post_init__(self) -> None:
        # Two lost beats are weather; three mean the owner is gone.
        if self.lease_ms <= 3 * self.beat_ms:
            raise ValueError(
                f"lease_ms={self.lease_ms} must exceed three beats of {self.beat_ms} ms"
            )

    def limits_of(self, psp: str) -> PspLimits:
        """What a PSP may take of this host."""
        return self.psp_limits.get(psp) or PspLimits()


# A read takes what the stream has, up to this: half a second's work of a slow host, so that a message
# is taken in, and removed, well before the second is over after which its removal would be dropped. With
# four times as many a backlog was read again and again: 11,500 messages decoded for 3,000 orders.
READ_COUNT_MAX = 500

# The largest orders have 150 kB, of metadata alone. A reply of 500 such would be 75 MB: after a read of large
# messages the next one asks for fewer.
READ_BYTES_MAX = 8 * 1024**2

# What the messages of one flush may have. 15 MB of them took the server a second, and 75 MB more than the
# five that a statement is given, so that its partitions were taken over and tried again.
FLUSH_BYTES_MAX = 8 * 1024**2

# A flush that was not written is halved, and halved again: this often halved, a whole one of 1,024 commands
# or 8 MB is one command of one partition, or 8 kB.
FLUSH_DIVISOR_MAX = 1_024

# The longest that a partition waits whose smallest flush could not be written. It is added to an outage
# at most once, and lets a lane's other partitions flush several times as often.
STUCK_PAUSE_S_MAX = 2.0

# While the oldest message waits for longer than this nothing more is read. What a host can take in within
# it, a read in progress, a flush and the wait for the next removal stay below that second together.
READ_AHEAD_S_MAX = 0.25

# An idle owner looks at its removals and its claims this often, and a message ends the wait at once.
READ_WAIT_MS_MAX = 200

# A read costs both sides the same however little it finds. After one that found a crowd, for all lanes together,
# the next waits until this long after it began: lanes of which each got its share of it pause as long.
READ_SPACING_S = 0.03
READ_CROWDED_COUNT = 32

# How often messages taken in are removed: rare enough to share one round trip, well under the second
# after which a removal is dropped.
REMOVAL_EVERY_S = 0.2

# Messages read and not yet decided, in one host: two full flushes for each of two lanes keep it busy.
INBOX_MESSAGES_MAX = 4_096

# Timers are read in one indexed query this often: a tenth of the shortest wait anybody would notice.
TIMERS_EVERY_S = 0.1
TIMERS_READ_MAX = 2_000

# Between two tries to reach a store that failed. The store decides when it is back, so no backoff beyond.
STORE_RETRY_S = 0.25

# No PSP call starts while a commit has been waiting this long: the standby is probably gone.
COMMIT_LATE_S = 2.0

# How often that is looked at.
COMMITS_LOOKED_AT_S = 0.1

# A flush costs some milliseconds of CPU however little it holds. A lane that has just written a crowd
# waits until this long after that flush began, so that the next one holds more; one that wrote few
# waits for nobody, so an idle system answers as soon as it can.
FLUSH_SPACING_S = 0.03
CROWDED_COUNT = 16

# Where a flush of so many takes longer than that pause, the machine has no time to spare: flushes follow each
# other without one, and what a flush costs however little it holds is taken from the next payments. There the
# pause is longer (docs/ARCHITECTURE.md has the figures), unless work waits that the flush had no room for.
BUSY_SPACING_S = 0.06
BUSY_COUNT = 100


def flush_spacing_s(taken_count: int, *, took_s: float, is_all: bool) -> float:
    """Return how long after a flush began the lane's next one may begin.

    The flush took in ``taken_count`` pieces of work, all that waited where ``is_all``, and took ``took_s``.
    """
    if taken_count >= BUSY_COUNT and took_s >= FLUSH_SPACING_S and is_all:
        return BUSY_SPACING_S
    return FLUSH_SPACING_S if taken_count >= CROWDED_COUNT else 0.0
