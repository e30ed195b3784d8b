"""Small books made by the real engine, with everything in them that a verification looks at.

Made once in a database that then serves as a template; each test plants what it likes in a copy. The PSP's
record is served by a stand-in whose rows, totals and manners a test can change.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID

import asyncpg
import msgspec
from aiohttp import web
from aiohttp.test_utils import TestServer

from loadtest.filling import BookFiller
from loadtest.orders import Shop, open_shop, order_of
from payments.commands import PaymentCommand
from payments.disputes import DisputeState
from payments.fingerprint import SPLIT_VERSION
from payments.operation_kinds import OperationKind
from payments.psp_events import PspEvent
from payments.splits import Split
from psp.in_process import InProcessPsp
from psp.simulator.wire import ChangeKind, CurrencyTotals, OracleRow, Totals
from runtime.clock import SystemClock
from runtime.config import (
    Config,
    DeploymentConfig,
    PostgresConfig,
    RedisConfig,
    SecretsConfig,
    ShardConfig,
)
from runtime.psp_config import PspConfig
from tests.books import ACCEPTED_AT, DEPLOYMENT, PARTITION_COUNT, PASSWORDS, copy_of_installed_books
from tests.operated import a_dispute_event, an_operation
from tests.servers import SharedServers

PSP = "simulator"
TEMPLATE = "verified_books"

# What the sandbox PSP makes of them covers every way in which an order stands or ends here.
TOKENS = (
    *(["tok_approve"] * 90),
    *(["tok_decline_do_not_honor"] * 8),
    *(["tok_3ds"] * 6),
    *(["tok_charge_then_timeout"] * 4),
)

# Payments of three sellers: one charged at once, one captured in two parts, one authorized and let go.
SPLIT_KEYS = tuple(UUID(int=number << 64 | number, version=4) for number in (2_001, 2_002, 2_003))


def config_of(
    servers: SharedServers, database: str, secrets: Path, psps: list[PspConfig]
) -> Config:
    """The configuration of books in one database of the test servers."""
    for role in ("gateway", "owner", "reader"):
        (secrets / f"{role}.pw").write_text(getattr(PASSWORDS, role), encoding="utf-8")
    address = urlsplit(servers.dsn(database))
    return Config(
        deployment=DeploymentConfig(id=DEPLOYMENT.deployment_id, partition_count=PARTITION_COUNT),
        postgres=PostgresConfig(
            shards=[
                ShardConfig(
                    name="main",
                    partition_first=0,
                    partition_end=PARTITION_COUNT,
                    addresses=[f"{address.hostname}:{address.port}"],
                    database=database,
                )
            ],
            gateway_password_file="gateway.pw",
            owner_password_file="owner.pw",
            reader_password_file="reader.pw",
        ),
        redis=RedisConfig(address="127.0.0.1:1", password_file="none", replicas_awaited=0),
        psps=psps,
        secrets=SecretsConfig(api_key_pepper_file="none", fingerprint_key_file="none"),
        directory=str(secrets),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedBooks:
    """Books in the database TEMPLATE, and what the PSP recorded meanwhile."""

    servers: SharedServers
    secrets: Path
    charges: Sequence[OracleRow]

    def config(self, database: str, psp_url: str) -> Config:
        psp = PspConfig(name=PSP, kind="simulator", url=psp_url)
        return config_of(self.servers, database, self.secrets, [psp])


# Three letters: one waits, one was discarded, one was replayed: its order is a paid one. And an open order is
# parked. What gateways and owners write of these, in one go.
_LETTERS = """
INSERT INTO dead_letter (partition_index, stream_id, order_uuid, merchant_no, mode, reason, detail,
    raw_envelope)
SELECT place.partition_index, place.n || '-0', place.order_uuid, place.merchant_no, 1,
    'payload_malformed', '', decode('010090', 'hex')
FROM (
    SELECT 1 AS n, 0::smallint AS partition_index, gen_random_uuid() AS order_uuid, 1 AS merchant_no
    UNION ALL SELECT 2, 1, gen_random_uuid(), 1
    UNION ALL (
        SELECT 3, o.partition_index, o.order_uuid, o.merchant_no FROM payment_order AS o
        JOIN order_outcome AS ended USING (partition_index, order_no)
        JOIN partition AS held USING (partition_index)
        WHERE ended.status = 5
        ORDER BY o.order_no IN (1, held.order_no_last), held.order_no_last DESC, o.partition_index,
            o.order_no
        LIMIT 1)
) AS place ORDER BY place.n;
INSERT INTO set_aside_order (partition_index, order_uuid, dead_letter_no, merchant_no, mode,
    api_version, accepted_at)
