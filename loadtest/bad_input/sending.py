"""Sending over raw sockets, a bounded number at once: no HTTP client would misbehave like this."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from loadtest.bad_input.answers import Answer, AnswerUnreadable, complaint, read_answer
from loadtest.bad_input.catalogue import CLASSES, class_at, request_at
from loadtest.bad_input.requests import BadRequest, Ending

# The slowest documented answer is a 408 after the gateway's ten seconds for a body.
ANSWER_S_MAX = 20.0
# A gateway takes the rest of a refused body for a second before it closes.
CLOSE_S_MAX = 10.0
# The first failures tell the cause; the rest is counted.
SHOWN_MAX = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where the gateway is, what it may be shown, and what it documents."""

    host: str
    port: int
    api_key: str
    documented: Mapping[str, int]
    """The status of every problem's code."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unexpected:
    """One answer that was not the documented one; seed and index make the request again."""

    seed: int
    index: int
    class_name: str
    complaint: str


@dataclass(slots=True)
class ClassCount:
    sent: int = 0
    unexpected: int = 0


@dataclass(slots=True)
class Outcome:
    """What became of one run."""

    counts: dict[str, ClassCount] = field(
        default_factory=lambda: {each.name: ClassCount() for each in CLASSES}
    )
    unexpected: list[Unexpected] = field(default_factory=list)
    """The first SHOWN_MAX of them."""
    keys: list[str] = field(default_factory=list)
    """Every idempotency key that was sent."""

    @property
    def sent_count(self) -> int:
        return sum(count.sent for count in self.counts.values())

    @property
    def unexpected_count(self) -> int:
        return sum(count.unexpected for count in self.counts.values())

    def note(self, seed: int, index: int, request: BadRequest, wrong: str | None) -> None:
        """Take one exchange into the counts."""
        name = class_at(index).name
        self.counts[name].sent += 1
        self.keys += request.keys
        if wrong is None:
            return
        self.counts[name].unexpected += 1
        if len(self.unexpected) < SHOWN_MAX:
            self.unexpected.append(
                Unexpected(seed=seed, index=index, class_name=name, complaint=wrong)
            )


class Wire:
    """One connection at a time to the gateway, kept for as long as it is any use."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def exchange(self, request: BadRequest) -> tuple[list[Answer], str | None]:
        """Return the answers to a request, and what was wrong with the connection, if anything."""
        answers: list[Answer] = []
        try:
            async with asyncio.timeout(ANSWER_S_MAX):
                if self._streams is None:
                    self._streams = await asyncio.open_connection(self._host, self._port)
                reader, writer = self._streams
                await self._send(writer, request)
                while len(answers) < len(request.answers):
                    answer = await read_answer(reader)
                    if answer is None:
                        break
                    answers.append(answer)
            return answers, await self._end(reader, request, answers)
        except TimeoutError:
            wrong = f"no answer within {ANSWER_S_MAX:.0f} s"
        except AnswerUnreadable as fault:
            wrong = str(fault)
        except OSError as fault:
            wrong = f"the connection broke: {type(fault).__name__}"
        self.close()
        return answers, wrong

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def _send(self, writer: asyncio.StreamWriter, request: BadRequest) -> None:
        writer.write(request.data)
        try:
            await writer.drain()
            if request.ending is Ending.HALF_CLOSED:
                writer.write_eof()
        except ConnectionError:
            # Refused before it was read to its end; the answer may be there all the same.
            return

    async def _end(
        self, reader: asyncio.StreamReader, request: BadRequest, answers: list[Answer]
    ) -> str | None:
        """Close what is of no more use; complain of a connection that should have been closed."""
        if request.ending is Ending.OPEN and answers and not answers[-1].is_last:
            return None
        wrong = None
        try:
            async with asyncio.timeout(CLOSE_S_MAX):
                if await reader.read(1):
                    wrong = "more answers than requests"
        except TimeoutError:
            wrong = "the connection was not closed"
        except ConnectionError:
            # Reset rather than closed: we had sent what nobody read.
            pass
        self.close()
        return wrong


async def exchange_once(
    target: Target, seed: int, index: int
) -> tuple[BadRequest, list[Answer], str | None]:
    """Send one request on a connection of its own; return it, its answers and what is wrong."""
    request = request_at(seed, index, target.api_key)
    wire = Wire(target.host, target.port)
    answers, wrong = await wire.exchange(request)
    wire.close()
    return request, answers, wrong or complaint(request, answers, target.documented)


async def send_all(
    target: Target,
    *,
    seed: int,
    indexes: Iterable[int],
    concurrency: int,
    on_answer: Callable[[], None] = lambda: None,
) -> Outcome:
    """Send the requests of these indexes, and count which were answered as documented."""
    outcome = Outcome()
    todo: Iterator[int] = iter(indexes)

    async def send_next() -> None:
        wire = Wire(target.host, target.port)
        for index in todo:
            request = request_at(seed, index, target.api_key)
            answers, wrong = await wire.exchange(request)
            wrong = wrong or complaint(request, answers, target.documented)
            outcome.note(seed, index, request, wrong)
            on_answer()
        wire.close()

    await asyncio.gather(*(send_next() for _ in range(concurrency)))
    return outcome
