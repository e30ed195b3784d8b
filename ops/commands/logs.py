"""``tally logs tail``: what merchants ask and are answered, line by line.

Asks the books directly, so it works while no gateway does. Bodies are the merchants': they read them at
``GET /v1/requests``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from uuid import UUID

import click

from ops.books import books_session
from ops.context import CommandContext
from ops.number_options import IntegerRange
from payments.identity import request_id
from storage.request_log import PostgresRequestHeads
from storage.request_rows import FIRST_OF_ALL, RequestHead

LINES_MAX = 1_000
# Gateways write twice a second.
LOOK_EVERY_S = 1.0
# A request is written when it was answered, and has its place by when it came: Prefer: wait may hold it for
# half a minute in between.
LOOK_BACK_S = 45
# Of what came within that time: no terminal shows more.
LOOK_COUNT_MAX = 20_000


@click.group()
def logs() -> None:
    """Look at what merchants ask and are answered."""


@logs.command()
@click.option("--merchant", default=None, help="Of this merchant alone (mrc_…).")
@click.option(
    "-n", "--lines", type=IntegerRange(1, LINES_MAX), default=20, show_default=True,
    help="How many of the newest to begin with.",
)  # fmt: skip
@click.option("-f", "--follow", is_flag=True, help="Go on as requests come, until interrupted.")
@click.option("--json", "is_json", is_flag=True, help="One JSON object a line.")
@click.pass_obj
def tail(
    context: CommandContext, merchant: str | None, lines: int, follow: bool, is_json: bool
) -> None:
    """Show the newest requests, oldest first: some hundred milliseconds after they were answered."""
    context.running_state()
    asyncio.run(_tail(context, merchant, lines, is_followed=follow, is_json=is_json))


async def _tail(
    context: CommandContext, merchant: str | None, lines: int, *, is_followed: bool, is_json: bool
) -> None:
    config = context.config()
    async with books_session(config, "reader", "tally logs tail") as pool:
        log = PostgresRequestHeads(pool)
        heads = await log.newest(after=FIRST_OF_ALL, merchant_id=merchant, count_max=lines)
        _show(context, heads, is_json=is_json)
        unseen = Unseen(heads)
        while is_followed:
            await asyncio.sleep(LOOK_EVERY_S)
            heads = await log.newest(
                after=unseen.after, merchant_id=merchant, count_max=LOOK_COUNT_MAX
            )
            _show(context, unseen.of(heads), is_json=is_json)


class Unseen:
    """Which requests were not shown yet, of a look that goes back a little each time."""

    def __init__(self, shown: Sequence[RequestHead]) -> None:
        self._shown = {head.request.request_no for head in shown}
        self._newest = max(self._shown, default=FIRST_OF_ALL)
        # What came before the first look began with is not shown later, however late it was written.
        self._oldest = min(self._shown, default=FIRST_OF_ALL)

    @property
    def after(self) -> UUID:
        """What the next look begins behind."""
        back = (LOOK_BACK_S * 1_000) << 80  # a UUIDv7 begins with milliseconds
        return max(self._oldest, UUID(int=max(0, self._newest.int - back)))

    def of(self, heads: Sequence[RequestHead]) -> Sequence[RequestHead]:
        """Return those that were not shown, and take note of them."""
        unseen = [head for head in heads if head.request.request_no not in self._shown]
        self._newest = max(self._newest, *(head.request.request_no for head in heads), self._newest)
        after = self.after
        shown = self._shown | {head.request.request_no for head in unseen}
        self._shown = {number for number in shown if number > after}
        return unseen


def _show(context: CommandContext, heads: Sequence[RequestHead], *, is_json: bool) -> None:
    for head in reversed(heads):
        if is_json:
            context.output.json_line(document(head))
        else:
            context.output.line(line_of(head))


def line_of(head: RequestHead) -> str:
    """A request in one line."""
    request = head.request
    key = "" if request.idempotency_key is None else f"  key {request.idempotency_key}"
    code = "" if request.code is None else f" {request.code}"
    return (
        f"{request.received_at.isoformat(timespec='milliseconds')}  {head.merchant_id} {request.mode.wire}  "
        f"{request.method} {request.route}  {request.status}{code}  {request.duration_us / 1_000:.1f} ms  "
        f"{request_id(request.request_no)}{key}"
    )


def document(head: RequestHead) -> dict[str, object]:
    """A request as JSON shows it."""
    request = head.request
    return {
        "id": request_id(request.request_no),
        "merchant": head.merchant_id,
        "mode": request.mode.wire,
        "method": request.method,
        "route": request.route,
        "status": request.status,
        "code": request.code,
        "idempotency_key": None
        if request.idempotency_key is None
        else str(request.idempotency_key),
        "duration_ms": round(request.duration_us / 1_000, 3),
        "received_at": request.received_at.isoformat(),
    }
