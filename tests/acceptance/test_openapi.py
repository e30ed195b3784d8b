"""The API's document on a real payment path: its examples are true, and schemathesis finds nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import aiohttp
import pytest

from gateway.openapi.declarations import Access
from tests.openapi.attack import attack
from tests.openapi.examples import difference, examples, play
from tests.poison_messages import append, damaged, genuine
from tests.rig import Rig
from tests.servers import SharedServers
from tests.unit.gateway.stack import GatewayStack

WEBHOOKS = 'webhook_secret_files = ["webhook"]\n'
# Of each route and phase. `python -m tests.openapi` looks longer.
EXAMPLES_SHORT = 5
EXAMPLES_LONG = 300


@pytest.fixture(scope="module")
def rig(servers: SharedServers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """A gateway with an owner, a simulator that sends webhooks, and one dead letter."""
    directory = tmp_path_factory.mktemp("openapi")
    (directory / "webhook").write_text("w" * 32, encoding="utf-8")
    with Rig(servers, directory, more_config=WEBHOOKS) as rig:
        rig.start_gateway("gateway-0")
        rig.start_host("host-0")
        asyncio.run(_ready(rig))
        yield rig


async def _ready(rig: Rig) -> None:
    await rig.until_ready()
    await rig.until_owned_by("host-0")
    command = await genuine(rig)
    await append(rig, command, damaged(command)["payload_malformed"])
    async with asyncio.timeout(10):
        while not (await rig.fetch("SELECT count(*) AS n FROM dead_letter"))[0]["n"]:
            await asyncio.sleep(0.1)


@pytest.fixture(scope="module")
def keys(rig: Rig) -> dict[Access, str]:
    """A merchant's and an operator's key."""
    return {
        Access.MERCHANT: rig.api_key,
        Access.OPERATOR: asyncio.run(rig.create_operator_key()),
    }


def test_every_example_is_answered_as_it_is_shown(rig: Rig, keys: dict[Access, str]) -> None:
    """Whoever copies a request from the document gets the answer that stands beside it."""

    async def play_all() -> dict[str, str]:
        routes = GatewayStack().gateway.documented_routes()
        async with aiohttp.ClientSession() as session:
            return {
                f"{route.declaration.name}: {example.name}": found
                for route, example in examples(routes)
                if (found := await play(session, rig.url, keys, route, example)) is not None
            }

    assert asyncio.run(play_all()) == {}


def test_a_running_payment_may_be_taken_in_before_its_answer() -> None:
    """Its owner's word can come before the copies': then the PSP and the attempt are there, and nothing else is."""
    shown = {"status": "processing", "psp": None, "attempts": 0}
    assert difference(shown, {**shown, "psp": "simulator", "attempts": 1}) is None
    assert difference(shown, {**shown, "attempts": 2}) == "$.attempts is 2 rather than 0"
    ended = {**shown, "status": "succeeded"}
    assert difference(ended, {**ended, "psp": "simulator"}) is not None


def test_schemathesis_finds_nothing(rig: Rig, keys: dict[Access, str]) -> None:
    """All checks, on requests that are good and bad by the document, in sequences and alone."""
    _attack(rig, keys, EXAMPLES_SHORT)


@pytest.mark.campaign
@pytest.mark.timeout(3_600)
def test_schemathesis_finds_nothing_for_long(rig: Rig, keys: dict[Access, str]) -> None:
    """The same, with many more requests of each route."""
    _attack(rig, keys, EXAMPLES_LONG)


def _attack(rig: Rig, keys: dict[Access, str], max_examples: int) -> None:
    by_role = {"merchant": keys[Access.MERCHANT], "operator": keys[Access.OPERATOR]}
    done = attack(rig.url, by_role, max_examples=max_examples, seed=1, timeout_s=3_500)
    assert done.returncode == 0, done.stdout
    assert '"error"' not in rig.log_of("gateway-0")
