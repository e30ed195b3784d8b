"""`tally verify` on real processes: while payments are made, and after the PSP's own log was rewritten."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

import pytest
from rich.console import Console

from ops.verify.progress import VerifyProgress
from ops.verify.report import Report, State
from ops.verify.verification import step_count, verify
from tests.acceptance.conftest import StackFactory
from tests.acceptance.running_stack import RunningStack
from tests.rig import Rig
from tests.servers import SharedServers
from tests.shop import Shop, open_shop

_FRAME = re.compile(rb"#[0-9]+ [0-9a-f]{8}\n")

TOKENS = (
    "tok_approve",
    "tok_approve",
    "tok_decline_do_not_honor",
    "tok_charge_then_timeout",
    "tok_3ds",
)

SHOPPERS = 24
LOOKS = 5


@pytest.fixture(scope="module")
def rig(servers: SharedServers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """A gateway, two hosts, and a PSP that takes its time, so that something is always on its way."""
    directory: Path = tmp_path_factory.mktemp("verify")
    with Rig(servers, directory, simulator=("--latency-ms", "30")) as rig:
        rig.start_gateway()
        for name in ("host-0", "host-1"):
            rig.start_host(name)
        asyncio.run(rig.until_owned_by("host-0", "host-1"))
        asyncio.run(rig.until_ready())
        yield rig


async def verified(rig: Rig) -> Report:
    with VerifyProgress(Console(quiet=True), step_count=step_count(rig.config)) as progress:
        return await verify(rig.config, progress)


async def post_for_ever(shop: Shop, shopper: int) -> None:
    for turn in range(shopper, 1_000_000):
        await shop.post(amount_minor=500 + turn, token=TOKENS[turn % len(TOKENS)])


async def test_books_are_whole_while_payments_are_made(rig: Rig) -> None:
    """Under load every look is green; what was charged since the snapshot is in flight, not a violation."""
    in_flight, open_count = 0, 0
    async with open_shop(rig.url, rig.api_key) as shop:
        shoppers = [asyncio.create_task(post_for_ever(shop, n)) for n in range(SHOPPERS)]
        try:
            for _ in range(LOOKS):
                await asyncio.sleep(0.5)
                report = await verified(rig)
                assert [check for check in report.checks if check.is_red] == []
                assert report.is_ok
                in_flight += report.charges_of_open_orders + report.charges_of_newer_orders
                open_count += int(report.snapshot["open_order_count"] or 0)
        finally:
            for shopper in shoppers:
                shopper.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await shopper
    assert in_flight > 0
    assert open_count > 0


async def test_a_rewritten_log_of_the_psp_is_found_out(rig: Rig) -> None:
    """A charge cut out of the simulator's log, its sums made right again, is missed by the books."""
    async with open_shop(rig.url, rig.api_key) as shop:
        answer = await shop.post(amount_minor=777_001, wait_s=20)
        assert answer.body["status"] == "succeeded"
    assert (await verified(rig)).is_ok
    rig.simulator.kill()
    log = rig.directory / "psp" / "charges.ndjson"
    records = [
        line
        for line in _FRAME.sub(b"", log.read_bytes()).splitlines(keepends=True)
        if str(answer.key).encode() not in line
    ]
    payload = b"".join(records)
    log.write_bytes(b"#%d %08x\n" % (len(payload), crc32(payload)) + payload)
    rig.restart_simulator()
    report = await verified(rig)
    assert not report.is_ok
    missed = next(
        check for check in report.checks if check.name == "transfers_are_charged:simulator"
    )
    assert (missed.state, missed.violations) == (State.FAILED, 1)
    assert missed.first is not None
    assert missed.first.story["order"][0]["idempotency_key"] == str(answer.key)


def test_the_command_is_green_on_a_stack_and_says_so_to_programs(stack: RunningStack) -> None:
    """`tally verify` exits with 0 on a right stack; its JSON has a state for every check."""
    paid = stack.tally("pay", "--amount", "1234")
    assert paid.returncode == 0, paid.stderr
    document = stack.json("verify")
    assert document["ok"] is True
    assert {check["state"] for check in document["checks"]} == {"passed"}
    assert document["peak_memory_bytes"] > 0
    shown = stack.tally("verify")
    assert shown.returncode == 0, shown.stderr
    assert "The books are whole" in shown.stdout


def test_filled_books_are_whole_and_a_stack_goes_on_with_them(stack_factory: StackFactory) -> None:
    """`python -m loadtest.books` leaves books and a PSP's record behind that a stack takes for its own."""
    stack = stack_factory()
    filled = subprocess.run(
        [
            *(sys.executable, "-P", "-m", "loadtest.books", "--home", str(stack.home)),
            *("--orders", "300", "--sellers", "5", "--declined", "0.1"),
        ],
        capture_output=True,
        check=True,
        timeout=120,
    )
    assert json.loads(filled.stdout)["orders"] == 300
    stack.up("--hosts-without-ray")
    document = stack.json("verify")
    checked = {check["name"]: check["checked"] for check in document["checks"]}
    assert document["ok"] is True
    assert checked["order_identities"] == checked["oracle:simulator"] == 301
