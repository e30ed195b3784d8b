"""What a generator is told to do, and what it says when it has done it."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Shape(StrEnum):
    """Which seller the next payment goes to."""

    ONE = "one"
    """Always the first: one wallet takes everything."""
    UNIFORM = "uniform"
    ZIPF = "zipf"
    """The k-th seller is drawn with a weight of k ** -exponent."""


class LoadJob(msgspec.Struct, frozen=True, kw_only=True):
    """One run of load: a closed loop on each connection, for so long."""

    host: str
    port: int
    api_key: str
    sellers: list[str]
    seed: str
    """Draws keys and sellers. Two jobs with one seed send the same keys: the second one replays."""
    seconds: float
    connection_count: int
    requests_max: int | None = None
    """Ends the job before its time, where a number of orders is wanted."""
    shape: Shape = Shape.UNIFORM
    zipf_exponent: float = 1.0
    held_every: int = 0
    """Every n-th request of a connection holds by ``Prefer: wait`` until it has settled; 0: none."""


class Latencies(msgspec.Struct, frozen=True, kw_only=True):
    """Percentiles in milliseconds of so many answers; None without any."""

    count: int
    p50_ms: float | None
    p99_ms: float | None


class LoadResult(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a job. Times are of the machine's monotonic clock, in seconds."""

    first_sent_s: float
    last_answer_s: float
    answers: dict[str, int]
    """Count by HTTP status; ``0`` counts requests whose connection ended without an answer."""
    at_once: Latencies
    """Of requests that did not hold."""
    held: Latencies
    cpu_s: float
    """What the generator itself used between the two times."""

    @property
    def seconds(self) -> float:
        return self.last_answer_s - self.first_sent_s

    @property
    def accepted_count(self) -> int:
        """Requests answered 2xx."""
        return sum(count for status, count in self.answers.items() if status.startswith("2"))

    @property
    def refused(self) -> dict[str, int]:
        """Answers that a healthy run has none of."""
        return {
            status: count for status, count in self.answers.items() if not status.startswith("2")
        }
