"""Reading a PSP simulator's own record of what it charged, to its very end or not at all."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import aiohttp
import msgspec

from psp.simulator.wire import CurrencyTotals, OracleRow, Totals
from runtime.faults import Fault

# A record may be long, but a simulator that says nothing for this long is frozen.
SILENCE_S_MAX = 30.0

CONNECT_S_MAX = 5.0

# Rows have about 300 bytes. What goes on for longer without a line's end is no record of charges.
LINE_BYTES_MAX = 1_048_576

_TOTALS = msgspec.json.Decoder(Totals)
_ROW = msgspec.json.Decoder(OracleRow)

_HTTP_OK = 200


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
        try:
            async with self._session.get(
                f"{self._url}/_oracle/totals", allow_redirects=False
            ) as response:
                _require_ok(response)
                return _TOTALS.decode(await response.read())
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as fault:
            raise self._unreadable("totals", fault) from fault

    async def rows(self) -> AsyncIterator[Sequence[OracleRow]]:
        """Yield the whole record, a piece at a time as it arrives."""
        rest = b""
        try:
            async with self._session.get(
                f"{self._url}/_oracle/charges", params={"after": "0"}, allow_redirects=False
            ) as response:
                _require_ok(response)
                async for piece in response.content.iter_any():
                    lines, newline, rest = (rest + piece).rpartition(b"\n")
                    if newline:
                        yield _ROW.decode_lines(lines)
                    if len(rest) > LINE_BYTES_MAX:
                        raise OracleUnreadable(f"{response.url}: a line has no end")
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as fault:
            raise self._unreadable("charges", fault) from fault
        if rest:
            raise OracleUnreadable(f"{self._url}/_oracle/charges: ends in the middle of a line")

    def _unreadable(self, what: str, fault: Exception) -> OracleUnreadable:
        return OracleUnreadable(f"{self._url}/_oracle/{what}: {type(fault).__name__}: {fault}")


def open_http() -> aiohttp.ClientSession:
    """Return the session that oracles are read with."""
    timeout = aiohttp.ClientTimeout(total=None, connect=CONNECT_S_MAX, sock_read=SILENCE_S_MAX)
    return aiohttp.ClientSession(timeout=timeout, headers={"Accept-Encoding": "identity"})


def _require_ok(response: aiohttp.ClientResponse) -> None:
    if response.status != _HTTP_OK:
        raise OracleUnreadable(f"{response.url}: HTTP {response.status}")
