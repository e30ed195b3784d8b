"""A host on fakes meets messages that nobody can take in: neighbours go on, each letter is kept once."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID, uuid4

import pytest

from actors import letter_desk
from actors.intake_guard import LETTERS_COUNT_MIN, WINDOW_MESSAGES
from payments.commands import PaymentCommand
from payments.decision import Decision
from payments.defects import InvariantViolation
from payments.lifecycle import PaymentState
from payments.partitioning import partition_index
from payments.rows import LetterResult
from storage.envelope import encode_command
from storage.queue_ports import QueueEntry
from tests.fakes.fake_host import PARTITION_COUNT, World
from tests.queue_commands import a_command

POISON_MINOR = 66_600


@pytest.fixture(autouse=True)
def quick_desk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Operators' actions are looked for at once."""
    monkeypatch.setattr(letter_desk, "LOOK_EVERY_S", 0.01)


def a_command_in(partition: int) -> PaymentCommand:
    """A command of that partition."""
    while True:
        command = a_command(uuid4())
        if partition_index(command.order_uuid, PARTITION_COUNT) == partition:
            return command


async def append_raw(world: World, command: PaymentCommand, fields: Sequence[bytes]) -> None:
    """Put fields on the stream under the command's order."""
    index = partition_index(command.order_uuid, PARTITION_COUNT)
    entry = QueueEntry(index, command.order_uuid, command.fingerprint, 0, tuple(fields))
    await world.gateway.append([entry])


def with_field(fields: Sequence[bytes], name: bytes, value: bytes) -> list[bytes]:
    """The fields with one of them replaced."""
    changed = list(fields)
    changed[changed.index(name) + 1] = value
    return changed


async def settled_neighbours(world: World, count: int = 20) -> list[UUID]:
    """Post good orders."""
    return [await world.post() for _ in range(count)]


async def test_an_undecodable_order_is_set_aside_and_its_neighbours_settle() -> None:
    """The letter and the order are kept once, and leave the stream with the others."""
    world = World()
    bad = a_command(uuid4())
    async with world.running(world.host()):
        before = await settled_neighbours(world)
        await append_raw(world, bad, with_field(encode_command(bad), b"p", b"\xff"))
        after = await settled_neighbours(world)
        await world.until(lambda: all(world.status_of(o) for o in (*before, *after)))
        await world.until(lambda: not any(world.server.copy.streams.values()))
    (letter,) = world.books.letters.rows
    assert (letter.reason, letter.order_uuid) == ("payload_malformed", bad.order_uuid)
    assert list(world.books.letters.set_aside.values()) == [(1, bad.fingerprint)]


@pytest.mark.parametrize("mistake", [InvariantViolation, KeyError, ValueError])
@pytest.mark.interpreted
async def test_a_handler_that_raises_for_one_order_sets_that_one_aside(
    monkeypatch: pytest.MonkeyPatch, mistake: type[Exception]
) -> None:
    """Bisecting leaves the neighbours alone, in whatever batch they come, and no partition halts."""
    take_in = Decision._take_in

    def raising(self: Decision, command: PaymentCommand) -> None:
        if command.amount_minor == POISON_MINOR:
            raise mistake("a secret of the buyer")
        take_in(self, command)

    monkeypatch.setattr(Decision, "_take_in", raising)
    world = World()
    host = world.host()
    before = await settled_neighbours(world)
    await world.post(amount_minor=POISON_MINOR)
    after = await settled_neighbours(world)
    async with world.running(host):
        await world.until(lambda: all(world.status_of(o) for o in (*before, *after)))
        await world.until(lambda: not any(world.server.copy.streams.values()))
        assert not host.parts.halted_count
    (letter,) = world.books.letters.rows
    assert (letter.reason, letter.detail) == ("handler_defect", mistake.__name__)


