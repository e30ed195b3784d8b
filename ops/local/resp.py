"""Enough of Redis' protocol to ask a server how it is."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from ops.local.ports import LOOPBACK

# A healthy server on loopback answers in microseconds; a frozen one never.
ANSWER_TIMEOUT_S = 2.0

Reply = str | int | None | list["Reply"]

# A connection that failed, and whatever speaks something else than this protocol: lines without an
# end, lengths that are no numbers, texts that are none, lists in lists.
_FAULTS = (OSError, EOFError, asyncio.LimitOverrunError, ValueError, RecursionError)


class RespError(Exception):
    """The server refused a command, or the connection failed; the text is its reason."""


class NoAnswer(RespError):
    """The server could not be reached, or was silent."""


async def ask(port: int, password: str, *commands: Sequence[str | bytes]) -> list[Reply]:
    """Authenticate on a connection of its own, send the commands, and return their replies.

    Raises NoAnswer when the server can't be reached or does not answer in time, RespError when it
    refuses one.
    """
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(LOOPBACK, port)
            try:
                batch: Sequence[Sequence[str | bytes]] = (("AUTH", password), *commands)
                writer.write(b"".join(_encoded(command) for command in batch))
                return [await _reply(reader) for _ in batch][1:]
            finally:
                writer.close()
    except _FAULTS as error:
        raise NoAnswer(f"no answer from port {port}: {error!r}") from error


def _encoded(command: Sequence[str | bytes]) -> bytes:
    words = [word if isinstance(word, bytes) else word.encode() for word in command]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words)


async def _reply(reader: asyncio.StreamReader) -> Reply:
    line = (await reader.readuntil(b"\r\n"))[:-2].decode()
    kind, rest = line[:1], line[1:]
    if kind == "-":
        raise RespError(rest)
    if kind == ":":
        return int(rest)
    if kind == "$":
        return None if rest == "-1" else (await reader.readexactly(int(rest) + 2))[:-2].decode()
    if kind == "*":
        return [await _reply(reader) for _ in range(int(rest))]
    return rest


def info_fields(reply: Reply) -> dict[str, str]:
    """The `name:value` lines of an INFO reply."""
    lines = (line.partition(":") for line in str(reply).splitlines())
    return {name: value for name, separator, value in lines if separator}
