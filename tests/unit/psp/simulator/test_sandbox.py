"""The sandbox without a transport: twins, locks, and what is told while a request runs."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime

import msgspec
import pytest

from psp.simulator.__main__ import config_of
from psp.simulator.pages import money_text
from psp.simulator.records import Record
from psp.simulator.sandbox import Sandbox, scenario_changed
from psp.simulator.state import SandboxState
from psp.simulator.wire import ChangeKind, ChargeRequest, Scenario

APPROVE = ChargeRequest(amount=100, currency="USD", token="tok_approve")


class StillClock:
    """Always the same moment."""

    def monotonic_s(self) -> float:
        return 0.0

    def now(self) -> datetime:
        return datetime(2026, 1, 2, tzinfo=UTC)


@dataclass
class Gate:
    """A disk that finishes its fsync when the test says so."""

    state: SandboxState = field(default_factory=lambda: SandboxState(seed=1))
    open: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.sandbox = Sandbox(
            self.state,
            append=self.append,
            clock=StillClock(),
            sleep=asyncio.sleep,
            public_url="",
            scenario=Scenario(),
        )

    async def append(self, record: Record) -> None:
        await self.open.wait()
        self.state.apply(record)


async def charged(gate: Gate, key: str) -> str:
    """Charge under a key and return the reference."""
    decision = await gate.sandbox.charge(key, APPROVE)
    assert decision.reply is not None
    assert decision.reply.body.reference is not None
    return decision.reply.body.reference


async def test_a_charge_that_is_not_durable_yet_is_told_to_nobody() -> None:
    """Until its record is durable, twins get 409, queries too, and the oracle is empty."""
    gate = Gate()
    first = asyncio.create_task(gate.sandbox.charge("k", APPROVE))
    await asyncio.sleep(0)
    twin = await gate.sandbox.charge("k", APPROVE)
    canceled = await gate.sandbox.cancel("k")
    asked = await gate.sandbox.query("k")
    assert twin.reply is not None
    assert canceled.reply is not None
    assert [twin.reply.status, canceled.reply.status, asked.status] == [409, 409, 409]
    assert list(gate.state.oracle_rows()) == []
    gate.open.set()
    done = await first
    assert done.reply == await gate.sandbox.query("k")
    assert len(list(gate.state.oracle_rows())) == 1


async def test_a_change_waits_its_turn_at_the_charge() -> None:
    """While one refund runs, another of the same charge is told that it did not run."""
    gate = Gate()
    gate.open.set()
    reference = await charged(gate, "k")
    gate.open.clear()
    first = asyncio.create_task(gate.sandbox.change("r1", reference, ChangeKind.REFUND, 60))
    await asyncio.sleep(0)
    second = await gate.sandbox.change("r2", reference, ChangeKind.REFUND, 60)
    assert second.reply is not None
    assert (second.reply.status, second.reply.body.code) == (429, "lock_timeout")
    gate.open.set()
    await first
    late = await gate.sandbox.change("r2", reference, ChangeKind.REFUND, 60)
    assert late.reply is not None
    assert late.reply.body.decline_code == "amount_above_captured"


async def test_a_canceled_request_leaves_no_second_chance_before_its_record_is_durable() -> None:
    """A handler canceled during the fsync keeps its key held: a twin must not charge beside it."""
    gate = Gate()
    first = asyncio.create_task(gate.sandbox.charge("k", APPROVE))
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    gate.open.set()
    twin = await gate.sandbox.charge("k", APPROVE)
    assert twin.reply is not None
    assert twin.reply.status == 409


async def test_a_request_canceled_while_it_thinks_frees_its_key() -> None:
    """Nothing was decided yet, so the next request with the key runs."""
    gate = Gate()
    gate.open.set()
    gate.sandbox.scenario = Scenario(latency_ms_median=60_000)
    first = asyncio.create_task(gate.sandbox.charge("k", APPROVE))
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    gate.sandbox.scenario = Scenario()
    assert (await charged(gate, "k")).startswith("ch_")


def test_a_scenario_changes_by_the_fields_that_are_named() -> None:
    """Fields that aren't named stay; unknown ones and values out of range are refused."""
    slow = scenario_changed(Scenario(down=True), b'{"latency_ms_median": 20}')
    assert slow == Scenario(down=True, latency_ms_median=20)
    for wrong in (b'{"dwon": true}', b'{"down": 1}', b"[]", b"{"):
        with pytest.raises(msgspec.MsgspecError):
            scenario_changed(slow, wrong)


def test_the_command_line_names_latency_seed_and_data() -> None:
    """A fixed latency has no spread; a distribution has its median and shape."""
    fixed = config_of(["--port", "0", "--data", "d", "--latency-ms", "7"])
    assert fixed.scenario == Scenario(latency_ms_median=7)
    drawn = ["--latency-ms-median", "40", "--latency-ms-sigma", "0.4", "--seed", "9"]
    spread = config_of(["--port", "0", "--data", "d", *drawn])
    assert spread.scenario == Scenario(latency_ms_median=40, latency_ms_sigma=0.4)
    assert spread.seed == 9
    for wrong in (["--seed", "-1"], ["--latency-ms", "-1"]):
        with pytest.raises(SystemExit):
            config_of(["--port", "0", "--data", "d", *wrong])


@pytest.mark.parametrize(
    ("amount_minor", "currency", "text"),
    [(1_999, "USD", "19.99"), (5, "KWD", "0.005"), (123_456, "JPY", "123,456"), (7, "???", "7")],
)
def test_the_page_writes_amounts_with_their_currencys_decimals(
    amount_minor: int, currency: str, text: str
) -> None:
    """Amounts on the page have as many decimals as ISO 4217 gives the currency."""
    assert money_text(amount_minor, currency) == text
