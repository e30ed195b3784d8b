"""Two copies of a store without servers: they die, freeze and lose their data on request."""

from __future__ import annotations

from pathlib import Path

from ops.local.copies import CopiesFile, Node, Position
from ops.local.faults import LocalFault, PromotionRefused
from ops.local.process import ChildProcess


class FakeNode:
    """One server of it."""

    def __init__(self, root: Path, number: int) -> None:
        self.number = number
        self.name = f"fake_{number}"
        self.directory = root
        self.process: ChildProcess | None = None
        self.is_running = True
        self.is_frozen = False
        self.has_data = True
        self.is_unreadable = False
        self.refuses_to_start = False
        self.offset = 100
        self.kill_count = 0

    @property
    def pid(self) -> int | None:
        return self.number if self.is_running else None

    def retire_data(self) -> None:
        self.has_data = False

    async def answers_at_all(self) -> bool:
        return self.is_running and not self.is_frozen

    async def kill(self) -> None:
        self.kill_count += 1
        self.is_running = self.is_frozen = False


class FakeCopies:
    """``ops.local.copies.StoreCopies`` in memory, but for its record."""

    name = "fake"

    def __init__(self, root: Path) -> None:
        self.file = CopiesFile(root / "fake-primary.json", "Fake")
        self.nodes = (FakeNode(root, 1), FakeNode(root, 2))
        self.file.mark_in_sync(primary=1, other=2)
        self.is_following = True
        self.rebuild_count = 0
        self.replication_id = ""

    def primary(self) -> FakeNode:
        return self.nodes[(self.file.read().primary or 1) - 1]

    def secondary(self) -> FakeNode:
        return self.nodes[2 - (self.file.read().primary or 1)]

    def has_data(self, node: Node) -> bool:
        fake = self.nodes[node.number - 1]
        if fake.is_unreadable:
            raise PermissionError(13, "Permission denied")
        return fake.has_data and not self.file.is_given_up(node.number)

    async def start_primary(self) -> None:
        self._start(self.primary())

    async def start_secondary(self) -> None:
        self._start(self.secondary())

    async def rebuild_secondary(self) -> None:
        self.rebuild_count += 1
        node = self.secondary()
        self.file.forget(node.number)
        node.is_running = node.has_data = True
        self.file.take_back(node.number)

    async def look(self) -> bool:
        if self.is_following and self.primary().is_running and self.secondary().is_running:
            self.file.mark_in_sync(primary=self.primary().number, other=self.secondary().number)
            return True
        return False

    async def position(self, node: Node) -> Position:
        fake = self.nodes[node.number - 1]
        if not fake.is_running:
            raise PromotionRefused(f"{node.name} is silent")
        return Position(number=node.number, offset=fake.offset, replication_id=self.replication_id)

    async def promote(self, position: Position) -> None:
        assert not self.primary().is_running, "killed before the promotion"
        self.file.hand_over(former=self.primary().number, to=position.number)

    def _start(self, node: FakeNode) -> None:
        if node.refuses_to_start:
            raise LocalFault("the log ends with a PANIC")
        node.is_running = True
