"""What bad requests must not leave behind: orders, sellers, errors of the gateway, memory in use."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp

# Reads that are in flight at once: a handful keeps a gateway busy and crowds nobody out.
READS_AT_ONCE = 16

_ROW = re.compile(r'<tr><td><a href="#([a-z_]+)">.*?</td><td>([0-9]{3})</td>')
_VERDICT = re.compile(
    r'^tallystick_gateway_verdicts_total\{verdict="([a-z_]+)"\} (\S+)$', re.MULTILINE
)
_ANSWERS_5XX = re.compile(
    r'^tallystick_gateway_answers_total\{route="[^"]*",status="5[0-9]{2}"\} (\S+)$', re.MULTILINE
)
_PSS = re.compile(r"^Pss:\s+([0-9]+) kB$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Traces:
    """What can be seen over HTTP of the orders and sellers that there are."""

    newest_payments: str
    sellers: str
    verdict_count: int
    """Orders that ever reached a verdict, as the gateways asked count them."""
    failure_count: int
    """Answers with 5xx."""


class Inspector:
    """Looks at a gateway's state with an API key, over HTTP alone."""

    def __init__(
        self, session: aiohttp.ClientSession, url: str, api_key: str, metrics_urls: Sequence[str]
    ) -> None:
        self._session = session
        self._url = url
        self._headers = {"Authorization": f"Bearer {api_key}"}
        self._metrics_urls = metrics_urls

    async def documented(self) -> dict[str, int]:
        """Return the status of every code on the gateway's own page of problems."""
        _, page = await self._get(f"{self._url}/docs/problems")
        return {code: int(status) for code, status in _ROW.findall(page)}

    async def traces(self) -> Traces:
        """Return what there is now."""
        payments_status, payments = await self._get(f"{self._url}/v1/payments?limit=100")
        sellers_status, sellers = await self._get(f"{self._url}/v1/sellers?limit=100")
        if payments_status == 401:
            raise aiohttp.ClientError("it does not know this API key")
        if (payments_status, sellers_status) != (200, 200):
            raise aiohttp.ClientError(f"lists answered {payments_status} and {sellers_status}")
        pages = [(await self._get(metrics_url))[1] for metrics_url in self._metrics_urls]
        return Traces(
            newest_payments=payments,
            sellers=sellers,
            verdict_count=sum(int(float(n)) for page in pages for _, n in _VERDICT.findall(page)),
            failure_count=sum(int(float(n)) for page in pages for n in _ANSWERS_5XX.findall(page)),
        )

    async def taken_keys(self, keys: Iterable[str]) -> list[str]:
        """Return those keys that name a payment, or of which that can't be told: it should be none."""
        todo = iter(keys)
        taken: list[str] = []

        async def ask_next() -> None:
            for key in todo:
                status, body = await self._get(f"{self._url}/v1/payments/{key}")
                if status != 404 or '"payment_not_found"' not in body:
                    taken.append(key)

        await asyncio.gather(*(ask_next() for _ in range(READS_AT_ONCE)))
        return taken

    async def _get(self, url: str) -> tuple[int, str]:
        async with self._session.get(url, headers=self._headers) as answer:
            return answer.status, await answer.text()


def effects(before: Traces, after: Traces, taken: Sequence[str]) -> list[str]:
    """Return what came of the bad requests, in words: it should be nothing."""
    found = []
    if taken:
        found.append(f"{len(taken)} keys name a payment, such as {taken[0]}")
    if before.newest_payments != after.newest_payments:
        found.append("the list of payments has changed")
    if before.sellers != after.sellers:
        found.append("the list of sellers has changed")
    if before.verdict_count != after.verdict_count:
        found.append(f"{after.verdict_count - before.verdict_count} orders reached a verdict")
    if before.failure_count != after.failure_count:
        found.append(f"{after.failure_count - before.failure_count} answers were 5xx")
    return found


def pss_bytes(pid: int) -> int:
    """Return a process's share of memory, shared pages divided among their users.

    Raises OSError when the process is gone or another user's.
    """
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    found = _PSS.search(rollup)
    if found is None:
        raise OSError(f"no Pss of process {pid}")
    return 1024 * int(found[1])
