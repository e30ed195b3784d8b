"""The load: it waits for nobody, repeats as good clients do, and writes everything down."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from loadtest.checker.loading import load_records
from loadtest.checker.records import OPERATIONS, EventType, OpKind
from loadtest.history.orders import OrderDrawing
from loadtest.history.plan import ACTION_WEIGHTS, LIFE_WEIGHTS, Action, LoadPlan, Storefront
from loadtest.history.running import Load, final_reads, run_load
from runtime.config import ConfigError
from tests.unit.loadtest.toy_gateway import ToyGateway

STOREFRONTS = (
    Storefront("mrc_one", "test", "key-one", ("seller_a",)),
    Storefront("mrc_two", "test", "key-two"),
)


def plan_for(gateway: ToyGateway, **changes: Any) -> LoadPlan:
    settings: dict[str, Any] = {
        "seed": 3,
        "seconds": 0.5,
        "gateway_urls": (gateway.url,),
        "storefronts": STOREFRONTS,
        "fingerprint_key": b"k" * 16,
        "rate_per_s": 150.0,
        **changes,
    }
    return LoadPlan(**settings)


async def loaded(gateway: ToyGateway, directory: Path, **changes: Any) -> Load:
    return await run_load(plan_for(gateway, **changes), directory, asyncio.Event())


async def test_every_operation_is_written_down_with_its_end(tmp_path: Path) -> None:
    """Each operation has one begin and one end, in time order, and says what was sent and answered."""
    async with ToyGateway() as gateway:
        # Long enough that the rarest of the reads, one in seventy actions, is not drawn by luck alone.
        load = await loaded(gateway, tmp_path, seconds=1.5, rate_per_s=250.0)
    history = load_records(tmp_path).history
    begun = [event.op for event in history if event.type is EventType.INVOKE]
    ended = [event.op for event in history if event.type is not EventType.INVOKE]
    assert sorted(begun) == sorted(ended) == list(range(1, load.op_count + 1))
    times = [event.at_ns for event in history]
    assert times == sorted(times)
    posts = [event for event in history if event.kind is OpKind.POST]
    assert all(event.fingerprint and event.amount_minor and event.token for event in posts)
    assert {event.kind for event in history} >= {OpKind.GET, OpKind.WALLET, OpKind.LIST}
    ends = [event for event in history if event.type is EventType.OK]
    first = {event.body_sha256: event.body for event in reversed(ends)}
    assert all(first.values())


async def test_the_load_repeats_conflicts_and_meets_neighbours(tmp_path: Path) -> None:
    """Keys are used again with the same order, with another order, and by another storefront."""
    async with ToyGateway() as gateway:
        load = await loaded(gateway, tmp_path, seconds=1.0, rate_per_s=250.0)
        assert gateway.seen["repeated"] > 0
        assert gateway.seen["reused"] > 0
    keys = Counter(key for _, _, key in load.sent)
    assert max(keys.values()) == 2
    amounts = [order.members["amount"] for order in load.sent.values()]
    assert len(set(amounts)) == len(amounts)


async def test_the_load_lives_on_with_its_payments(tmp_path: Path) -> None:
    """Captures, voids, refunds and checkouts are a fifth of it; each is sent in several ways, and again."""
    share = sum(LIFE_WEIGHTS.values()) / sum(ACTION_WEIGHTS.values())
    assert share == pytest.approx(0.2)
    async with ToyGateway() as gateway:
        load = await loaded(gateway, tmp_path, seconds=1.5, action_weights=LIFE_WEIGHTS)
        seen = gateway.seen.copy()
        assert await final_reads(load, 5.0)
        assert gateway.seen["operation_reused"] > 0
        assert gateway.seen["checkout_reused"] > 0
    history = load_records(tmp_path).history
    assert {event.kind for event in history} == set(OpKind) - {OpKind.LIST}
    asked = [event for event in history if event.kind in OPERATIONS]
    assert all(event.payment and event.key and event.fingerprint for event in asked)
    # What the books refuse ends as well: it is acknowledged, and followed by the final reads.
    refused = [event for event in asked if event.status == 422 and event.type is EventType.OK]
    assert refused
    assert load.living is not None
    assert {operation.kind for operation in load.living.accepted} == OPERATIONS
    for kind in OPERATIONS:
        assert gateway.seen[kind] > seen[kind]


async def test_arrivals_do_not_wait_for_answers(tmp_path: Path) -> None:
    """While a gateway is slow, what arrives is sent all the same, up to the bound."""
    async with ToyGateway(delay_s=0.5) as gateway:
        load = await loaded(gateway, tmp_path, in_flight_max=40)
        assert gateway.in_flight_max > 35
    assert load.counts["crowded_out"] > 0


async def test_an_unclear_answer_is_tried_again_with_the_same_key(tmp_path: Path) -> None:
    """A 503 that may run counts as unknown, and the same order is sent until it is answered."""
    async with ToyGateway(faults=5) as gateway:
        only = {Action.CREATE: 1}
        load = await loaded(gateway, tmp_path, action_weights=only, rate_per_s=40.0)
    events = load_records(tmp_path).history
    unclear = [event for event in events if event.type is EventType.INFO]
    assert len(unclear) == 5
    for event in unclear:
        later = [other for other in events if other.key == event.key and other.op > event.op]
        assert any(other.status == 201 for other in later)
    assert load.counts["actions"] > 0


async def test_a_gateway_that_is_gone_leaves_unknown_outcomes(tmp_path: Path) -> None:
    """Without an answer an operation ends as unknown, with the reason."""
    stop = asyncio.Event()
    async with ToyGateway(delay_s=5.0) as gateway:
        plan = plan_for(gateway, answer_s_max=0.2, seconds=0.3, tries_max=1)
        await run_load(plan, tmp_path, stop)
    posts = [
        event
        for event in load_records(tmp_path).history
        if event.kind is OpKind.POST and event.type is not EventType.INVOKE
    ]
    assert posts
    assert all(event.type is EventType.INFO and event.error for event in posts)


async def test_final_reads_ask_for_every_key(tmp_path: Path) -> None:
    """After a run each key is read to its end, and what has ended is posted once more."""
    async with ToyGateway() as gateway:
        load = await loaded(gateway, tmp_path)
        assert await final_reads(load, 5.0)
    records = load_records(tmp_path)
    assert records.is_final_complete
    read = {
        (event.merchant, event.mode, event.key)
        for event in records.history
        if event.kind is OpKind.GET
    }
    of_checkouts = {
        (event.merchant, event.mode, order.key)
        for event in records.history
        for order in event.orders
    }
    assert read == load.sent.keys() | of_checkouts


async def test_final_reads_that_get_no_answer_are_incomplete(tmp_path: Path) -> None:
    """Keys that nobody tells of are named, and the reads count as incomplete."""
    async with ToyGateway() as gateway:
        load = await loaded(gateway, tmp_path, seconds=0.3)
    assert not await final_reads(load, 0.1)
    assert load.living is not None
    asked = len(load.living.accepted) + len(load.living.checkouts)
    unread = json.loads((tmp_path / "final.json").read_bytes())["unread"]
    assert len(unread) == len(load.sent) + asked
    assert not load_records(tmp_path).is_final_complete


async def test_missing_files_are_named_and_nothing_is_raised(tmp_path: Path) -> None:
    """A run directory without some of its files loads, and says what is missing."""
    (tmp_path / "history.jsonl").write_text("no line of a history\n")
    records = load_records(tmp_path)
    assert any(each.startswith("history.jsonl: ") for each in records.unreadable)
    assert "books.json is missing" in records.unreadable


def test_charges_of_several_sellers_sum_and_keep_to_their_wallets() -> None:
    """Parts sum to their order; those that are given back are of wallets from which money goes anyway."""
    shop = Storefront("mrc_one", "test", "key-one", ("a", "b", "c", "d"))
    plan = LoadPlan(
        seed=1,
        seconds=1.0,
        gateway_urls=("http://127.0.0.1:1",),
        storefronts=(shop, STOREFRONTS[1]),
        fingerprint_key=b"k" * 16,
        split_share=1.0,
    )
    drawing = OrderDrawing(plan, random.Random(1))
    for order, sellers in (
        (drawing.new(shop), {"mrc_one", "a", "b"}),
        *((order, {"c", "d"}) for order in (drawing.living("manual") for _ in range(9))),
    ):
        parts = order.members.get("splits")
        if order.storefront is not shop:
            # It has one wallet alone.
            assert parts is None
            continue
        assert isinstance(parts, list)
        assert {part["seller"] for part in parts} == sellers
        assert sum(part["amount"] for part in parts) == order.amount_minor
        assert "seller" not in order.members


def test_a_plan_needs_two_storefronts() -> None:
    """With one storefront nobody's keys could meet another's."""
    with pytest.raises(ConfigError):
        LoadPlan(
            seed=1,
            seconds=1.0,
            gateway_urls=("http://127.0.0.1:1",),
            storefronts=STOREFRONTS[:1],
            fingerprint_key=b"k" * 16,
        )
