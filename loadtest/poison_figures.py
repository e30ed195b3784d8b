"""What ``python -m loadtest.poison`` says of its loads: how they compare, and what is wrong with them."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from loadtest.bench.statistics import median, percentile

NONE, UNDECODABLE, RAISES, KILLS = "none", "undecodable", "handler_defect", "kills_host"
POISONS = (UNDECODABLE, RAISES, KILLS)
_REASONS: Mapping[str, str] = {UNDECODABLE: "payload_malformed", RAISES: RAISES, KILLS: KILLS}

# How much the others' p99 may grow through one poison message.
GROWTH_MAX = 0.20


class Answered(NamedTuple):
    """One order that was answered 202, or 201 where it had settled by then.

    Told are when it was due, and how long after that the answer was there.
    """

    due_s: float
    """Seconds since the load began."""
    seconds: float


@dataclass(slots=True)
class Run:
    """One load and what came of it. The poison is none of its orders."""

    kind: str
    answered: list[Answered] = field(default_factory=list)
    settled_s: list[float] = field(default_factory=list)
    """From acceptance until the outcome was in the books, an order each."""
    open_keys: list[str] = field(default_factory=list)
    """The first of the orders that have not ended."""
    lost_count: int = 0
    charged_wrongly_count: int = 0
    """Orders that the PSPs' own records don't show charged exactly once, and the poison if it was charged."""
    letters: list[str] = field(default_factory=list)
    """The reasons of the dead letters that the load left."""
    poisoned_at_s: float | None = None
    letter_at_s: float | None = None
    """When the first dead letter was in the books, in seconds since the load began."""

    def document(self, base: Run) -> dict[str, Any]:
        """The figures in milliseconds, and how the p99 compares with the load without poison."""
        within = [answered for answered in self.answered if self._is_within(answered)]
        return {
            "poison": self.kind,
            "orders": len(self.answered),
            "answer_p50_ms": _ms([answered.seconds for answered in self.answered], 50),
            "answer_p99_ms": _ms([answered.seconds for answered in self.answered], 99),
            "answer_p99_growth": self.growth(base),
            "settle_p50_ms": _ms(self.settled_s, 50),
            "settle_p99_ms": _ms(self.settled_s, 99),
            "until_letter_s": self._until_letter_s,
            "orders_until_letter": len(within),
            "answer_p99_until_letter_ms": _ms([answered.seconds for answered in within], 99),
            "lost": self.lost_count,
            "charged_wrongly": self.charged_wrongly_count,
            "dead_letters": self.letters,
        }

    def growth(self, base: Run) -> float | None:
        """By which part the p99 of all answers is above that of the load without poison."""
        p99, base_p99 = (_ms([one.seconds for one in run.answered], 99) for run in (self, base))
        return round(p99 / base_p99 - 1, 3) if p99 and base_p99 else None

    def problems(self, order_count: int) -> list[str]:
        """What is wrong with the run, apart from how fast it was."""
        expected = [] if self.kind == NONE else [_REASONS[self.kind]]
        found: list[str] = []
        if self.lost_count or len(self.answered) != order_count:
            found.append(f"{self.kind}: {self.lost_count} requests were not accepted")
        if len(self.settled_s) != order_count:
            found.append(
                f"{self.kind}: {len(self.settled_s)} of {order_count} orders have ended, open are {self.open_keys}"
            )
        if self.charged_wrongly_count:
            found.append(f"{self.kind}: {self.charged_wrongly_count} orders were charged wrongly")
        if self.letters != expected:
            found.append(f"{self.kind}: dead letters {self.letters}, not {expected}")
        return found

    @property
    def _until_letter_s(self) -> float | None:
        if self.poisoned_at_s is None or self.letter_at_s is None:
            return None
        return round(self.letter_at_s - self.poisoned_at_s, 3)

    def _is_within(self, answered: Answered) -> bool:
        if self.poisoned_at_s is None or self.letter_at_s is None:
            return False
        return self.poisoned_at_s <= answered.due_s <= self.letter_at_s


Round = Mapping[str, Run]
"""One load of each kind, by the kind, NONE among them: side by side, so that the machine's mood is the same for all."""


def whole_ms(at: datetime) -> datetime:
    """Round down to a millisecond, as the gateway keeps an order's acceptance.

    A load's first order would otherwise seem older than its load when both fall into one millisecond.
    """
    return at - timedelta(microseconds=at.microsecond % 1_000)


def balanced_orders(kinds: Sequence[str], round_count: int, *, seed: int) -> list[list[str]]:
    """The order of the loads in each round, drawn by the seed.

    Over as many rounds as there are kinds (twice as many where their count is odd) each kind has every place equally
    often and follows every other one equally often: what a load owes to an older stack, or to what the one before
    it left behind, falls on all of them alike.

    Source: Williams, "Experimental designs balanced for the estimation of residual effects of treatments",
    Australian Journal of Scientific Research A 2 (1949), 149-168.
    """
    count = len(kinds)
    first = [(place + 1) // 2 if place % 2 else -(place // 2) % count for place in range(count)]
    rows = [[(number + row) % count for number in first] for row in range(count)]
    if count % 2:
        rows += [row[::-1] for row in rows]
    source = random.Random(seed)  # noqa: S311
    names = list(kinds)
    orders: list[list[str]] = []
    while len(orders) < round_count:
        source.shuffle(names)
        source.shuffle(rows)
        orders += [[names[number] for number in row] for row in rows]
    return orders[:round_count]


def summary(rounds: Sequence[Round]) -> list[dict[str, Any]]:
    """Of each kind the medians over the rounds. Growth is compared within a round, then the median taken."""
    lines = []
    for kind in rounds[0]:
        documents = [runs[kind].document(runs[NONE]) for runs in rounds]
        lines.append(
            {
                "poison": kind,
                "rounds": len(documents),
                "orders_a_round": documents[0]["orders"],
                **{
                    name: median(document[name] for document in documents)
                    for name in (
                        *("answer_p50_ms", "answer_p99_ms", "answer_p99_growth"),
                        *("settle_p50_ms", "settle_p99_ms"),
                        *("until_letter_s", "orders_until_letter", "answer_p99_until_letter_ms"),
                    )
                },
                "growths": [document["answer_p99_growth"] for document in documents],
                "dead_letters": [
                    letter for document in documents for letter in document["dead_letters"]
                ],
            }
        )
    return lines


def problems_of(rounds: Sequence[Round], order_count: int, *, is_judged: bool) -> list[str]:
    """All that is wrong; the median growth counts where there are orders enough for a p99."""
    found = [
        problem for runs in rounds for run in runs.values() for problem in run.problems(order_count)
    ]
    for line in summary(rounds) if is_judged else ():
        growth = line["answer_p99_growth"]
        if growth is None or growth >= GROWTH_MAX:
            found.append(
                f"{line['poison']}: the p99 of answers grew by {growth}, the median of {line['growths']}"
            )
    return found


def _ms(values_s: Sequence[float], percent: int) -> float | None:
    return percentile(sorted(values_s), percent, unit=1_000)
