"""The contract of dead letters, kept by the fake and by Postgres alike."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import asyncpg
import pytest

from payments.rows import LetterActionKind, LetterResult, LetterResultRow
from storage.connections import Connector
from storage.letters import PostgresLetters
from storage.ports import Flush, KnownOrders, SetAside
from storage.queue_ports import LetterAction
from storage.read_pool import ReadPool
from tests.books import PASSWORDS, copy_of_installed_books
from tests.contract.letters import a_letter
from tests.contract.shards import FakeShard, Host, PostgresShard, Shard
from tests.servers import SharedServers

DATABASE = "letters_contract"
FINGERPRINT = b"f" * 53


class Operator:
    """Writes actions as a gateway does."""

    def __init__(self, shard: Shard, admin_dsn: str = "") -> None:
        self._shard = shard
        self._admin_dsn = admin_dsn

    async def wants(self, dead_letter_no: int, *, is_replay: bool) -> int:
        """Returns the action's number."""
        if isinstance(self._shard, FakeShard):
            return self._shard.books.letters.want(dead_letter_no, is_replay=is_replay)
        connection = await asyncpg.connect(self._admin_dsn)
        try:
            number: int = await connection.fetchval(
                "WITH wanted AS (INSERT INTO dead_letter_action (dead_letter_no, partition_index,"
                " action, actor, reason) SELECT dead_letter_no, partition_index, $2, 'tests',"
                " 'because' FROM dead_letter WHERE dead_letter_no = $1"
                " RETURNING partition_index, action_no) INSERT INTO dead_letter_pending"
                " SELECT partition_index, action_no FROM wanted RETURNING action_no",
                dead_letter_no,
                1 if is_replay else 2,
            )
        finally:
            await connection.close()
        return number


@pytest.fixture(params=["fake", pytest.param("postgres", marks=pytest.mark.integration)])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Shard, Operator]]:
    """New books for each test."""
    if request.param == "fake":
        fake = FakeShard()
        yield fake, Operator(fake)
        return
    servers: SharedServers = request.getfixturevalue("servers")
    admin_dsn = await copy_of_installed_books(servers, DATABASE)
    postgres = PostgresShard(
        servers.dsn(DATABASE, role="tally_owner", password=PASSWORDS.owner), admin_dsn
    )
    yield postgres, Operator(postgres, admin_dsn)
    await postgres.close()


async def _set_aside(host: Host, order_uuid: UUID, *, reason: str = "payload_malformed") -> Flush:
    writer = await host.writer(1)
    flush = writer.take_in()
    flush.dead_letters.append(
        a_letter(
            1,
            order_uuid=order_uuid,
            fingerprint=FINGERPRINT,
            reason=reason,
            raw=b"raw of " + order_uuid.bytes,
        )
    )
    await host.ledger.lanes[0].append(flush)
    return writer.take_in()


async def test_an_order_that_was_set_aside_is_known(world: tuple[Shard, Operator]) -> None:
    """Until it is taken in, an owner finds it with its letter, one that ended its host held, and gateways find it."""
    shard, _ = world
    host = shard.host()
    free, held = uuid4(), uuid4()
    await _set_aside(host, free)
    await _set_aside(host, held, reason="kills_host")
    asked = [(1, free), (1, held), (2, free)]
    if isinstance(shard, PostgresShard):
        assert await shard.queries().known_orders(asked) == {free, held}
    known = await host.ledger.known_orders(asked)
    assert known == KnownOrders(
        {}, {free: SetAside(1, FINGERPRINT, False), held: SetAside(2, FINGERPRINT, True)}
    )


async def test_a_letter_is_kept_once_however_it_comes_again(world: tuple[Shard, Operator]) -> None:
    """Read again, or sent again under the same order with another stream id: one letter, one order."""
    shard, _ = world
    host = shard.host()
    order_uuid = uuid4()
    for stream_id in ("5-0", "5-0", "9-1"):
        writer = await host.writer(1)
        flush = writer.take_in()
        # A copy may also come in the same flush.
        letter = a_letter(1, stream_id=stream_id, order_uuid=order_uuid)
        flush.dead_letters += [letter, letter._replace(stream_id="7-7")]
        await host.ledger.lanes[0].append(flush)
    assert await shard.count("dead_letter") == await shard.count("set_aside_order") == 1
    known = await host.ledger.known_orders([(1, order_uuid)])
    assert known.set_aside == {order_uuid: SetAside(1, None, False)}