async def test_a_row_that_the_ledger_refuses_sets_its_order_aside() -> None:
    """A value that no table holds is one message's own fault."""
    world = World()
    async with world.running(world.host()):
        before = await settled_neighbours(world)
        bad = a_command(uuid4())
        world.books.refused_orders.add(bad.order_uuid)
        await append_raw(world, bad, encode_command(bad))
        after = await settled_neighbours(world)
        await world.until(lambda: all(world.status_of(o) for o in (*before, *after)))
        await world.until(lambda: len(world.books.letters.rows) == 1)
    assert world.books.letters.rows[0].reason == "handler_defect"
    assert len(world.books.orders) == len(before) + len(after)


async def test_a_conflict_of_identities_still_halts() -> None:
    """A defect of the books is nobody's message: the partition stops, nothing is set aside."""
    world = World()
    host = world.host()
    async with world.running(host):
        first = await world.post()
        await world.until(lambda: world.status_of(first) is not None)
        key = world.books.order_keys.pop(first)
        world.server.copy.records.clear()
        world.books.events[key[0], key[1] + 1, 1] = world.books.events[key[0], key[1], 1]
        await append_raw(world, command := a_command_in(key[0]), encode_command(command))
        await world.until(lambda: host.parts.halted_count == 1)
    assert world.books.letters.rows == []


async def test_a_readable_message_of_the_same_request_heals_the_order() -> None:
    """The client's repeat, or another copy, takes the order in; it runs once."""
    world = World()
    command = a_command(uuid4())
    async with world.running(world.host()):
        await append_raw(world, command, with_field(encode_command(command), b"p", b"\xff"))
        await world.until(lambda: len(world.books.letters.rows) == 1)
        world.server.copy.records.clear()
        await append_raw(world, command, encode_command(command))
        await world.until(lambda: world.status_of(command.order_uuid) is not None)
    assert len(world.books.orders) == 1


async def test_a_fingerprint_of_another_version_is_none() -> None:
    """Nothing can be compared with it, so a readable request under the key waits for the letter's end."""
    world = World()
    host = world.host()
    command = a_command(uuid4())
    odd = b"\xee" + command.fingerprint[1:]
    async with world.running(host):
        await append_raw(world, command, with_field(encode_command(command), b"f", odd))
        await world.until(lambda: len(world.books.letters.rows) == 1)
        world.server.copy.records.clear()
        await append_raw(world, command, encode_command(command))
        await world.until(lambda: not any(world.server.copy.streams.values()))
        assert not host.parts.halted_count
    assert list(world.books.letters.set_aside.values()) == [(1, None)]
    assert not world.books.orders


