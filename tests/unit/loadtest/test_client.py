"""The client under faults: what its run would find, and what its processes write down."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from loadtest.client.job import (
    ClientJob,
    Kind,
    Met,
    Paid,
    amount_minor,
    paid_path,
    read_lines,
    token,
)
from loadtest.client.judging import Captured, violations
from loadtest.client.paying import Storefront, pay_all_sync
from loadtest.client.running import PATTERNS, SHORT_PATTERNS, cells
from tests.unit.clients.scripted_server import Reply, ScriptedServer, answer

CARTS = [0, 1, 2]
KEYS = {0: "key-0", 1: "key-1", 2: "key-2"}
PAID = [Paid(cart=cart, payment_id=KEYS[cart], status="succeeded", call_count=1) for cart in CARTS]
CAPTURED = [Captured(KEYS[cart], amount_minor(cart)) for cart in CARTS]


def test_a_good_run_has_no_violation() -> None:
    """Each cart paid under its kept key and charged once; told twice by two processes is still once."""
    assert violations(CARTS, [*PAID, PAID[0]], KEYS, CAPTURED) == []


@pytest.mark.parametrize(
    ("paid", "keys", "captured", "found"),
    [
        (PAID[1:], KEYS, CAPTURED, "1 carts never came to an end: [0]"),
        (PAID, KEYS, [*CAPTURED, CAPTURED[1]], "1 carts were not charged once: [1]"),
        (PAID, KEYS, CAPTURED[1:], "1 carts were not charged once: [0]"),
        (
            PAID,
            KEYS,
            [Captured("key-0", 5), *CAPTURED[1:]],
            "1 carts were charged another amount: [0]",
        ),
        (PAID, KEYS, [*CAPTURED, Captured("x", 1)], "1 charges of keys that no cart has: ['x']"),
        (PAID, {0: "key-0", 1: "key-1"}, CAPTURED, "1 carts have no key in the store: [2]"),
        (
            [*PAID, Paid(cart=0, payment_id="another", status="succeeded", call_count=1)],
            KEYS,
            CAPTURED,
            "1 carts have several ends: [0]",
        ),
        (
            [*PAID[1:], Paid(cart=0, payment_id="key-0", status="failed", call_count=1)],
            KEYS,
            CAPTURED,
            "1 carts did not succeed: [0]",
        ),
        (
            [*PAID[1:], Paid(cart=0, payment_id="another", status="succeeded", call_count=1)],
            KEYS,
            CAPTURED,
            "1 carts were paid under another key than the one that was kept: [0]",
        ),
    ],
)
def test_what_is_wrong_is_found(
    paid: list[Paid], keys: dict[int, str], captured: list[Captured], found: str
) -> None:
    """A charge too many, one too few, one of another amount or key: each is told with its carts."""
    assert found in violations(CARTS, paid, keys, captured)


def test_every_pattern_names_a_fault() -> None:
    """The run breaks what it says: a pattern that fits no cell would be a fault that is never made."""
    names = [cell.name for cell in cells()]
    assert all(any(_fits(name, pattern) for name in names) for pattern in PATTERNS)
    short = [cell.name for cell in cells(SHORT_PATTERNS)]
    assert sorted(short) == sorted(SHORT_PATTERNS)
    assert set(short) <= set(names)
    assert "kill/gateway/after_append" in names
    assert "network/client->gateway/reset" in names


def _fits(name: str, pattern: str) -> bool:
    return fnmatchcase(name, pattern)


def test_amounts_tell_carts_apart() -> None:
    """A charge names its cart by its amount, and every token ends as succeeded."""
    assert len({amount_minor(cart) for cart in range(10_000)}) == 10_000
    assert {token(cart) for cart in range(200)} == {
        "tok_approve",
        "tok_slow_300",
        "tok_error_500",
        "tok_charge_then_timeout",
        "tok_rate_limited",
    }


def test_a_line_that_was_cut_off_counts_for_nothing(tmp_path: Path) -> None:
    """A process that is killed while it writes leaves its cart to the next one."""
    path = paid_path(tmp_path, "a")
    path.write_bytes(
        b'{"cart":1,"payment_id":"k","status":"succeeded","call_count":1}\n{"cart":2,"paym'
    )
    assert [line.cart for line in read_lines([path], Paid) if isinstance(line, Paid)] == [1]
    assert read_lines([tmp_path / "nothing"], Met) == []


def test_a_process_pays_its_carts_and_tells_what_it_met(tmp_path: Path) -> None:
    """Resets on the way are written down, and every cart comes to its end."""
    payment = {"id": "k", "status": "succeeded"}
    with ScriptedServer(Reply(is_reset=True), answer(201, payment)) as server:
        job = ClientJob(
            url=server.url,
            api_key="sk_test_a",
            kind=Kind.SYNC,
            store_path=str(tmp_path / "keys.db"),
            directory=str(tmp_path),
            name="a",
            carts=[4, 5],
            rate_per_s=100.0,
        )
        pay_all_sync(Storefront(job))
        assert len(set(server.keys)) == 2
    lines = read_lines([paid_path(tmp_path, "a")], Paid)
    assert sorted(line.cart for line in lines if isinstance(line, Paid)) == [4, 5]
    met = read_lines([tmp_path / "a.met.jsonl"], Met)
    assert met == [Met(what="NotReached", is_final=False)]