async def test_a_damaged_copy_of_an_order_in_the_books_is_a_letter_alone(
    world: tuple[Shard, Operator],
) -> None:
    """What the books hold stays as it is."""
    shard, _ = world
    host = shard.host()
    writer = await host.writer(1)
    await host.ledger.lanes[0].append(writer.take_in(1))
    flush = writer.take_in()
    flush.dead_letters.append(a_letter(1, order_uuid=writer.order_uuid(1)))
    await host.ledger.lanes[0].append(flush)
    assert await shard.count("dead_letter") == 1
    assert await shard.count("set_aside_order") == 0


async def test_actions_wait_until_they_have_a_result(world: tuple[Shard, Operator]) -> None:
    """The oldest action of each letter is pending, in its partition, until its result is written once."""
    shard, operator = world
    host = shard.host()
    later = await _set_aside(host, uuid4())
    first = await operator.wants(1, is_replay=True)
    second = await operator.wants(1, is_replay=False)
    (pending,) = await host.ledger.pending_actions([1, 2], count_max=9)
    # The letter's bytes are no message here: that shows, too.
    expected = LetterAction(first, 1, 1, True, "5-0", None, False)
    assert pending == expected
    assert await host.ledger.pending_actions([2], count_max=9) == []
    result = LetterResultRow(first, 1, 1, 2, LetterResult.DISCARDED, "")
    later.letter_results += [result]
    await host.ledger.lanes[0].append(later)
    (pending,) = await host.ledger.pending_actions([1], count_max=9)
    assert pending == expected._replace(action_no=second, is_replay=False, is_closed=True)


async def test_a_discarded_order_is_held(world: tuple[Shard, Operator]) -> None:
    """No later message of the stream takes it in."""
    shard, operator = world
    host = shard.host()
    order_uuid = uuid4()
    later = await _set_aside(host, order_uuid)
    action_no = await operator.wants(1, is_replay=False)
    later.letter_results.append(LetterResultRow(action_no, 1, 1, 2, LetterResult.DISCARDED, ""))
    await host.ledger.lanes[0].append(later)
    known = await host.ledger.known_orders([(1, order_uuid)])
    assert known.set_aside == {order_uuid: SetAside(1, FINGERPRINT, True)}


@pytest.mark.integration
async def test_what_a_gateway_wants_waits_for_its_owner(servers: SharedServers) -> None:
    """An action is pending as soon as it is written, once, and gone from there with its result."""
    admin_dsn = await copy_of_installed_books(servers, DATABASE)
    shard = PostgresShard(
        servers.dsn(DATABASE, role="tally_owner", password=PASSWORDS.owner), admin_dsn
    )
    gateway = servers.dsn(DATABASE, role="tally_gateway", password=PASSWORDS.gateway)
    pool = ReadPool(Connector(gateway, application_name="tests"), session_count_max=1)
    try:
        host = shard.host()
        order = uuid4()
        later = await _set_aside(host, order)
        letters = PostgresLetters(pool)
        behind = await letters.of_order(1, order)
        assert behind is not None
        assert (behind.dead_letter_no, behind.order_uuid) == (1, order)
        assert await letters.of_order(1, uuid4()) is None
        assert await letters.want(1, LetterActionKind.DISCARD, actor="tests", reason="because")
        assert not await letters.want(1, LetterActionKind.REPLAY, actor="tests", reason="too late")
        (pending,) = await host.ledger.pending_actions([1], count_max=9)
        assert (pending.action_no, pending.is_replay) == (1, False)
        later.letter_results.append(LetterResultRow(1, 1, 1, 2, LetterResult.DISCARDED, ""))
        await host.ledger.lanes[0].append(later)
        assert await shard.count("dead_letter_pending") == 0
        assert await host.ledger.pending_actions([1], count_max=9) == []
    finally:
        await pool.close()
        await shard.close()