SELECT partition_index, order_uuid, dead_letter_no, merchant_no, mode, '2026-11-01', now()
FROM dead_letter;
INSERT INTO dead_letter_action (dead_letter_no, partition_index, action, actor, reason)
SELECT dead_letter_no, partition_index, CASE dead_letter_no WHEN 2 THEN 2 ELSE 1 END, 'tests', 'because'
FROM dead_letter WHERE dead_letter_no > 1 ORDER BY dead_letter_no;
INSERT INTO audit (actor, action, subject, detail)
SELECT actor, CASE action WHEN 1 THEN 'dead_letter.replay' ELSE 'dead_letter.discard' END,
    dead_letter_no::text, jsonb_build_object('reason', reason, 'action_no', action_no)
FROM dead_letter_action;
INSERT INTO dead_letter_result (action_no, dead_letter_no, partition_index, batch_seq, result, detail)
SELECT action_no, dead_letter_no, partition_index, 1, action, '' FROM dead_letter_action;
INSERT INTO parked_order (partition_index, order_no, reason, detail)
SELECT partition_index, order_no, 'kills_host', '' FROM open_order
ORDER BY status DESC, partition_index DESC, order_no DESC LIMIT 1;
DELETE FROM timer USING parked_order AS parked
WHERE timer.partition_index = parked.partition_index AND timer.order_no = parked.order_no;
"""

# One word of each kind and fate, of the orders that corruptions are done to: an operator's ended a paid
# order, and a failed one; a settlement report's was refused; one waits. A PSP's event ended another paid
# order, agrees with the first, and one waits.
_WORDS = """
CREATE TEMPORARY TABLE ranked AS
SELECT o.partition_index, o.order_no, o.order_uuid, o.amount_minor, o.currency::text AS currency,
    ended.status, ended.batch_seq, ended.psp_reference, row_number() OVER (
        PARTITION BY coalesce(ended.status, running.status) ORDER BY
        o.order_no IN (1, held.order_no_last), running.is_outcome_known DESC NULLS LAST,
        held.order_no_last DESC, o.partition_index, o.order_no) AS place,
    coalesce(ended.status, running.status) AS standing
FROM payment_order AS o
JOIN partition AS held USING (partition_index)
LEFT JOIN order_outcome AS ended USING (partition_index, order_no)
LEFT JOIN open_order AS running USING (partition_index, order_no);
INSERT INTO evidence (partition_index, order_no, attempt_no, source, result, reference, captured_minor,
    currency, actor, text)
SELECT partition_index, order_no, 1, source, result, psp_reference, captured, currency, 'tests',
    'seen at the PSP'
FROM (
    SELECT *, 1 AS source, 1 AS result, amount_minor AS captured, 1 AS n FROM ranked
    WHERE standing = 5 AND place = 1
    UNION ALL SELECT *, 1, 2, 0, 2 FROM ranked WHERE standing = 7 AND place = 1
    UNION ALL SELECT *, 2, 1, 1, 3 FROM ranked WHERE standing = 2 AND place = 1
    UNION ALL SELECT *, 1, 2, 0, 4 FROM ranked WHERE standing = 2 AND place = 2
) AS said ORDER BY n;
INSERT INTO audit (actor, action, subject, detail)
SELECT said.actor, 'payment.evidence', o.order_uuid::text, jsonb_build_object(
    'evidence_no', said.evidence_no, 'text', said.text)
FROM evidence AS said JOIN payment_order AS o USING (partition_index, order_no);
INSERT INTO evidence_result (evidence_no, partition_index, batch_seq, result, detail)
SELECT evidence_no, said.partition_index, coalesce(ranked.batch_seq, 1),
    CASE WHEN evidence_no = 3 THEN 2 ELSE 1 END, ''
FROM evidence AS said JOIN ranked USING (partition_index, order_no) WHERE evidence_no < 4;
INSERT INTO evidence_pending SELECT partition_index, evidence_no FROM evidence WHERE evidence_no = 4;
INSERT INTO psp_event (partition_index, event_uuid, psp, event_id, order_uuid, attempt_no, result,
    reference, captured_minor, currency, message, accepted_at)
