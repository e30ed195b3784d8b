"""What went through the queue, and what must not leave it: I21, I22 and I24."""

from __future__ import annotations

from collections import Counter

from loadtest.checker.derivation import order_uuid
from loadtest.checker.findings import Findings, Subject
from loadtest.checker.joined import Joined


def poison_is_set_aside_once(joined: Joined, found: Findings) -> None:
    """I21: each poisoned message is one dead letter, and nothing else is any."""
    letters = Counter((row.partition_index, row.stream_id) for row in joined.records.dead_letters)
    poisoned = {(row.partition_index, row.stream_id): row for row in joined.records.poison}
    for place, poison in poisoned.items():
        found.check(
            letters[place] == 1,
            f"the message {place} of {poison.cell} is {letters[place]} dead letters",
            Subject(partition_index=place[0]),
        )
    contents = Counter(
        (row.partition_index, row.stream_id, row.raw_sha256) for row in joined.records.dead_letters
    )
    for letter in joined.records.dead_letters:
        place = (letter.partition_index, letter.stream_id)
        found.check(
            place in poisoned and contents[*place, letter.raw_sha256] == 1,
            f"the message {place} was set aside ({letter.reason}), and nobody had poisoned it",
            Subject(partition_index=letter.partition_index),
        )


def nothing_is_left_over(joined: Joined, found: Findings) -> None:
    """I22: the streams are empty, and what was accepted was taken in, refused or set aside."""
    left = {row.partition_index: row for row in joined.records.queue}
    unread = [
        row.partition_index for row in joined.records.partitions if row.partition_index not in left
    ]
    if unread:
        found.unknown = f"the streams of partitions {unread} were not read at the end"
        return
    for row in joined.records.queue:
        found.check(
            row.message_count == 0,
            f"{row.message_count} messages are left in the stream of partition"
            f" {row.partition_index}",
            Subject(partition_index=row.partition_index),
        )
    letters = {row.order_uuid for row in joined.records.dead_letters}
    for key, ops in joined.posts.items():
        if not any(op.is_acknowledged for op in ops):
            continue
        rows = joined.orders_by_key.get(key, ())
        found.check(
            bool(rows) or order_uuid(*key) in letters,
            f"{key[0]} {key[2]} was accepted, and is neither an order nor a dead letter",
            Subject(key=key),
        )
    if any("redis_primary" in fault.cell for fault in joined.records.faults):
        # A promotion may count anew.
        return
    applied = Counter(row.partition_index for row in joined.records.orders)
    applied.update(row.partition_index for row in joined.records.dead_letters)
    for row in joined.records.queue:
        if row.entries_added is not None:
            found.check(
                row.entries_added >= applied[row.partition_index],
                f"partition {row.partition_index} took in {applied[row.partition_index]} messages,"
                f" and {row.entries_added} were ever added",
                Subject(partition_index=row.partition_index),
            )


def no_secret_leaks(joined: Joined, found: Findings) -> None:
    """I24: no card number, secret or token that the load knows stands in a log or a dump."""
    records = joined.records
    if not records.leak_bytes_scanned:
        found.unknown = "no log was searched"
        return
    found.checked = records.leak_bytes_scanned
    for leak in records.leaks:
        found.wrong(f"{leak.what} stands in {leak.place}", Subject())