@pytest.mark.interpreted
async def test_replay_takes_the_original_in_under_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the handler is mended the order runs; a second replay is refused and changes nothing."""
    take_in = Decision._take_in
    is_mended = False

    def raising(self: Decision, command: PaymentCommand) -> None:
        if command.amount_minor == POISON_MINOR and not is_mended:
            raise KeyError
        take_in(self, command)

    monkeypatch.setattr(Decision, "_take_in", raising)
    world = World()
    letters = world.books.letters
    async with world.running(world.host()):
        order = await world.post(amount_minor=POISON_MINOR)
        await world.until(lambda: len(letters.rows) == 1)
        too_early = letters.want(1, is_replay=True)
        await world.until(lambda: too_early in letters.results)
        assert letters.results[too_early].result == LetterResult.REFUSED
        is_mended = True
        replay = letters.want(1, is_replay=True)
        await world.until(lambda: world.status_of(order) == PaymentState.SUCCEEDED)
        again = letters.want(1, is_replay=True)
        await world.until(lambda: again in letters.results)
    assert letters.results[replay].result == LetterResult.REPLAYED
    assert letters.results[again].result == LetterResult.REFUSED
    assert len(letters.rows) == len(world.books.orders) == 1


async def test_a_discarded_order_never_runs() -> None:
    """Neither a replay nor a readable copy of it brings it back."""
    world = World()
    letters = world.books.letters
    command = a_command(uuid4())
    async with world.running(world.host()):
        await append_raw(world, command, with_field(encode_command(command), b"p", b"\xff"))
        await world.until(lambda: len(letters.rows) == 1)
        discard = letters.want(1, is_replay=False)
        replay = letters.want(1, is_replay=True)
        await world.until(lambda: replay in letters.results)
        world.server.copy.records.clear()
        await append_raw(world, command, encode_command(command))
        await world.until(lambda: not any(world.server.copy.streams.values()))
    assert letters.results[discard].result == LetterResult.DISCARDED
    assert letters.results[replay].result == LetterResult.REFUSED
    assert not world.books.orders


async def test_what_a_repeat_has_just_brought_is_not_discarded() -> None:
    """In one flush an order can't fail for good and be taken in: the letter waits, for whoever looks again."""
    world = World()
    letters = world.books.letters
    command = a_command(uuid4())
    host = world.host()
    async with world.running(host):
        await append_raw(world, command, with_field(encode_command(command), b"p", b"\xff"))
        await world.until(lambda: len(letters.rows) == 1)
        world.server.copy.records.clear()
        lane = host._lanes[letters.rows[0].partition_index % len(host._lanes)]
        async with lane.lock:
            # No flush begins before both are there.
            discard = letters.want(1, is_replay=False)
            await append_raw(world, command, encode_command(command))
            await world.until(lambda: lane.partitions.message_count == 2)
        await world.until(lambda: world.status_of(command.order_uuid) is not None)
        await world.until(lambda: discard in letters.results)
        again = letters.want(1, is_replay=False)
        await world.until(lambda: again in letters.results)
    assert letters.results[discard].result == LetterResult.REFUSED
    assert letters.results[again].result == LetterResult.DISCARDED
    assert world.status_of(command.order_uuid) == PaymentState.SUCCEEDED


async def test_intake_stops_when_most_messages_are_unreadable() -> None:
    """A bad release leaves a bounded number of letters; what it can't read waits on the stream."""
    world = World()
    host = world.host()
    commands = [a_command_in(1) for _ in range(4 * LETTERS_COUNT_MIN)]
    for command in commands:
        await append_raw(world, command, with_field(encode_command(command), b"v", b"9|0"))
    async with world.running(host):
        neighbour = await _post_in(world, 2)
        await world.until(lambda: host.parts.paused == frozenset({1}))
        await world.until(lambda: world.status_of(neighbour) is not None)
        await world.until(lambda: world.books.letters.paused == {1})
        assert len(world.books.letters.rows) < LETTERS_COUNT_MIN
        assert len(world.server.copy.streams[1]) > 3 * LETTERS_COUNT_MIN
        world.books.letters.overrides.add(1)
        await world.until(lambda: len(world.books.letters.rows) == len(commands))
        await world.until(lambda: not world.books.letters.paused)
        assert not host.parts.paused


async def test_a_letter_early_in_a_large_batch_ends_nobody() -> None:
    """A backlog whose first message is unreadable is taken in at once, and the host lives on."""
    world = World()
    bad = a_command_in(1)
    await append_raw(world, bad, with_field(encode_command(bad), b"p", b"\xff"))
    orders = [await _post_in(world, 1) for _ in range(WINDOW_MESSAGES + 10)]
    async with world.running(world.host()):
        await world.until(lambda: all(world.status_of(order) for order in orders))
        later = await _post_in(world, 1)
        await world.until(lambda: world.status_of(later) is not None)
        await world.until(lambda: not any(world.server.copy.streams.values()))
    assert [letter.order_uuid for letter in world.books.letters.rows] == [bad.order_uuid]


async def _post_in(world: World, partition: int) -> UUID:
    while True:
        key = uuid4()
        if partition_index(a_command(key).order_uuid, PARTITION_COUNT) == partition:
            return await world.post(key=key)
