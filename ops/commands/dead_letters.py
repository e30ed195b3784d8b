"""``tally dead-letters``: messages that could not be taken in, and what shall be done with them.

Asks the books directly, so it works while no gateway does.
"""

from __future__ import annotations

import asyncio
import getpass
from collections.abc import Awaitable, Callable
from typing import TypeVar

import click

from ops.books import books_session
from ops.context import CommandContext, is_json_wanted, json_option, output_option
from ops.letter_text import field_rows, letter_document, raw_text
from ops.number_options import IntegerRange, timeout_option
from ops.stated_reasons import reason_option, stated_reason
from payments.identity import dead_letter_id, parse_dead_letter_id
from payments.rows import LetterActionKind
from storage.letters import (
    ABOVE_ALL_LETTERS,
    LETTERS_PAGE_MAX,
    Letter,
    LetterState,
    PostgresLetters,
    one_letter,
    redacted,
)

T = TypeVar("T")

# An override is for the time that an operator looks on; a day of it would make the limit pointless.
ACCEPT_S_MAX = 3_600

_WAIT_LOOK_S = 0.2

_DONE = {
    LetterActionKind.REPLAY: LetterState.REPLAYED,
    LetterActionKind.DISCARD: LetterState.DISCARDED,
}
_UNDER_WAY = {
    LetterActionKind.REPLAY: LetterState.REPLAYING,
    LetterActionKind.DISCARD: LetterState.DISCARDING,
}


@click.group("dead-letters")
def dead_letters() -> None:
    """Look at messages that could not be taken in; replay or discard them."""


def _number(_context: click.Context, _parameter: click.Parameter, value: str) -> int:
    number = parse_dead_letter_id(value)
    if number is None:
        raise click.BadParameter(
            f"{value!r} is no dead letter's id; they are in: tally dead-letters list"
        )
    return number


_letter_argument = click.argument("letter_no", metavar="ID", callback=_number)


@dead_letters.command("list")
@click.option("--state", type=click.Choice([state.value for state in LetterState]), default=None)
@click.option("--limit", type=IntegerRange(1, LETTERS_PAGE_MAX), default=20, show_default=True)
@output_option
@json_option
@click.pass_obj
def list_letters(
    context: CommandContext, state: str | None, limit: int, output_format: str, is_json: bool
) -> None:
    """List dead letters, newest first. Nothing that is shown is personal."""

    async def read(letters: PostgresLetters) -> list[Letter]:
        wanted = None if state is None else LetterState(state)
        return list(await letters.page(below=ABOVE_ALL_LETTERS, state=wanted, count_max=limit))

    found = _run(context, read)
    if is_json_wanted(output_format, is_json):
        context.output.json({"dead_letters": [letter_document(letter) for letter in found]})
        return
    if not found:
        context.output.line("no dead letters" if state is None else f"no dead letters are {state}")
        return
    rows = [
        (
            dead_letter_id(letter.dead_letter_no),
            letter.state.value,
            letter.reason,
            letter.partition_index,
            letter.merchant_id or "?",
            "yes" if letter.is_order else "no",
            letter.attempt_count,
            letter.created_at.isoformat(timespec="seconds"),
        )
        for letter in found
    ]
    heads = ("id", "state", "reason", "partition", "merchant", "order", "attempts", "since")
    context.output.table("Dead letters", heads, rows)


@dead_letters.command()
@_letter_argument
@click.option("--raw", "is_raw", is_flag=True, help="With the message's bytes: personal data.")
@click.option(
    "--reason", default=None, callback=stated_reason, help="Why --raw: kept in the audit."
)
@output_option
@json_option
@click.pass_obj
def show(
    context: CommandContext,
    letter_no: int,
    is_raw: bool,
    reason: str | None,
    output_format: str,
    is_json: bool,
) -> None:
    """Show one dead letter, its body by kind and size alone."""
    if is_raw and reason is None:
        raise click.UsageError("--raw shows personal data: say why with --reason")

    async def read(letters: PostgresLetters) -> tuple[Letter | None, tuple[bytes, ...] | None]:
        letter = await one_letter(letters, letter_no)
        if letter is not None and is_raw and reason is not None:
            await letters.audit_read(letter_no, actor=_actor(), reason=reason)
        return letter, await letters.raw(letter_no)

    letter, raw = _run(context, read)
    if letter is None:
        context.fail(f"there is no dead letter {dead_letter_id(letter_no)}")
    document = letter_document(letter)
    if raw is None:
        document["fields"] = None
    elif is_raw:
        document["fields"] = [raw_text(part) for part in raw]
    else:
        document["fields"] = redacted(raw)
    if is_json_wanted(output_format, is_json):
        context.output.json(document)
        return
    fields = document.pop("fields")
    rows = [(name, "" if value is None else str(value)) for name, value in document.items()]
    context.output.table("", ("", ""), [*rows, *field_rows(fields)])


