"""One process of a storefront: pays carts with the client, and never gives one up.

Run by ``loadtest.client.running``, which kills it now and then: what it had under way goes on in the next
process, by the key store alone.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec

from loadtest.client.job import (
    CURRENCY,
    ClientJob,
    Kind,
    Met,
    Paid,
    amount_minor,
    cart_name,
    met_path,
    paid_path,
    token,
)
from tallystick import (
    AsyncTallystick,
    FileKeyStore,
    NotReached,
    Payment,
    RetryPolicy,
    ServerFailed,
    StillRunning,
    Tallystick,
)

# Short, so that clients give up now and then, and the storefront has to call again.
POLICY = RetryPolicy(deadline_s=12.0, attempts_max=6, attempt_s_max=3.0)
WAIT_S = 5
# Longer than an unknown outcome takes under the schedule of a stack under faults.
SETTLE_S_MAX = 60.0
AGAIN_S = 0.5

IN_FLIGHT_MAX = 64
THREAD_COUNT = 16

# What a storefront meets and lives with. Anything else ends the process, and fails the run.
TROUBLE = (NotReached, ServerFailed, StillRunning)


class Book:
    """Writes each line at once and whole, so that a kill costs at most the last one."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)

    def write(self, line: Paid | Met) -> None:
        os.write(self._descriptor, msgspec.json.encode(line) + b"\n")


class Attempts(logging.Handler):
    """The client logs each attempt that it makes again: its error is the last argument."""

    def __init__(self, met: Book) -> None:
        super().__init__()
        self._met = met

    def emit(self, record: logging.LogRecord) -> None:
        error = record.args[-1] if isinstance(record.args, tuple) and record.args else None
        self._met.write(Met(what=type(error).__name__, is_final=False))


class Storefront:
    """What both kinds of process share."""

    def __init__(self, job: ClientJob) -> None:
        self.job = job
        self.store = FileKeyStore(job.store_path)
        directory = Path(job.directory)
        self._paid, self.met = (
            Book(paid_path(directory, job.name)),
            Book(met_path(directory, job.name)),
        )
        log = logging.getLogger("tallystick")
        log.setLevel(logging.INFO)
        log.addHandler(Attempts(self.met))
        log.propagate = False

    def due_s(self, position: int) -> float:
        """When a cart is paid, since the process began."""
        return position / self.job.rate_per_s

    def trouble(self, error: Exception) -> None:
        self.met.write(Met(what=type(error).__name__, is_final=True))

    def ended(self, number: int, payment: Payment, call_count: int) -> None:
        self._paid.write(
            Paid(cart=number, payment_id=payment.id, status=payment.status, call_count=call_count)
        )


def _order(number: int) -> dict[str, Any]:
    return {
        "amount": amount_minor(number),
        "currency": CURRENCY,
        "payment_method": token(number),
        "metadata": {"cart": cart_name(number)},
        "key_name": cart_name(number),
        "wait_s": WAIT_S,
    }


async def pay_all_async(shop: Storefront) -> None:
    """Pay with the async client, a task for each cart."""
    job, began_s = shop.job, time.monotonic()
    places = asyncio.Semaphore(IN_FLIGHT_MAX)
    async with (
        AsyncTallystick(job.url, job.api_key, key_store=shop.store, policy=POLICY) as client,
        asyncio.TaskGroup() as tasks,
    ):
        for position, number in enumerate(job.carts):
            await asyncio.sleep(max(0.0, began_s + shop.due_s(position) - time.monotonic()))
            await places.acquire()
            task = tasks.create_task(_pay_async(shop, client, number))
            task.add_done_callback(lambda _: places.release())


async def _pay_async(shop: Storefront, client: AsyncTallystick, number: int) -> None:
    """Call until the cart has come to its end, always under its name."""
    for call_count in itertools.count(1):
        try:
            payment = await client.payments.create(**_order(number))
            if payment.is_under_way:
                payment = await client.payments.wait(payment.id, timeout_s=SETTLE_S_MAX)
        except TROUBLE as error:
            shop.trouble(error)
            await asyncio.sleep(AGAIN_S)
        else:
            shop.ended(number, payment, call_count)
            return


def pay_all_sync(shop: Storefront) -> None:
    """Pay with the blocking client, which several threads share."""
    job, began_s = shop.job, time.monotonic()
    with (
        Tallystick(job.url, job.api_key, key_store=shop.store, policy=POLICY) as client,
        ThreadPoolExecutor(THREAD_COUNT) as threads,
    ):
        ends: list[Future[None]] = []
        for position, number in enumerate(job.carts):
            time.sleep(max(0.0, began_s + shop.due_s(position) - time.monotonic()))
            ends.append(threads.submit(_pay_sync, shop, client, number))
        for end in ends:
            end.result()


def _pay_sync(shop: Storefront, client: Tallystick, number: int) -> None:
    """The same, blocking."""
    for call_count in itertools.count(1):
        try:
            payment = client.payments.create(**_order(number))
            if payment.is_under_way:
                payment = client.payments.wait(payment.id, timeout_s=SETTLE_S_MAX)
        except TROUBLE as error:
            shop.trouble(error)
            time.sleep(AGAIN_S)
        else:
            shop.ended(number, payment, call_count)
            return


def main() -> None:
    """Read the job from stdin, and pay."""
    shop = Storefront(msgspec.json.decode(sys.stdin.buffer.readline(), type=ClientJob))
    if shop.job.kind is Kind.ASYNC:
        asyncio.run(pay_all_async(shop))
    else:
        pay_all_sync(shop)


if __name__ == "__main__":
    main()
