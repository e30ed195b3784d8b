"""Letting the other copy lead in a stack that is stopped: the next start completes it."""

from __future__ import annotations

from pathlib import Path

from ops.local.copies import StoreCopies, StoreEvent, promotion_audit
from ops.local.faults import PromotionRefused
from ops.local.layout import HomeLock, StackHome
from ops.local.ports import claim_ports
from ops.local.stores import LocalStores
from runtime.clock import Clock


async def promote_stopped(
    root: Path, store: str, *, actor: str, is_forced: bool, clock: Clock
) -> str:
    """Record the other copy as the primary, and put the former one's data aside.

    Returns what was done. Raises HomeInUse when the servers run, PromotionRefused.
    """
    home = StackHome.prepare(root)
    stores = LocalStores(home, claim_ports(home, None))
    lock = HomeLock(home)
    lock.acquire()
    try:
        copies: StoreCopies = (
            stores.postgres_copies if store == "postgres" else stores.valkey_copies
        )
        return await _promote(copies, actor=actor, is_forced=is_forced, clock=clock)
    finally:
        lock.release()


async def _promote(copies: StoreCopies, *, actor: str, is_forced: bool, clock: Clock) -> str:
    former, other = copies.primary(), copies.secondary()
    record = copies.file.read()
    if not copies.has_data(other):
        raise PromotionRefused(f"{other.name} has no data either")
    if not is_forced and (record.one_copy is not None or other.number not in record.in_sync):
        raise PromotionRefused(
            f"{other.name} is not known to hold everything that was acknowledged: "
            f"bring the data of {former.name} back"
        )
    # What a daemon that died has left behind must not go on writing.
    await former.kill()
    await other.kill()
    copies.file.hand_over(former=former.number, to=other.number)
    reason = f"{actor}, while stopped{', forced' if is_forced else ''}"
    event = StoreEvent(
        at=clock.now().isoformat(timespec="milliseconds"),
        what="promoted",
        node=other.name,
        reason=reason,
    )
    copies.file.note(event)
    copies.file.owe(promotion_audit(event, actor=actor, is_forced=is_forced))
    return f"{other.name} leads from the next start on; {former.name} is copied anew then"
