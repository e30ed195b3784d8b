"""The contract of evidence, kept by the fake and by Postgres alike."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import UUID

import asyncpg
import pytest

from payments.attempts import ResultClass
from payments.evidence import Evidence, EvidenceSource
from payments.identity import psp_key
from payments.lifecycle import PaymentState
from payments.rows import EvidenceResultRow, EvidenceVerdict, ProgressRow
from storage.connections import Connector
from storage.evidence import AttemptKey, EvidenceResult, PostgresEvidence, Saying
from storage.open_payments import PostgresOpenPayments
from storage.read_pool import ReadPool
from tests.books import PASSWORDS, copy_of_installed_books
from tests.contract.shards import FakeShard, Host, PostgresShard, Shard
from tests.servers import SharedServers

DATABASE = "evidence_contract"


class Witness:
    """Gives evidence as the command line does."""

    def __init__(self, shard: Shard, pool: ReadPool | None = None) -> None:
        self._shard = shard
        self.pool = pool

    async def says(self, key: tuple[int, int], result: ResultClass, *, attempt_no: int = 1) -> int:
        """Returns the evidence's number."""
        if self.pool is None:
            assert isinstance(self._shard, FakeShard)
            return self._shard.books.evidence.give(key, result=result, attempt_no=attempt_no)
        (number,) = await PostgresEvidence(self.pool).give(
            [saying(key, result, attempt_no)], actor="tests", text="seen at the PSP"
        )
        return number


def saying(key: tuple[int, int], result: ResultClass, attempt_no: int = 1) -> Saying:
    return Saying(*key, attempt_no, EvidenceSource.OPERATOR, result, None, 0, None, None)


@pytest.fixture(params=["fake", pytest.param("postgres", marks=pytest.mark.integration)])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Shard, Witness]]:
    """New books for each test."""
    if request.param == "fake":
        fake = FakeShard()
        yield fake, Witness(fake)
        return
    servers: SharedServers = request.getfixturevalue("servers")
    admin_dsn = await copy_of_installed_books(servers, DATABASE)
    owner = servers.dsn(DATABASE, role="tally_owner", password=PASSWORDS.owner)
    gateway = servers.dsn(DATABASE, role="tally_gateway", password=PASSWORDS.gateway)
    postgres = PostgresShard(owner, admin_dsn)
    pool = ReadPool(Connector(gateway, application_name="tests"), session_count_max=1)
    yield postgres, Witness(postgres, pool)
    await pool.close()
    await postgres.close()


async def an_unknown(host: Host, partition_index: int = 1) -> None:
    """The partition's first order is open, and its outcome unknown."""
    writer = await host.writer(partition_index)
    await host.ledger.lanes[0].append(writer.take_in())
    flush = writer.take_in()
    flush.progress.append(
        ProgressRow(
            partition_index, 1, PaymentState.PROCESSING, False, 1, 1, None, None, None, None, None
        )
    )
    await host.ledger.lanes[0].append(flush)


async def test_evidence_waits_until_it_has_a_result(world: tuple[Shard, Witness]) -> None:
    """It is pending in its partition, oldest first, until the first result of it is written."""
    shard, witness = world
    host = shard.host()
    await an_unknown(host)
    first = await witness.says((1, 1), ResultClass.APPROVED)
    second = await witness.says((1, 1), ResultClass.DECLINED_FINAL)
    assert await host.ledger.pending_evidence([2], count_max=9) == []
    pending = await host.ledger.pending_evidence([1, 2], count_max=9)
    expected = Evidence(
        first, 1, 1, 1, EvidenceSource.OPERATOR, ResultClass.APPROVED, None, 0, None, None
    )
    later = expected._replace(evidence_no=second, result=ResultClass.DECLINED_FINAL)
    assert pending == [expected, later]
    assert await host.ledger.pending_evidence([1], count_max=1) == [expected]
    writer = await host.writer(1)
    flush = writer.take_in()
    result = EvidenceResultRow(first, 1, 3, EvidenceVerdict.ACCEPTED, "")
    # Offered twice, it may be decided twice in one flush.
    flush.evidence_results += [
        result,
        result._replace(result=EvidenceVerdict.REFUSED, detail="it ended"),
    ]
    await host.ledger.lanes[0].append(flush)
    assert await host.ledger.pending_evidence([1], count_max=9) == [later]
    assert await shard.count("evidence_result") == 1
    if witness.pool is not None:
        results = await PostgresEvidence(witness.pool).results([first, second])
        assert results == {first: EvidenceResult(EvidenceVerdict.ACCEPTED, "")}


