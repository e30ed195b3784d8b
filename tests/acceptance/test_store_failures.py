"""Store servers killed and their data removed under load, and the stack left to mend itself."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from tests.acceptance.conftest import StackFactory
from tests.acceptance.running_stack import RunningStack
from tests.acceptance.test_crash_points import post_all
from tests.shop import Answer, Shop, open_shop, successful_charges

SERVERS = ("postgres_primary", "postgres_standby", "redis_primary", "redis_replica")

# Storefronts posting side by side, each so often.
SHOPPER_COUNT = 10
PAUSE_S = 0.2

# The promise for an idle machine; tests share theirs with others.
ACCEPTED_AGAIN_S_MAX = 5.0
SETTLED_AGAIN_S_MAX = 10.0
BUSY_FACTOR = 2.0

MENDED_S_MAX = 60.0


async def test_stores_fail_under_load_and_nothing_is_lost(stack_factory: StackFactory) -> None:
    """All servers killed, then both primaries' data removed: orders go on, each is charged once."""
    stack = stack_factory()
    await asyncio.to_thread(stack.up, "--no-demo", "--hosts-without-ray")
    status = await asyncio.to_thread(stack.status)
    answers: list[Answer] = []
    async with open_shop(
        status["gateway_url"], status["api_key"], connection_count=SHOPPER_COUNT + 1
    ) as shop:
        is_over = asyncio.Event()
        shopping = asyncio.gather(*(_shop_on(shop, is_over, answers) for _ in range(SHOPPER_COUNT)))
        await asyncio.sleep(1)
        await _kill(stack, *SERVERS)
        await _back(shop)
        await _until_mended(stack)
        before = await asyncio.to_thread(stack.json, "stores", "status")
        _remove_data(stack, before)
        await asyncio.sleep(0.5)
        await _back(shop)
        after = await _until_mended(stack)
        is_over.set()
        await shopping
        for store, name in (("postgres", "postgres_2"), ("redis", "valkey_2")):
            assert before[store]["second"] == name
            assert after[store]["primary"] == name
        assert {answer.status for answer in answers} <= {201, 202, 503}
        keys = [answer.key for answer in answers]
        again = await post_all(shop, [answer.key for answer in answers if not answer.is_accepted])
        assert all(answer.is_accepted for answer in again)
        ended = await asyncio.gather(*(shop.settled(key, timeout_s=60) for key in keys))
        assert {body["status"] for body in ended} == {"succeeded"}
    charges = await successful_charges(status["psp_url"], status["merchant_id"])
    assert {key: charges[str(key)] for key in keys} == dict.fromkeys(keys, 1)
    verified = await asyncio.to_thread(stack.tally, "verify")
    assert verified.returncode == 0, verified.stdout


async def _shop_on(shop: Shop, is_over: asyncio.Event, answers: list[Answer]) -> None:
    """Post one order after the other, each once."""
    while not is_over.is_set():
        key = uuid4()
        answers.append(await shop.post(key, amount_minor=1_000 + key.int % 997))
        await asyncio.sleep(PAUSE_S)


async def _kill(stack: RunningStack, *roles: str) -> None:
    status = await asyncio.to_thread(stack.status)
    for item in status["processes"]:
        if item["role"] in roles:
            os.kill(item["pid"], signal.SIGKILL)


def _remove_data(stack: RunningStack, stores: dict[str, Any]) -> None:
    names: Sequence[str] = [document["primary"] for document in stores.values()]
    for name in names:
        directory: Path = stack.home / "data" / name.replace("_", "-")
        shutil.rmtree(directory, ignore_errors=True)  # the server goes on making files in it


async def _back(shop: Shop) -> None:
    """Orders are accepted, then settled again, each in time."""
    began_s = time.monotonic()
    while True:
        key = uuid4()
        answer = await shop.post(key)
        if answer.is_accepted:
            break
        await asyncio.sleep(0.05)
    assert time.monotonic() - began_s < ACCEPTED_AGAIN_S_MAX * BUSY_FACTOR
    await shop.settled(key, timeout_s=MENDED_S_MAX)
    assert time.monotonic() - began_s < SETTLED_AGAIN_S_MAX * BUSY_FACTOR


async def _until_mended(stack: RunningStack) -> dict[str, Any]:
    """Until both stores have two copies in sync again."""
    deadline_s = time.monotonic() + MENDED_S_MAX
    while True:
        stores: dict[str, Any] = await asyncio.to_thread(stack.json, "stores", "status")
        if all(document["state"] == "ok" for document in stores.values()):
            return stores
        assert time.monotonic() < deadline_s, stores
        await asyncio.sleep(0.3)
