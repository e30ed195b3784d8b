"""Reading a PSP simulator's own record of what it charged, to its very end or not at all."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import msgspec

from psp.simulator.wire import CurrencyTotals, OracleRow, Totals
from runtime.faults import Fault

# A record may be long, but a simulator that says nothing for this long is frozen.
SILENCE_S_MAX = 30.0

CONNECT_S_MAX = 5.0

# Totals are a number for each status and currency: some 20 kB with every currency that there is. A server that
# sends without an end would else be kept in our memory whole.
TOTALS_BYTES_MAX = 1_048_576

TOTALS_S_MAX = 30.0

# A server may send, and never be silent, for ever. A record is read at some ten thousand charges a second; one that
# takes ten times as long, beside a minute to begin, does not end. Whatever it says of itself, it has some hours.
READING_S_MIN = 60
CHARGES_PER_S_MIN = 1_000
READING_S_MAX = 6 * 3_600

# Rows have about 300 bytes. What goes on for longer without a line's end is no record of charges.
LINE_BYTES_MAX = 1_048_576

_TOTALS = msgspec.json.Decoder(Totals)
_ROW = msgspec.json.Decoder(OracleRow)

_HTTP_OK = 200

# Nesting too deep for the stack is no ValueError.
_FAULTS = (aiohttp.ClientError, TimeoutError, OSError, ValueError, RecursionError)


class OracleUnreadable(Fault):
    """The record can't be read whole, so nothing follows from it."""


@dataclass(slots=True, kw_only=True)
class Tally:
    """What was read so far, to be held against the totals that the record itself states."""

    charges: int = 0
    captured_charges: int = 0
    by_currency: dict[str, CurrencyTotals] = field(default_factory=dict)

    def add(self, row: OracleRow) -> None:
        """Count one row. Raises OracleUnreadable for one that is not the next."""
        self.charges += 1
        if row.n != self.charges:
            raise OracleUnreadable(f"charge {row.n} comes where {self.charges} is due")
        sums = self.by_currency.setdefault(row.currency, CurrencyTotals())
        sums.captured += row.captured
        sums.refunded += row.refunded
        self.captured_charges += row.status == "captured"

    def check_between(self, before: Totals, after: Totals) -> None:
        """Raise OracleUnreadable unless this lies between the totals asked for before and after.

        A record only grows, so on a quiet stack all three are the same.
        """
        self._check("charges", before.charges, self.charges, after.charges)
        self._check(
            "captured charges",
            before.by_status.get("captured", 0),
            self.captured_charges,
            after.by_status.get("captured", 0),
        )
        none = CurrencyTotals()
        for currency in sorted({*before.by_currency, *self.by_currency, *after.by_currency}):
            first = before.by_currency.get(currency, none)
            read = self.by_currency.get(currency, none)
            last = after.by_currency.get(currency, none)
            self._check(f"captured {currency}", first.captured, read.captured, last.captured)
            self._check(f"refunded {currency}", first.refunded, read.refunded, last.refunded)

    @staticmethod
    def _check(what: str, before: int, read: int, after: int) -> None:
        if not before <= read <= after:
            raise OracleUnreadable(
                f"{what}: {read} were read, the totals said {before} before and {after} after"
            )


class OracleReader:
    """Asks one simulator. Every method raises OracleUnreadable."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url.rstrip("/")

    async def totals(self) -> Totals:
        """Return what the record says of itself."""
        body = bytearray()
        try:
            async with self._getting("totals", TOTALS_S_MAX) as response:
                async for piece in response.content.iter_any():
                    body += piece
                    if len(body) > TOTALS_BYTES_MAX:
                        raise OracleUnreadable(
                            f"{response.url}: more than {TOTALS_BYTES_MAX} bytes"
                        )
            return _TOTALS.decode(body)
        except _FAULTS as fault:
            raise self._unreadable("totals", fault) from fault

    async def rows(
        self, *, seconds_max: float = READING_S_MAX
    ) -> AsyncIterator[Sequence[OracleRow]]:
        """Yield the whole record, a piece at a time as it arrives."""
        rest = b""
        ends_s = time.monotonic() + seconds_max
        try:
            async with self._getting("charges", seconds_max) as response:
                async for piece in response.content.iter_any():
                    lines, newline, rest = (rest + piece).rpartition(b"\n")
                    if newline:
                        yield _decoded(lines)
                    if len(rest) > LINE_BYTES_MAX:
                        raise OracleUnreadable(f"{response.url}: a line has no end")
                    # What always has a next piece ready is never waited for, so the client's own clock does not end it.
                    if time.monotonic() > ends_s:
                        raise TimeoutError(f"no end after {seconds_max:.0f} s")
        except _FAULTS as fault:
            raise self._unreadable("charges", fault) from fault
        if rest:
            raise OracleUnreadable(f"{self._url}/_oracle/charges: ends in the middle of a line")

    @asynccontextmanager
    async def _getting(
        self, what: str, seconds_max: float
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        timeout = aiohttp.ClientTimeout(
            total=seconds_max, connect=CONNECT_S_MAX, sock_read=SILENCE_S_MAX
        )
        async with self._session.get(
            f"{self._url}/_oracle/{what}",
            params={"after": "0"} if what == "charges" else None,
            allow_redirects=False,
            timeout=timeout,
        ) as response:
            if response.status != _HTTP_OK:
                raise OracleUnreadable(f"{response.url}: HTTP {response.status}")
            yield response

    def _unreadable(self, what: str, fault: Exception) -> OracleUnreadable:
        # A client's time that is over has no text of its own.
        text = str(fault) or "no answer, or no end of it, in the time that it has"
        return OracleUnreadable(f"{self._url}/_oracle/{what}: {type(fault).__name__}: {text}")


def reading_s_max(charges: int) -> int:
    """For how long a record that states so many charges may be read."""
    return min(READING_S_MIN + charges // CHARGES_PER_S_MIN, READING_S_MAX)


def open_http() -> aiohttp.ClientSession:
    """Return the session that oracles are read with."""
    return aiohttp.ClientSession(headers={"Accept-Encoding": "identity"})


def _decoded(lines: bytes) -> Sequence[OracleRow]:
    """Return a charge for each line. An empty one would be passed over, however many there are."""
    rows = _ROW.decode_lines(lines)
    if len(rows) != lines.count(b"\n") + 1:
        raise ValueError("a line without a charge")
    return rows