async def _are_listed(servers: SharedServers, unknown: UUID) -> None:
    """The read-only role lists open payments oldest first, or those of unknown outcome alone."""
    reader = servers.dsn(DATABASE, role="tally_reader", password=PASSWORDS.reader)
    pool = ReadPool(Connector(reader, application_name="tests"), session_count_max=1)
    try:
        store = PostgresOpenPayments(pool)
        (one,) = await store.oldest(is_unknown=True, count_max=9)
        assert (one.order_uuid, one.status, one.is_outcome_known) == (unknown, "processing", False)
        every = await store.oldest(is_unknown=False, count_max=9)
        assert {payment.order_uuid for payment in every} > {unknown}
        assert await store.count(is_unknown=True) == 1
        assert await store.count(is_unknown=False) == len(every)
        assert len(await store.oldest(is_unknown=False, count_max=1)) == 1
    finally:
        await pool.close()


@pytest.mark.integration
async def test_only_unknown_attempts_take_evidence(servers: SharedServers) -> None:
    """Evidence of an order that is not open and unknown is not written; what is, is audited."""
    admin_dsn = await copy_of_installed_books(servers, DATABASE)
    owner = servers.dsn(DATABASE, role="tally_owner", password=PASSWORDS.owner)
    gateway = servers.dsn(DATABASE, role="tally_gateway", password=PASSWORDS.gateway)
    shard = PostgresShard(owner, admin_dsn)
    pool = ReadPool(Connector(gateway, application_name="tests"), session_count_max=1)
    try:
        host = shard.host()
        await an_unknown(host)
        store = PostgresEvidence(pool)
        charged = ResultClass.APPROVED
        said = [saying((1, 1), charged), saying((1, 2), charged), saying((1, 1), charged, 2)]
        (number,) = await store.give(said, actor="somebody", text="seen at the PSP")
        (audited,) = await shard.ask("SELECT actor, action, subject, detail FROM audit")
        (order,) = await shard.ask("SELECT order_uuid FROM payment_order WHERE order_no = 1")
        assert audited["actor"] == "somebody"
        assert audited["subject"] == str(order["order_uuid"])
        assert f'"evidence_no": {number}' in audited["detail"]
        key = AttemptKey(1, order["order_uuid"], None)
        found = await store.attempts([key._replace(attempt_no=7), key, key._replace(attempt_no=1)])
        assert set(found) == {1, 2}
        assert found[1].is_unknown
        assert found[1].order_no == 1
        assert await store.count_unknown(found[1].psp) == 1
        await _are_listed(servers, order["order_uuid"])
        page = await store.booked(found[1].psp, 1, below=9, until=await store.time(), count_max=5)
        assert [(one.order_no, one.is_charged) for one in page] == [(2, False), (1, False)]
        assert page[1].order_uuid == order["order_uuid"]
        await shard.ask(
            "INSERT INTO order_outcome (partition_index, order_no, batch_seq, status,"
            " amount_captured_minor, fee_minor, currency, attempt_no, psp, psp_reference,"
            f" event_sequence) VALUES (1, 2, 2, 5, 500, 0, 'USD', 1, '{found[1].psp}', 'ch_y', 1)"
        )
        now = await store.time()
        (newest,) = await store.booked(found[1].psp, 1, below=9, until=now, count_max=1)
        assert newest[3:] == (True, 1, "ch_y", 500, "USD")
        for psp, until in (("another", now), (found[1].psp, newest.taken_in_at)):
            (newest,) = await store.booked(psp, 1, below=9, until=until, count_max=1)
            assert not newest.is_charged
        assert psp_key(found[1].order_uuid, 1)
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await _as(gateway, "DELETE FROM evidence_pending")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await _as(owner, "UPDATE evidence SET text = 'something else'")
    finally:
        await pool.close()
        await shard.close()


async def _as(dsn: str, statement: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
