"""Finding the one message that stops a batch: halves are flushed until it stands alone."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from actors.inbox import Work
from actors.setting_aside import HANDLER_DEFECT, refused
from payments.book import PartitionBook
from payments.decided import Batch, Decided
from payments.defects import ContentDefect, InvariantViolation, caused_by
from storage.queue_ports import Message

# What a decision may raise besides its own word for a defect: mistakes in pure code, which has changed
# nothing when it raises.
_MISTAKES = (
    InvariantViolation,
    ArithmeticError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
)


def decide(book: PartitionBook, batch: Batch, stumbling_text: str = "") -> Decided:
    """Decide one partition's batch. Raises ContentDefect for every mistake on the way.

    ``stumbling_text`` is for tests: an order with that description is such a mistake.
    """
    try:
        if stumbling_text and any(
            stumbling_text in (command.description or "") for command in batch.commands
        ):
            raise ValueError("stumbled, as TALLY_RAISE_ON wants")
        return book.decide(batch)
    except _MISTAKES as mistake:
        raise caused_by(ContentDefect(f"{type(mistake).__name__}: {mistake}"), mistake)


async def isolate(
    work: dict[int, Work],
    flush: Callable[[dict[int, Work]], Coroutine[Any, Any, None]],
    admits: Callable[[int, int, int], bool],
) -> None:
    """Flush one partition's work that raised a ContentDefect, without the messages it belongs to.

    Those are flushed last, as dead letters. What is written is taken out of ``work``, so that after a
    fault the rest can be put back. ``admits(partition, letters, messages)`` tells whether so many
    letters are still believable; if not, they stay in ``work``.

    Raises InvariantViolation when the defect is no message's own, and the faults of a flush.
    """
    ((partition_index, part),) = work.items()
    others = Work(answers=part.answers, due=part.due)
    message_count = len(part.messages)
    if len(others):
        await _flush_others(partition_index, others, flush)
        part.answers, part.due = [], []
    letters: list[Message] = []
    suspects = [part.messages]
    while suspects:
        chunk = suspects.pop()
        if not chunk:
            continue
        try:
            await flush({partition_index: Work(messages=chunk)})
        except ContentDefect as defect:
            if len(chunk) > 1:
                middle = len(chunk) // 2
                suspects += [chunk[middle:], chunk[:middle]]
                continue
            letters.append(refused(chunk[0], HANDLER_DEFECT, _words(defect)))
            if not admits(partition_index, len(letters), message_count):
                return
        else:
            written = set(map(id, chunk))
            part.messages = [message for message in part.messages if id(message) not in written]
    if letters:
        await _flush_others(partition_index, Work(messages=letters), flush)
        part.messages = []


async def _flush_others(
    partition_index: int, part: Work, flush: Callable[[dict[int, Work]], Coroutine[Any, Any, None]]
) -> None:
    try:
        await flush({partition_index: part})
    except ContentDefect as defect:
        raise caused_by(InvariantViolation(f"not one message's own: {defect}"), defect)


def _words(defect: ContentDefect) -> str:
    """Name the kind of the mistake alone: its text may hold what the message held."""
    return type(defect.__cause__ or defect).__name__
