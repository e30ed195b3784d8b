"""What clients see one after the other: I15 and I16."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from loadtest.checker.findings import Findings, Subject
from loadtest.checker.joined import Joined, Op, grouped, key_of
from loadtest.checker.records import ClientKey, EventType, OpKind

HTTP_NOT_FOUND = 404

_HELD = "requires_capture"
_END_RANK = 4
# An order asks for an action and runs again: neither comes before the other.
RANKS: Mapping[str, int] = {
    "created": 1,
    "processing": 1,
    "requires_action": 1,
    "requires_capture": 2,
    "partially_captured": 3,
    "succeeded": _END_RANK,
    "failed": _END_RANK,
    "canceled": _END_RANK,
    "expired": _END_RANK,
}
# Only these bring a wallet more than they take; where another one took something, it may fall.
_RAISING_KINDS = frozenset({"charge", "fee", "authorization", "capture", "release"})


class Seen(NamedTuple):
    """What one operation saw of an order. ``rank`` is -1 for "there is none"."""

    op: Op
    invoke_ns: int
    end_ns: int
    rank: int
    status: str
    is_frozen_hold: bool = False
    """The answer froze when the order was authorized: it shows that for ever, whatever came of it."""


def own_writes_are_read(joined: Joined, found: Findings) -> None:
    """I15: whoever was told that an order was taken in, or has ended, finds it so."""
    for key, ops in joined.posts.items():
        told_ns = min(
            (op.end.at_ns for op in ops if op.is_acknowledged and op.end is not None), default=None
        )
        if told_ns is None:
            continue
        for op in joined.gets.get(key, ()):
            if op.end is None or op.invoke.at_ns <= told_ns:
                continue
            found.check(
                op.end.status != HTTP_NOT_FOUND,
                f"{key[0]} {key[2]}: #{op.invoke.op} finds no order, which had been accepted before",
                Subject(key=key),
            )
    _wallets_hold_what_was_seen(joined, found)


def real_time_is_kept(joined: Joined, found: Findings) -> None:
    """I16: what begins after something else ended never sees an earlier state."""
    for key in joined.posts.keys() | joined.gets.keys():
        _never_back(key, sorted(_seen(joined, key), key=lambda seen: seen.invoke_ns), found)
    falling = _falling(joined)
    for owner, reads in _wallet_reads(joined).items():
        if owner in falling:
            continue
        for earlier, later in itertools.pairwise(reads):
            if earlier.end_ns >= later.invoke_ns:
                continue
            for currency, before_minor in earlier.posted.items():
                after_minor = later.posted.get(currency, 0)
                found.check(
                    after_minor >= before_minor,
                    f"wallet {owner} shows {after_minor} {currency} in #{later.op}, and showed"
                    f" {before_minor} in #{earlier.op}, which had ended before",
                    Subject(),
                )


def _never_back(key: ClientKey, seen: Sequence[Seen], found: Findings) -> None:
    by_end = sorted(seen, key=lambda each: each.end_ns)
    at, highest = 0, None
    for later in seen:
        while at < len(by_end) and by_end[at].end_ns < later.invoke_ns:
            if highest is None or by_end[at].rank > highest.rank:
                highest = by_end[at]
            at += 1
        if highest is None or later.is_frozen_hold:
            continue
        is_same_end = (
            later.rank != _END_RANK or highest.rank != _END_RANK or later.status == highest.status
        )
        found.check(
            later.rank >= highest.rank and is_same_end,
            f"{key[0]} {key[2]}: #{later.op.invoke.op} shows {later.status!r}, and"
            f" #{highest.op.invoke.op} had shown {highest.status!r} before it began",
            Subject(key=key),
        )


def _seen(joined: Joined, key: ClientKey) -> Iterator[Seen]:
    for op in (*joined.posts.get(key, ()), *joined.gets.get(key, ())):
        end = op.end
        # An answer with a deferred key check did not look at the books.
        if end is None or end.is_deferred:
            continue
        if op.invoke.kind is OpKind.GET and end.status == HTTP_NOT_FOUND:
            yield Seen(op, op.invoke.at_ns, end.at_ns, -1, "no such order")
        elif end.type is EventType.OK:
            status = str(joined.shown(end).get("status"))
            if (rank := RANKS.get(status)) is not None:
                is_frozen = op.invoke.kind is OpKind.POST and status == _HELD
                yield Seen(op, op.invoke.at_ns, end.at_ns, rank, status, is_frozen)


class WalletRead(NamedTuple):
    """One answer about a wallet: what it has posted, by currency."""

    op: int
    invoke_ns: int
    end_ns: int
    posted: Mapping[str, int]


def _wallet_reads(joined: Joined) -> Mapping[ClientKey, Sequence[WalletRead]]:
    """Return the reads of each wallet, in the order of invocation."""
    return grouped(
        (key_of(op.invoke), WalletRead(op.invoke.op, op.invoke.at_ns, op.end.at_ns, posted))
        for op in joined.ops
        if op.invoke.kind is OpKind.WALLET and op.end is not None
        for posted in _posted(joined.document(op.end).get("balances"), op.type)
    )


def _posted(balances: object, ended: EventType) -> Iterator[Mapping[str, int]]:
    if ended is EventType.OK and isinstance(balances, list):
        yield {str(each.get("currency")): int(each.get("posted", 0)) for each in balances}


def _wallets_hold_what_was_seen(joined: Joined, found: Findings) -> None:
    """A wallet holds at least what the orders brought that were seen to have succeeded before."""
    falling = _falling(joined)
    reads = {owner: of_it for owner, of_it in _wallet_reads(joined).items() if owner not in falling}
    gained = _gains(joined, {(owner[0], owner[1]) for owner in reads})
    for owner, of_wallet in reads.items():
        gains = gained.get(owner, [])
        sums: defaultdict[str, int] = defaultdict(int)
        at = 0
        for read in of_wallet:
            while at < len(gains) and gains[at][0] < read.invoke_ns:
                sums[gains[at][1]] += gains[at][2]
                at += 1
            for currency, minor in sums.items():
                found.check(
                    read.posted.get(currency, 0) >= minor,
                    f"wallet {owner} shows {read.posted.get(currency, 0)} {currency} in #{read.op},"
                    f" after orders that bring {minor} had been seen to succeed",
                    Subject(),
                )


def _gains(
    joined: Joined, sessions: Iterable[tuple[str, str]]
) -> dict[ClientKey, list[tuple[int, str, int]]]:
    """Return (seen at, currency, net minor) of each order seen to succeed, by wallet and time."""
    wanted = set(sessions)
    gains: defaultdict[ClientKey, list[tuple[int, str, int]]] = defaultdict(list)
    for key in joined.posts:
        if (key[0], key[1]) not in wanted:
            continue
        first: tuple[int, Mapping[str, object]] | None = None
        for seen in _seen(joined, key):
            if seen.status == "succeeded" and (first is None or seen.end_ns < first[0]):
                assert seen.op.end is not None
                first = seen.end_ns, joined.shown(seen.op.end)
        if first is not None:
            at_ns, shown = first
            currency = str(shown.get("currency"))
            for seller, net_minor in _nets_minor(shown):
                gains[key[0], key[1], seller].append((at_ns, currency, net_minor))
    for of_wallet in gains.values():
        of_wallet.sort()
    return gains


def _nets_minor(shown: Mapping[str, object]) -> Iterator[tuple[str, int]]:
    """Yield whom a payment that succeeded brought how much, as far as its answer tells."""
    captured_minor, fee_minor = shown.get("amount_captured"), shown.get("fee")
    if not isinstance(captured_minor, int) or not isinstance(fee_minor, int):
        return
    parts = shown.get("splits")
    if not isinstance(parts, list):
        yield str(shown.get("seller")), captured_minor - fee_minor
    elif captured_minor == shown.get("amount"):
        # Of a part of the whole nobody is told its share.
        for part in parts:
            yield str(part.get("seller")), int(part.get("amount", 0)) - int(part.get("fee", 0))


def _falling(joined: Joined) -> frozenset[ClientKey]:
    """Return the wallets that may hold less than before: something was refunded, or is disputed."""
    accounts = (
        joined.account_by_id.get((row.partition_index, account_no))
        for row in joined.records.transfers
        if row.kind not in _RAISING_KINDS
        for account_no in (row.debit_account_no, row.credit_account_no)
    )
    return frozenset(
        (found.merchant, found.mode, found.holder)
        for found in accounts
        if found is not None and found.kind == "wallet"
    )
