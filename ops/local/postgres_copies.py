"""The two copies of the local Postgres: started in place, compared, promoted, rebuilt."""

from __future__ import annotations

import json

from ops.local.copies import Node, OwedAudit, Position
from ops.local.faults import PromotionRefused, ToolFailed
from ops.local.postgres import DATABASE, PostgresPair
from ops.local.postgres_node import PostgresNode
from ops.local.postgres_sql import AUDIT_SQL, ONE_COPY_SQL, STANDBY_POSITION_SQL, quoted
from payments.defects import InvariantViolation


class PostgresCopies:
    """What ops.local.copies.StoreCopies asks for, of Postgres."""

    name = "postgres"

    def __init__(self, pair: PostgresPair) -> None:
        self._pair = pair
        self.file = pair.file

    def primary(self) -> PostgresNode:
        return self._pair.primary

    def secondary(self) -> PostgresNode:
        return self._pair.standby

    def has_data(self, node: Node) -> bool:
        return self._pair.has_data(self._node(node))

    async def start_primary(self) -> None:
        await self._start(self._pair.primary)

    async def start_secondary(self) -> None:
        await self._start(self._pair.standby)

    async def rebuild_secondary(self) -> None:
        await self._pair.rebuild_standby()

    async def look(self) -> bool:
        return await self._pair.is_standby_streaming()

    async def position(self, node: Node) -> Position:
        """What a standby has on its disk. Raises PromotionRefused."""
        standby = self._node(node)
        try:
            answer = await standby.query(
                STANDBY_POSITION_SQL, database="postgres", passfile=self._pair.passfile
            )
        except ToolFailed as failed:
            raise PromotionRefused(
                f"{node.name} does not say how much it has: {failed}"
            ) from failed
        in_recovery, offset = answer.split("|")
        if in_recovery != "t":
            raise PromotionRefused(f"{node.name} is no standby")
        return Position(number=node.number, offset=int(offset))

    async def promote(self, position: Position) -> None:
        """Make that standby the primary; the former one is dead.

        The record comes first: whenever this is interrupted, the next start completes it, and the
        former primary never leads again.
        """
        former, chosen = self._pair.primary, self._pair.standby
        if chosen.number != position.number or former.is_running:
            raise InvariantViolation(f"{former.name} lives, or {chosen.name} was not compared")
        self.file.hand_over(former=former.number, to=chosen.number)
        await self._pair.promote(chosen)

    async def await_secondary(self, *, is_awaited: bool) -> None:
        """Have commits wait for the standby, or no longer."""
        await self._pair.await_standby(is_awaited=is_awaited)

    async def accept_one_redis_copy(self, for_s: float) -> None:
        """Tell the gateways to acknowledge on one copy of Redis for so long; 0 ends it."""
        await self._pair.query(ONE_COPY_SQL.format(for_s=float(for_s)), database=DATABASE)

    async def audit(self, subject: str, owed: OwedAudit) -> bool:
        """Add a row to the audit table, once. Raises ToolFailed.

        Returns whether it was there before. Only then it may be forgotten: a row that was just added
        is on one disk, and the copy that is promoted next may lack it.
        """
        sql = AUDIT_SQL.format(
            actor=quoted(owed.actor),
            action=quoted(owed.action),
            subject=quoted(subject),
            detail=quoted(json.dumps(owed.detail)),
        )
        return await self._pair.query(sql, database=DATABASE) == "0"

    async def _start(self, node: PostgresNode) -> None:
        await node.make_way()
        self._pair.start_node(node)
        await node.wait_ready()

    def _node(self, node: Node) -> PostgresNode:
        if not isinstance(node, PostgresNode):
            raise InvariantViolation(f"{node.name} is no Postgres server")
        return node
