"""Dead letters as gateways see them, in memory. ``is_available = False`` makes every method fail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from payments.rows import LetterActionKind
from runtime.faults import StorageUnavailable
from storage.letters import Letter, LetterState

_WANTED = {
    LetterActionKind.REPLAY: LetterState.REPLAYING,
    LetterActionKind.DISCARD: LetterState.DISCARDING,
}


class FakeLetterBox:
    """``storage.letters.Letters`` over lists."""

    def __init__(self) -> None:
        self.is_available = True
        self.letters: list[Letter] = []
        self.raws: dict[int, tuple[bytes, ...]] = {}
        self.audits: list[tuple[int, LetterActionKind, str, str]] = []

    async def page(
        self, *, below: int, state: LetterState | None, count_max: int
    ) -> Sequence[Letter]:
        self._check()
        found = [
            letter
            for letter in reversed(self.letters)
            if letter.dead_letter_no < below and state in (None, letter.state)
        ]
        return found[:count_max]

    async def raw(self, dead_letter_no: int) -> tuple[bytes, ...] | None:
        self._check()
        return self.raws.get(dead_letter_no)

    async def want(
        self, dead_letter_no: int, kind: LetterActionKind, *, actor: str, reason: str
    ) -> bool:
        self._check()
        for position, letter in enumerate(self.letters):
            if letter.dead_letter_no == dead_letter_no and letter.state is LetterState.WAITING:
                self.letters[position] = replace(letter, state=_WANTED[kind])
                self.audits.append((dead_letter_no, kind, actor, reason))
                return True
        return False

    def _check(self) -> None:
        if not self.is_available:
            raise StorageUnavailable("postgres", "the fake is switched off")
