"""The two copies of the local Valkey: started in place, compared, promoted, rebuilt."""

from __future__ import annotations

from ops.local.copies import Node, Position
from ops.local.faults import PromotionRefused
from ops.local.resp import RespError, ask
from ops.local.valkey import ValkeyPair
from ops.local.valkey_node import ValkeyNode
from payments.defects import InvariantViolation

# What a replica says of itself while all it has is whole and on its disk.
_WHOLE = {
    "role": "slave",
    "master_sync_in_progress": "0",
    "loading": "0",
    "aof_rewrite_in_progress": "0",
    "aof_rewrite_scheduled": "0",
    "aof_last_bgrewrite_status": "ok",
    "aof_last_write_status": "ok",
}


class ValkeyCopies:
    """What ops.local.copies.StoreCopies asks for, of Valkey."""

    name = "redis"

    def __init__(self, pair: ValkeyPair) -> None:
        self._pair = pair
        self.file = pair.file

    def primary(self) -> ValkeyNode:
        return self._pair.primary

    def secondary(self) -> ValkeyNode:
        return self._pair.replica

    def has_data(self, node: Node) -> bool:
        return self._pair.has_data(self._node(node))

    async def start_primary(self) -> None:
        await self._start(self._pair.primary)

    async def start_secondary(self) -> None:
        await self._start(self._pair.replica)

    async def rebuild_secondary(self) -> None:
        await self._pair.rebuild_replica()

    async def look(self) -> bool:
        """Whether the replica is connected, or copying; marks it when it is in step."""
        if await self._pair.is_in_step():
            return True
        try:
            link = await self._pair.replica.info("replication")
        except RespError:
            return False
        return link.get("master_link_status") == "up" or link.get("master_sync_in_progress") == "1"

    async def position(self, node: Node) -> Position:
        """What a replica has; one that is being copied has nothing yet. Raises PromotionRefused."""
        replica = self._node(node)
        try:
            facts = {**await replica.info("replication"), **await replica.info("persistence")}
        except RespError as error:
            raise PromotionRefused(f"{node.name} does not say how much it has: {error}") from error
        strange = [
            f"{name}:{facts.get(name)}" for name in _WHOLE if facts.get(name) != _WHOLE[name]
        ]
        if strange:
            raise PromotionRefused(f"{node.name} is not whole ({', '.join(strange)})")
        return Position(
            number=node.number,
            offset=int(facts["slave_repl_offset"]),
            replication_id=facts["master_replid"],
        )

    async def promote(self, position: Position) -> None:
        """Make that replica the primary; the former one is dead.

        The record comes first: whenever this is interrupted, the former primary follows.
        """
        former, chosen = self._pair.primary, self._pair.replica
        if chosen.number != position.number or former.is_running:
            raise InvariantViolation(f"{former.name} lives, or {chosen.name} was not compared")
        self.file.hand_over(former=former.number, to=chosen.number)
        await ask(chosen.port, self._pair.password, ("REPLICAOF", "NO", "ONE"))

    async def _start(self, node: ValkeyNode) -> None:
        await node.make_way()
        self._pair.start_node(node)
        await self._pair.wait_loaded(node)

    def _node(self, node: Node) -> ValkeyNode:
        if not isinstance(node, ValkeyNode):
            raise InvariantViolation(f"{node.name} is no Valkey server")
        return node