SELECT partition_index, event_uuid, 'simulator', 'evt_' || n, order_uuid, 1, 1, psp_reference,
    amount_minor, currency, '', now()
FROM (
    SELECT *, md5('1')::uuid AS event_uuid, 1 AS n FROM ranked WHERE standing = 5 AND place = 2
    UNION ALL SELECT *, md5('2')::uuid, 2 FROM ranked WHERE standing = 5 AND place = 1
    UNION ALL SELECT *, md5('3')::uuid, 3 FROM ranked WHERE standing = 2 AND place = 1
) AS told;
INSERT INTO psp_event_result (partition_index, event_uuid, batch_seq, order_no, result, detail)
SELECT told.partition_index, told.event_uuid, ranked.batch_seq, ranked.order_no,
    right(told.event_id, 1)::smallint, ''
FROM psp_event AS told JOIN ranked USING (partition_index, order_uuid)
WHERE told.event_id IN ('evt_1', 'evt_2');
INSERT INTO psp_event_pending (partition_index, event_uuid)
SELECT partition_index, event_uuid FROM psp_event WHERE event_id = 'evt_3';
INSERT INTO audit (actor, action, subject, detail)
SELECT 'psp simulator', 'payment.psp_event', order_uuid::text, jsonb_build_object('event_id', event_id)
FROM psp_event WHERE event_id = 'evt_1';
"""

# A checkout of two paid orders, and of one that nobody has accepted.
_CHECKOUT = """
INSERT INTO checkout (partition_index, checkout_uuid, idempotency_key, merchant_no, mode, fingerprint,
    api_version, accepted_at)
VALUES (1, md5('checkout')::uuid, md5('key')::uuid, 1, 1, decode('01', 'hex'), '2026-11-01', now());
INSERT INTO checkout_order (partition_index, checkout_uuid, position, order_uuid, idempotency_key,
    seller_no, amount_minor, currency, fingerprint)
SELECT 1, md5('checkout')::uuid, row_number() OVER (ORDER BY o.order_uuid) - 1, o.order_uuid,
    o.idempotency_key, o.seller_no, o.amount_minor, o.currency, o.fingerprint
FROM payment_order AS o JOIN order_outcome AS ended USING (partition_index, order_no)
WHERE ended.status = 5 ORDER BY o.order_uuid LIMIT 2;
INSERT INTO checkout_order (partition_index, checkout_uuid, position, order_uuid, idempotency_key,
    seller_no, amount_minor, currency, fingerprint)
VALUES (1, md5('checkout')::uuid, 2, md5('none')::uuid, md5('nobody')::uuid, 1, 100, 'USD',
    decode('01', 'hex'));
