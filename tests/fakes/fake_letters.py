"""Dead letters in memory: what Postgres keeps of them, and of what operators want done with them."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from payments.rows import DeadLetterRow, LetterResult, LetterResultRow
from storage.letter_envelope import opened_raw
from storage.ports import Flush, SetAside
from storage.queue_ports import LetterAction

_CLOSING = (LetterResult.REPLAYED, LetterResult.DISCARDED)


@dataclass
class FakeLetters:
    """Letters are numbered from 1 in their order; so are actions."""

    rows: list[DeadLetterRow] = field(default_factory=list)
    set_aside: dict[tuple[int, UUID], tuple[int, bytes | None]] = field(default_factory=dict)
    actions: list[tuple[int, bool]] = field(default_factory=list)
    """``(dead_letter_no, is_replay)`` of each."""
    results: dict[int, LetterResultRow] = field(default_factory=dict)
    overrides: set[int] = field(default_factory=set)
    paused: set[int] = field(default_factory=set)
    """Partitions that are told to take nothing in."""

    def copy(self) -> FakeLetters:
        """Return these as they stand, to go on apart from them."""
        return FakeLetters(
            list(self.rows),
            dict(self.set_aside),
            list(self.actions),
            dict(self.results),
            set(self.overrides),
            set(self.paused),
        )

    def want(self, dead_letter_no: int, *, is_replay: bool) -> int:
        """An operator's action. Returns its number."""
        self.actions.append((dead_letter_no, is_replay))
        return len(self.actions)

    def write(self, flush: Flush, order_keys: Container[UUID]) -> None:
        """Keep a flush's letters, the orders they stand for, and the results of actions."""
        for letter in flush.dead_letters:
            if any(_is_same(letter, kept) or _is_same_message(letter, kept) for kept in self.rows):
                continue
            self.rows.append(letter)
            if letter.is_order and letter.order_uuid is not None:
                place = (letter.partition_index, letter.order_uuid)
                if letter.order_uuid not in order_keys:
                    self.set_aside.setdefault(place, (len(self.rows), letter.fingerprint))
        for result in flush.letter_results:
            self.results.setdefault(result.action_no, result)

    def set_aside_of(
        self, keys: Sequence[tuple[int, UUID]], order_keys: Container[UUID]
    ) -> Mapping[UUID, SetAside]:
        """Those of the keys that are set aside, and not taken in since."""
        found: dict[UUID, SetAside] = {}
        for key in keys:
            if key in self.set_aside and key[1] not in order_keys:
                number, fingerprint = self.set_aside[key]
                is_held = self.rows[
                    number - 1
                ].reason == "kills_host" or LetterResult.DISCARDED in self._results_of(number)
                found[key[1]] = SetAside(number, fingerprint, is_held)
        return found

    def pending(self, partition_indexes: Sequence[int]) -> list[LetterAction]:
        """The oldest action without a result of each letter."""
        pending: dict[int, LetterAction] = {}
        for action_no, (number, is_replay) in enumerate(self.actions, 1):
            letter = self.rows[number - 1]
            if action_no in self.results or letter.partition_index not in partition_indexes:
                continue
            pending.setdefault(
                number,
                LetterAction(
                    action_no=action_no,
                    dead_letter_no=number,
                    partition_index=letter.partition_index,
                    is_replay=is_replay,
                    stream_id=letter.stream_id,
                    raw=opened_raw(letter.raw_envelope),
                    is_closed=any(result in _CLOSING for result in self._results_of(number)),
                ),
            )
        return list(pending.values())

    def _results_of(self, number: int) -> list[int]:
        return [row.result for row in self.results.values() if row.dead_letter_no == number]


def _is_same_message(a: DeadLetterRow, b: DeadLetterRow) -> bool:
    return (a.partition_index, a.stream_id, a.raw_envelope) == (
        b.partition_index,
        b.stream_id,
        b.raw_envelope,
    )


def _is_same(a: DeadLetterRow, b: DeadLetterRow) -> bool:
    """Whether it was sent again under the same order."""
    return a.order_uuid is not None and (a.partition_index, a.order_uuid, a.raw_envelope) == (
        b.partition_index,
        b.order_uuid,
        b.raw_envelope,
    )
