"""Fills books with right rows fast: the real decisions and the real lane, without queue and HTTP.

Orders are taken in and settled in large flushes, one of either kind a chunk. A claim fences whoever
owns the partitions, so no host may run on these books meanwhile.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from actors.calls import operate
from actors.flushing import flush_of
from actors.planning import OrderedPlanner
from payments.book import PartitionBook
from payments.commands import OperationCommand, PaymentCommand
from payments.decided import Batch, Decided
from payments.event_judging import answer_of
from payments.open_order import CallAnswer, OpenOrder, PspCall
from payments.partitioning import partition_index
from payments.psp_events import PspEvent
from payments.retry_policy import RetryPolicy
from payments.rows import TimerKind
from payments.standing import PaymentStanding
from psp.in_process import InProcessPsp
from runtime.clock import Clock
from runtime.config import Config
from runtime.faults import Fault
from storage.connections import Connector
from storage.ledger import PostgresLedger
from storage.ownership import PostgresOwnership
from storage.ports import OperationKey

# One flush over all partitions: its rows, about 20 MB of them, are in memory at once.
ORDERS_PER_FLUSH = 8_192

# A statement of such a flush takes a second; on a busy machine several, and nobody waits for it.
ANSWER_TIMEOUT_S = 60.0

# A PSP in our own process answers at once.
CALL_TIMEOUT_S = 5.0

# An event of an order that is in the books waits for nothing.
EVENT_WAIT_S = 3_600.0


class PartitionTaken(Fault):
    """Somebody else claimed a partition at the same moment: a host runs on these books."""


class BookFiller:
    """Owner of every partition of the first shard, until closed."""

    def __init__(self, config: Config, psp: InProcessPsp, clock: Clock) -> None:
        self._psp = psp
        self._partition_count = config.deployment.partition_count
        opened = Connector(
            config.postgres_dsn(config.postgres.shards[0], "owner"),
            application_name="loadtest filling",
            answer_timeout_s=ANSWER_TIMEOUT_S,
        )
        self._ledger = PostgresLedger(opened, lane_count=1)
        self._ownership = PostgresOwnership(opened, self._ledger)
        self._books: dict[int, PartitionBook] = {}
        self._now: datetime = clock.now()

    async def claim(self, incarnation: UUID) -> None:
        """Take every partition over, open orders included. Raises PartitionTaken."""
        planner = OrderedPlanner({self._psp.name: self._psp})
        for view in await self._ownership.partitions():
            state = await self._ownership.claim(
                partition_index=view.partition_index,
                epoch_seen=view.epoch,
                incarnation=incarnation,
                lane_index=0,
            )
            if state is None:
                raise PartitionTaken(f"partition {view.partition_index} was claimed by another")
            self._books[view.partition_index] = PartitionBook(state, planner, RetryPolicy())
            self._now = state.recorded_at

    async def take(self, commands: Sequence[PaymentCommand]) -> None:
        """Take orders in, call the PSP for each, and write what its answers mean."""
        by_partition: defaultdict[int, list[PaymentCommand]] = defaultdict(list)
        for command in commands:
            index = partition_index(command.order_uuid, self._partition_count)
            by_partition[index].append(command)
        keys = [(index, order.order_uuid) for index, part in by_partition.items() for order in part]
        known = (await self._ledger.known_orders(keys)).fingerprints
        calls = await self._write(
            {
                index: Batch(commands=part, known=known, now=self._now)
                for index, part in by_partition.items()
            }
        )
        await self._answer(calls)

    async def operate(self, commands: Sequence[OperationCommand]) -> None:
        """Take operations on payments in, call the PSP for each, and write what its answers mean."""
        by_partition: defaultdict[int, list[OperationCommand]] = defaultdict(list)
        for command in commands:
            index = partition_index(command.payment_uuid, self._partition_count)
            by_partition[index].append(command)
        found = await self._ledger.operated_payments(
            [
                OperationKey(index, command.operation_uuid, command.payment_uuid)
                for index, part in by_partition.items()
                for command in part
            ],
            (),
        )
        calls = await self._write(
            {
                index: Batch(
                    operations=part,
                    known=found.fingerprints,
                    standings=[
                        payment for (at, _), payment in found.standings.items() if at == index
                    ],
                    now=self._now,
                )
                for index, part in by_partition.items()
            }
        )
        await self._answer(calls)

    async def tell(self, events: Sequence[PspEvent]) -> None:
        """Take in what a PSP tells of orders that have ended, and write what it means."""
        by_partition: defaultdict[int, list[PspEvent]] = defaultdict(list)
        for event in events:
            by_partition[partition_index(event.order_uuid, self._partition_count)].append(event)
        await self._write(
            {index: Batch(psp_events=part, now=self._now) for index, part in by_partition.items()}
        )
        told = await self._ledger.due_psp_events(
            list(by_partition), count_max=len(events), wait_s_max=EVENT_WAIT_S
        )
        found = await self._ledger.operated_payments(
            (), [(event.partition_index, event.order_no or 0) for event in told]
        )
        answers: defaultdict[int, list[CallAnswer]] = defaultdict(list)
        for found_event in told:
            answers[found_event.partition_index].append(answer_of(found_event))
        standings = {
            index: [payment for (at, _), payment in found.standings.items() if at == index]
            for index in answers
        }
        await self._remember_accounts(answers, standings)
        await self._write(
            {
                index: Batch(answers=part, standings=standings[index], now=self._now)
                for index, part in answers.items()
            }
        )

    def open_orders(self) -> list[OpenOrder]:
        """Every order that has not ended."""
        return [order for book in self._books.values() for order in book.open_orders()]

    async def ask_again(self, order_uuids: Collection[UUID]) -> None:
        """Ask the PSP once about these open orders, as their timers would have it."""
        calls = await self._write(
            {
                index: Batch(
                    due=[
                        (order.order_no, TimerKind.QUERY)
                        for order in book.open_orders()
                        if order.command.order_uuid in order_uuids
                    ],
                    now=self._now,
                )
                for index, book in self._books.items()
            }
        )
        await self._answer(calls)

    async def close(self) -> None:
        await self._ownership.close()
        await self._ledger.close()

    async def _answer(self, calls: Sequence[PspCall]) -> None:
        answers = await asyncio.gather(*(self._call(call) for call in calls))
        by_partition: defaultdict[int, list[CallAnswer]] = defaultdict(list)
        for answer in answers:
            by_partition[answer.partition_index].append(answer)
        await self._remember_accounts(by_partition, {})
        await self._write(
            {index: Batch(answers=part, now=self._now) for index, part in by_partition.items()}
        )

    async def _call(self, call: PspCall) -> CallAnswer:
        attempt = call.attempt
        if call.step is TimerKind.SEND and call.operation is not None:
            answer = await operate(
                self._psp, attempt.psp_key, call.operation, timeout_s=CALL_TIMEOUT_S
            )
        elif call.step is TimerKind.SEND:
            answer = await self._psp.charge(
                attempt.psp_key, attempt.request, timeout_s=CALL_TIMEOUT_S
            )
        else:
            answer = await self._psp.query(
                psp_key=attempt.psp_key, reference=call.psp_reference, timeout_s=CALL_TIMEOUT_S
            )
        return CallAnswer(
            partition_index=call.partition_index,
            order_no=call.order_no,
            step=call.step,
            attempt_no=attempt.attempt_no,
            answer=answer,
        )

    async def _remember_accounts(
        self,
        answers: Mapping[int, Sequence[CallAnswer]],
        standings: Mapping[int, Sequence[PaymentStanding]],
    ) -> None:
        missing = [
            (index, key)
            for index, part in answers.items()
            for key in sorted(self._books[index].accounts_missing(part, standings.get(index, ())))
        ]
        heads = await self._ledger.account_heads(missing)
        for index in {index for index, _ in missing}:
            self._books[index].remember_accounts(
                {key: head for (at, key), head in heads.items() if at == index}
            )

    async def _write(self, batches: Mapping[int, Batch]) -> list[PspCall]:
        """Decide and write in one flush; then make it the present, and return the calls to start."""
        decisions: list[Decided] = [
            self._books[index].decide(batch) for index, batch in batches.items()
        ]
        written = [decided for decided in decisions if decided.has_rows]
        if written:
            receipt = await self._ledger.lanes[0].append(flush_of(written, {}))
            self._now = receipt.recorded_at
        for decided in decisions:
            self._books[decided.partition_index].apply(decided)
        return [call for decided in decisions for call in decided.calls]