"""


def make_books(servers: SharedServers, secrets: Path) -> VerifiedBooks:
    """Make them with the real decisions, the real lane and the sandbox PSP in this process."""

    async def fill() -> Sequence[OracleRow]:
        dsn = await copy_of_installed_books(servers, TEMPLATE)
        assert dsn.endswith(TEMPLATE)
        config = config_of(servers, TEMPLATE, secrets, [PspConfig(name=PSP, kind="in_process")])
        clock = SystemClock()
        psp = InProcessPsp(name=PSP, account="default", seed=7, clock=clock)
        filler = BookFiller(config, psp, clock)
        try:
            await filler.claim(UUID(int=1))
            shop = await open_shop(config, seller_count=5, seed=7)
            orders = _orders(shop)
            # Several flushes under two epochs, so that chains have links and batches an order.
            for begin in range(0, len(orders), 27):
                await filler.take(orders[begin : begin + 27])
            await _live_on(filler, shop)
            await _dispute(psp, filler)
            await _share(psp, filler, shop)
            await filler.claim(UUID(int=2))
            await _act_for_buyers(psp, filler)
            late = orders[0]._replace(fingerprint=orders[1].fingerprint)
            await filler.take([late])
            await ask(dsn, _LETTERS)
            await ask(dsn, _WORDS)
            await ask(dsn, _CHECKOUT)
        finally:
            await filler.close()
        return list(psp.oracle_rows())

    charges = asyncio.run(fill())
    return VerifiedBooks(servers=servers, secrets=secrets, charges=charges)


def _orders(shop: Shop) -> list[PaymentCommand]:
    return [
        order_of(
            shop,
            shop.sellers[number % len(shop.sellers)],
            key=UUID(int=number << 64 | number, version=4),
            amount_minor=1_000 + 7 * number,
            token=token,
            accepted_at=ACCEPTED_AT,
        )
        for number, token in enumerate(TOKENS, 1)
    ]


async def _live_on(filler: BookFiller, shop: Shop) -> None:
    """Payments that are authorized first, each with another fate; one stays as it is."""
    held = [
        order_of(
            shop,
            shop.sellers[number % len(shop.sellers)],
            key=UUID(int=number << 64 | number, version=4),
            amount_minor=5_000,
            token="tok_approve",
            accepted_at=ACCEPTED_AT,
        )._replace(captures_manually=True)
        for number in range(1_001, 1_007)
    ]
    await filler.take(held)
    capture, void, refund = OperationKind.CAPTURE, OperationKind.VOID, OperationKind.REFUND
    _, whole, part, parts, given_back, refunded = held
    await filler.operate(
        [
            an_operation(capture, whole, 1),
            an_operation(capture, part, 1, 1_700),
            an_operation(capture, parts, 1, 1_000),
            an_operation(void, given_back, 1),
            an_operation(capture, refunded, 1, 4_000),
        ]
    )
    await filler.operate([an_operation(capture, parts, 2), an_operation(refund, refunded, 1, 500)])
    await filler.operate([an_operation(refund, refunded, 2, 4_000), an_operation(void, whole, 2)])
    await filler.operate([an_operation(refund, whole, 1)])


async def _dispute(psp: InProcessPsp, filler: BookFiller) -> None:
    """Dispute three payments: one stays open, one is won, one is lost."""
    # Payments whose charges no corruption counts on.
    rows = [row for row in psp.oracle_rows() if row.captured > 0 and row.refunded == 0][2:5]
    assert len(rows) == 3
    opened = (ChangeKind.DISPUTE, DisputeState.OPENED)
    for step in (
        [(row, *opened) for row in rows],
        [
            (rows[1], ChangeKind.DISPUTE_WON, DisputeState.WON),
            (rows[2], ChangeKind.DISPUTE_LOST, DisputeState.LOST),
        ],
    ):
        told: list[PspEvent] = []
        for row, kind, state in step:
            await psp.dispute(row.reference, kind)
            told.append(a_dispute_event(row, state, disputed_minor=row.captured))
        await filler.tell(told)


async def _share(psp: InProcessPsp, filler: BookFiller, shop: Shop) -> None:
    """Charges of three sellers, two of them captured, refunded in part and disputed: one is won, one lost."""
    parts = [
        Split(shop.sellers[0].seller_no, 3_333, 100),
        Split(shop.sellers[1].seller_no, 1_001, 0),
    ]
    parts.append(Split(shop.sellers[2].seller_no, 666, 66))
    charged, *held_both = (_shared_order(shop, key, parts) for key in SPLIT_KEYS)
    held, let_go = (order._replace(captures_manually=True) for order in held_both)
    await filler.take([charged, held, let_go])
    capture, void, refund = OperationKind.CAPTURE, OperationKind.VOID, OperationKind.REFUND
    await filler.operate([an_operation(capture, held, 1, 1_234)])
    await filler.operate(
        [an_operation(capture, held, 2, 2_345), an_operation(refund, charged, 1, 701)]
    )
    await filler.operate([an_operation(void, let_go, 1), an_operation(refund, held, 1, 702)])
    keys = {str(key) for key in SPLIT_KEYS[:2]}
    rows = [row for row in psp.oracle_rows() if row.order_key in keys]
    assert len(rows) == len(keys)
    ends = (
        (ChangeKind.DISPUTE_WON, DisputeState.WON),
        (ChangeKind.DISPUTE_LOST, DisputeState.LOST),
    )
    for row, end in zip(rows, ends, strict=True):
        for kind, state in ((ChangeKind.DISPUTE, DisputeState.OPENED), end):
            await psp.dispute(row.reference, kind, 1_503)
            await filler.tell([a_dispute_event(row, state, disputed_minor=1_503)])


def _shared_order(shop: Shop, key: UUID, parts: Sequence[Split]) -> PaymentCommand:
    order = order_of(
        shop,
        shop.sellers[0],
        key=key,
        amount_minor=sum(part.amount_minor for part in parts),
        token="tok_approve",
        accepted_at=ACCEPTED_AT,
    )
    return order._replace(
        fee_minor=sum(part.fee_minor for part in parts),
        fingerprint=bytes([SPLIT_VERSION]) + order.fingerprint[1:],
        splits=tuple(parts),
    )


async def _act_for_buyers(psp: InProcessPsp, filler: BookFiller) -> None:
    """Two buyers confirm and two don't; two never answer, so that their orders stay open."""
    waiting = [order for order in filler.open_orders() if order.next_action_url is not None]
    assert len(waiting) == TOKENS.count("tok_3ds")
    for order, is_approved in zip(waiting[:4], (True, True, False, False), strict=True):
        assert order.psp_reference is not None
        await psp.complete_action(order.psp_reference, is_approved=is_approved)
    await filler.ask_again([order.command.order_uuid for order in waiting])


