"""Messages that nobody can take in, among good ones: each is set aside once, the others are paid."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import asyncpg
import pytest

from ops.unparking import unpark_payment
from payments.identity import dead_letter_id
from storage.envelope import encode_command
from tests.poison_messages import append, damaged, genuine
from tests.rig import PASSWORDS, Rig
from tests.servers import SharedServers
from tests.shop import open_shop, successful_charges

NEIGHBOUR_COUNT = 200


@pytest.fixture(scope="module")
def rig(servers: SharedServers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """A gateway and a host, for the whole module."""
    with Rig(servers, tmp_path_factory.mktemp("poison")) as rig:
        rig.start_gateway("gateway-0")
        rig.start_host("host-0")
        asyncio.run(rig.until_owned_by("host-0"))
        asyncio.run(rig.until_ready())
        yield rig


async def test_one_of_each_damage_is_set_aside_and_its_neighbours_are_paid(rig: Rig) -> None:
    """Every class of damage makes one letter with its reason, and one order that answers as processing."""
    merchant_id, api_key = await rig.create_merchant("Neighbours")
    keys = [uuid4() for _ in range(NEIGHBOUR_COUNT)]
    bad: dict[str, UUID] = {}
    async with open_shop(rig.url, api_key) as shop:
        half = [asyncio.create_task(shop.post(key)) for key in keys[: NEIGHBOUR_COUNT // 2]]
        for reason in damaged(await genuine(rig)):
            command = await genuine(rig)
            bad[reason] = command.idempotency_key
            # Twice, as a gateway does that sends again after a promotion.
            for _ in range(2):
                await append(rig, command, list(damaged(command)[reason]))
        answers = await asyncio.gather(*half, *map(shop.post, keys[NEIGHBOUR_COUNT // 2 :]))
    assert all(answer.is_accepted for answer in answers)
    await rig.until_ended(merchant_id, NEIGHBOUR_COUNT)
    assert await successful_charges(rig.simulator.url, merchant_id) == {str(key): 1 for key in keys}
    rows = await rig.fetch("SELECT reason FROM dead_letter")
    assert Counter(row["reason"] for row in rows) == Counter(bad.keys())
    async with open_shop(rig.url, rig.api_key) as shop:
        for reason, key in bad.items():
            shown = await shop.get(f"/v1/payments/{key}")
            assert shown.status == 200, reason
            assert (shown.body["status"], shown.body["amount"]) == ("processing", None)
            assert shown.body["id"] == str(key)
    assert not await successful_charges(rig.simulator.url, rig.merchant_id)


async def test_operators_replay_and_discard(rig: Rig) -> None:
    """A replay of what is still damaged is refused, a discard fails the order for good; both are audited."""
    operator = await rig.create_operator_key()
    command = await genuine(rig)
    await append(rig, command, list(damaged(command)["payload_malformed"]))
    letter = await _letter_of(rig, command.order_uuid)
    path = f"/v1/dead_letters/{dead_letter_id(letter['dead_letter_no'])}"
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {operator}"}) as http:
        status, shown = await _ask(http, "GET", rig.url + path)
        assert (status, shown["state"]) == (200, "waiting")
        status, _ = await _ask(http, "POST", f"{rig.url}{path}/replay", {"reason": "try it"})
        assert status == 202
        shown = await _until_state(http, rig.url + path, "waiting")
        assert shown["refusal"].startswith("payload_malformed")
        assert shown["attempts"] == 2
        status, _ = await _ask(http, "POST", f"{rig.url}{path}/discard", {"reason": "give up"})
        assert status == 202
        await _until_state(http, rig.url + path, "discarded")
        status, _ = await _ask(http, "POST", f"{rig.url}{path}/discard", {"reason": "again"})
        assert status == 200
        status, problem = await _ask(http, "POST", f"{rig.url}{path}/replay", {"reason": "no"})
        assert (status, problem["code"]) == (409, "dead_letter_closed")
    async with open_shop(rig.url, rig.api_key) as shop:
        failed = await shop.settled(command.idempotency_key)
        assert failed["failure"]["code"] == "order_discarded"
        # A readable copy of it changes nothing any more.
        await append(rig, command, list(encode_command(command)))
        await asyncio.sleep(0.5)
        assert (await shop.settled(command.idempotency_key)) == failed
    audited = await rig.fetch(
        "SELECT action, detail->>'reason' AS reason FROM audit WHERE subject = $1 ORDER BY audit_no",
        str(letter["dead_letter_no"]),
    )
    assert [tuple(row) for row in audited] == [
        ("dead_letter.replay", "try it"),
        ("dead_letter.discard", "give up"),
    ]


async def test_a_readable_copy_heals_an_order(rig: Rig) -> None:
    """The same request once more, whole: the order that was set aside is paid, once."""
    command = await genuine(rig)
    await append(rig, command, list(damaged(command)["payload_malformed"]))
    await _letter_of(rig, command.order_uuid)
    await append(rig, command, list(encode_command(command)))
    async with open_shop(rig.url, rig.api_key) as shop:
        paid = await shop.settled(command.idempotency_key)
    assert (paid["status"], paid["amount"]) == ("succeeded", command.amount_minor)
    charges = await successful_charges(rig.simulator.url, rig.merchant_id)
    assert charges == {str(command.idempotency_key): 1}


async def test_an_operator_lets_a_parked_payment_go_on(rig: Rig) -> None:
    """`tally payments unpark`: its owner takes it up again, with what the PSP says of it; audited once."""
    key = uuid4()
    async with open_shop(rig.url, rig.api_key) as shop:
        posted = await shop.post(key, token="tok_3ds", wait_s=10)
        assert posted.body["status"] == "requires_action"
        refusal = await unpark_payment(rig.config, key, reason="none", timeout_s=1)
        assert refusal == f"payment {key} is not parked"
        # As the owner does when its child has ended over the order, and it has died since.
        await rig.fetch(
            "WITH quieted AS (DELETE FROM timer USING payment_order AS o WHERE o.idempotency_key = $1"
            " AND (timer.partition_index, timer.order_no) = (o.partition_index, o.order_no))"
            " INSERT INTO parked_order (partition_index, order_no, reason, detail)"
            " SELECT partition_index, order_no, 'kills_host', '' FROM payment_order"
            " WHERE idempotency_key = $1",
            key,
        )
        rig.processes[-1].kill()
        rig.processes[-1].wait(10)
        rig.start_host("host-1")
        await rig.until_owned_by("host-1")
        assert await unpark_payment(rig.config, key, reason="mended", timeout_s=20) is True
        async with aiohttp.ClientSession() as buyer:
            page = posted.body["next_action"]["url"]
            async with buyer.post(page, data={"decision": "complete"}) as answer:
                assert answer.status == 200
        assert (await shop.settled(key))["status"] == "succeeded"
    audited = await rig.fetch(
        "SELECT detail->>'reason' AS reason FROM audit WHERE action = 'order.unpark'"
    )
    assert [row["reason"] for row in audited] == ["mended"]


@pytest.mark.parametrize("role", ["gateway", "owner"])
async def test_the_audit_only_grows(rig: Rig, role: str) -> None:
    """No role of a process may change, delete or truncate what was audited, or what became of letters."""
    password = getattr(PASSWORDS, role)
    connection = await asyncpg.connect(
        rig.servers.dsn(rig.database, role=f"tally_{role}", password=password)
    )
    try:
        for table in ("audit", "dead_letter", "dead_letter_action", "dead_letter_result"):
            for statement in (
                f"UPDATE {table} SET {'actor' if table == 'audit' else 'partition_index'} = NULL",
                f"DELETE FROM {table}",
                f"TRUNCATE {table} CASCADE",
            ):
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await connection.execute(statement)
    finally:
        await connection.close()


async def _letter_of(rig: Rig, order_uuid: UUID) -> asyncpg.Record:
    async with asyncio.timeout(10):
        while True:
            rows = await rig.fetch("SELECT * FROM dead_letter WHERE order_uuid = $1", order_uuid)
            if rows:
                return rows[0]
            await asyncio.sleep(0.05)


async def _ask(
    http: aiohttp.ClientSession, method: str, url: str, body: object = None
) -> tuple[int, dict[str, Any]]:
    async with http.request(method, url, json=body) as response:
        return response.status, await response.json(content_type=None)


async def _until_state(http: aiohttp.ClientSession, url: str, state: str) -> dict[str, Any]:
    async with asyncio.timeout(10):
        while True:
            _, shown = await _ask(http, "GET", url)
            if shown["state"] == state:
                return shown
            await asyncio.sleep(0.05)