@dead_letters.command()
@_letter_argument
@reason_option
@timeout_option(15.0)
@output_option
@json_option
@click.pass_obj
def replay(
    context: CommandContext,
    letter_no: int,
    reason: str,
    timeout_s: float,
    output_format: str,
    is_json: bool,
) -> None:
    """Have a letter's message taken in again, under the same key. Again: changes nothing."""
    letter = _act(context, letter_no, LetterActionKind.REPLAY, reason, timeout_s)
    _told(context, letter, is_json=is_json_wanted(output_format, is_json))


@dead_letters.command()
@_letter_argument
@reason_option
@timeout_option(15.0)
@output_option
@json_option
@click.pass_obj
def discard(
    context: CommandContext,
    letter_no: int,
    reason: str,
    timeout_s: float,
    output_format: str,
    is_json: bool,
) -> None:
    """Give a letter up: its order, unless a repeat has brought it, fails for good. Again: changes nothing."""
    letter = _act(context, letter_no, LetterActionKind.DISCARD, reason, timeout_s)
    _told(context, letter, is_json=is_json_wanted(output_format, is_json))


@dead_letters.command()
@click.option("--partition", "partition_index", type=IntegerRange(min=0), required=True)
@click.option(
    "--for",
    "for_s",
    type=IntegerRange(0, ACCEPT_S_MAX),
    default=600,
    show_default=True,
    help="Seconds; 0 ends it.",
)
@reason_option
@click.pass_obj
def accept(context: CommandContext, partition_index: int, for_s: int, reason: str) -> None:
    """Let a partition set aside whatever it can't take in, also most of what comes."""

    partition_count = context.running_state().partition_count
    if partition_index >= partition_count:
        raise click.BadParameter(
            f"the stack has the partitions 0 to {partition_count - 1}", param_hint="--partition"
        )

    async def write(letters: PostgresLetters) -> None:
        await letters.accept(partition_index, for_s=for_s, actor=_actor(), reason=reason)

    _run(context, write)
    context.output.line(
        f"partition {partition_index} sets aside what it can't take in, for {for_s} s"
        if for_s
        else f"partition {partition_index} sets aside no more than any other"
    )


def _act(
    context: CommandContext, letter_no: int, kind: LetterActionKind, reason: str, timeout_s: float
) -> Letter:
    """Write the action, and wait for what the partition's owner makes of it."""
    named = dead_letter_id(letter_no)

    async def act(letters: PostgresLetters) -> Letter | None:
        before = await one_letter(letters, letter_no)
        if before is None:
            return None
        await letters.want(letter_no, kind, actor=_actor(), reason=reason)
        give_up_at_s = asyncio.get_running_loop().time() + timeout_s
        while True:
            letter = await one_letter(letters, letter_no)
            if letter is None or letter.state is not _UNDER_WAY[kind]:
                return letter
            if asyncio.get_running_loop().time() >= give_up_at_s:
                return letter
            await asyncio.sleep(_WAIT_LOOK_S)

    letter = _run(context, act)
    if letter is None:
        context.fail(f"there is no dead letter {named}")
    if letter.state is _UNDER_WAY[kind]:
        context.fail(f"{named} is {letter.state.value}: its partition's owner has not answered yet")
    if letter.state in _DONE.values() and letter.state is not _DONE[kind]:
        context.fail(f"{named} is {letter.state.value} already. Nothing was changed.")
    if letter.state is not _DONE[kind]:
        because = f": {letter.refusal}" if letter.refusal else ""
        context.fail(
            f"the {kind.name.lower()} of {named} came to nothing{because}. It waits as before."
        )
    return letter


def _told(context: CommandContext, letter: Letter, *, is_json: bool) -> None:
    if is_json:
        context.output.json(letter_document(letter))
    else:
        context.output.line(f"{dead_letter_id(letter.dead_letter_no)} is {letter.state.value}")


def _run(context: CommandContext, work: Callable[[PostgresLetters], Awaitable[T]]) -> T:
    config = context.config()

    async def run() -> T:
        async with books_session(config, "gateway", "tally dead-letters") as pool:
            return await work(PostgresLetters(pool))

    context.running_state()
    return asyncio.run(run())


def _actor() -> str:
    return f"tally dead-letters ({getpass.getuser()})"