class OracleStandIn:
    """Serves a record as the simulator does, and badly if told to."""

    def __init__(self, rows: Sequence[OracleRow]) -> None:
        self.rows = list(rows)
        self.totals: Totals | None = None
        """What is said instead of the sums of ``rows``."""
        self.totals_later: Totals | None = None
        """What is said from the second time on."""
        self.charges_status = 200
        self.totals_status = 200
        self.cut_bytes = 0
        """How much is missing at the end of the record."""
        self.garbage: bytes | None = None
        """What stands in the place of the record's second line."""
        self.totals_body: bytes | None = None
        """What is said instead of any totals."""
        self.endless: dict[str, bytes] = {}
        """By what is asked for, ``totals`` or ``charges``: what is sent for it again and again."""
        self.url = ""

    def renumber(self) -> None:
        """Number the rows anew, as a record that was rewritten would be."""
        self.rows = [
            msgspec.structs.replace(row, n=number) for number, row in enumerate(self.rows, 1)
        ]

    def change(self, index: int, **changes: object) -> None:
        self.rows[index] = msgspec.structs.replace(self.rows[index], **changes)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        application = web.Application()
        application.add_routes(
            [
                web.get("/_oracle/charges", self._get_charges),
                web.get("/_oracle/totals", self._get_totals),
            ]
        )
        async with TestServer(application) as server:
            self.url = str(server.make_url("")).rstrip("/")
            yield

    async def _get_charges(self, request: web.Request) -> web.StreamResponse:
        if "charges" in self.endless:
            return await _sent_for_ever(request, self.endless["charges"])
        lines = [msgspec.json.encode(row) + b"\n" for row in self.rows]
        if self.garbage is not None:
            lines[1] = self.garbage
        body = b"".join(lines)
        return web.Response(body=body[: len(body) - self.cut_bytes], status=self.charges_status)

    async def _get_totals(self, request: web.Request) -> web.StreamResponse:
        if "totals" in self.endless:
            return await _sent_for_ever(request, self.endless["totals"])
        body = self.totals_body or msgspec.json.encode(self.totals or totals_of(self.rows))
        self.totals, self.totals_later = self.totals_later or self.totals, None
        return web.Response(body=body, status=self.totals_status)


async def _sent_for_ever(request: web.Request, piece: bytes) -> web.StreamResponse:
    """Never silent for long, and never at an end, until whoever asked is gone."""
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(piece)
        await asyncio.sleep(0.01)


def totals_of(rows: Sequence[OracleRow]) -> Totals:
    """What a record of these rows says of itself."""
    by_currency: dict[str, CurrencyTotals] = {}
    by_status: dict[str, int] = {}
    for row in rows:
        sums = by_currency.setdefault(row.currency, CurrencyTotals())
        sums.captured += row.captured
        sums.refunded += row.refunded
        by_status[row.status.value] = by_status.get(row.status.value, 0) + 1
    return Totals(
        charges=len(rows),
        by_status=by_status,
        by_currency=by_currency,
        canceled_keys=0,
        changes=max((row.changed for row in rows), default=0),
    )


async def ask(dsn: str, sql: str, *arguments: object) -> list[asyncpg.Record]:
    """Run SQL as the superuser: parameters allow one statement, their absence several."""
    connection = await asyncpg.connect(dsn)
    try:
        if arguments:
            return list(await connection.fetch(sql, *arguments))
        await connection.execute(sql)
        return []
    finally:
        await connection.close()
