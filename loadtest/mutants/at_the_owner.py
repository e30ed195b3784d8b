"""Defects of a partition's owner: what it takes for known, for clean, or for its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from loadtest.mutants.patching import Mutant, MutantOutdated, replace_attribute, wrap_lanes

if TYPE_CHECKING:
    from actors.inbox import Work
    from actors.lane_worker import LaneWorker
    from payments.attempts import Attempt, ResultClass
    from storage.ports import Flush, FlushReceipt, Lane

# Far above the attempts that an order makes, so that a key made up here meets no other one.
_ATTEMPT_NO_APART = 1_000


def key_apart(psp_key: str) -> str:
    """Return another key for the same order: the PSP takes it for another charge."""
    from payments import identity

    known = identity.parse_psp_key(psp_key)
    if known is None:
        raise MutantOutdated(f"{psp_key!r} is no PSP key")
    return identity.psp_key(known.order_uuid, known.attempt_no + _ATTEMPT_NO_APART)


def _known_orders_not_asked() -> None:
    from actors.lane_worker import LaneWorker

    known = vars(LaneWorker)["_known"]

    async def known_of_nothing(worker: LaneWorker, _work: dict[int, Work]) -> Any:
        return await known(worker, {})

    replace_attribute(LaneWorker, "_known", known_of_nothing)


def _inherited_counts_as_clean() -> None:
    from payments.attempts import Attempt

    inherited = Attempt.inherited

    def inherited_clean(**fields: Any) -> Attempt:
        return inherited(**fields)._replace(is_tainted=False)

    def is_clean_for(attempt: Attempt, _epoch: int) -> bool:
        return not attempt.is_tainted

    replace_attribute(Attempt, "inherited", staticmethod(inherited_clean))
    replace_attribute(Attempt, "is_clean_for", is_clean_for)


def _unknown_does_not_taint() -> None:
    from payments.attempts import Attempt, ResultClass

    after_try = Attempt.after_try

    def after_try_untainted(attempt: Attempt, result: ResultClass) -> Attempt:
        tried = after_try(attempt, result)
        is_unknown = result is ResultClass.UNKNOWN
        return tried._replace(is_tainted=attempt.is_tainted) if is_unknown else tried

    replace_attribute(Attempt, "after_try", after_try_untainted)


def _key_of_the_owner() -> None:
    from payments.attempts import Attempt

    inherited = Attempt.inherited

    def inherited_under_own_key(*, psp_key: str, **fields: Any) -> Attempt:
        return inherited(psp_key=key_apart(psp_key), **fields)

    replace_attribute(Attempt, "inherited", staticmethod(inherited_under_own_key))


class _LetterlessLane:
    """Writes everything but dead letters."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane

    async def append(self, flush: Flush) -> FlushReceipt:
        flush.dead_letters.clear()
        return await self._lane.append(flush)


def _poison_dropped() -> None:
    wrap_lanes(_LetterlessLane)


AT_THE_OWNER = (
    Mutant(
        name="known_orders_not_asked",
        defect="only the queue's key records tell a repeated order, and the books are not asked",
        breaks=("I22", "I26"),
        mix="kill",
        cells=("kill/host/before_removal",),
        put_in=_known_orders_not_asked,
    ),
    Mutant(
        name="inherited_counts_as_clean",
        defect="an attempt of an earlier owner may be left for another PSP, as if it had not run",
        breaks=("I4", "I6"),
        mix="kill",
        cells=("kill/host/after_psp_call",),
        put_in=_inherited_counts_as_clean,
    ),
    Mutant(
        name="unknown_does_not_taint",
        defect="an attempt that timed out and is then refused counts as one that never ran",
        breaks=("I4", "I6"),
        mix="psp",
        cells=("psp/psp_?/charge_then_refuse",),
        put_in=_unknown_does_not_taint,
    ),
    Mutant(
        name="key_of_the_owner",
        defect="a new owner sends what it inherited under a PSP key of its own",
        breaks=("I4", "I6"),
        mix="kill",
        cells=("kill/host/after_psp_call",),
        put_in=_key_of_the_owner,
    ),
    Mutant(
        name="poison_dropped",
        defect="a message that can't be decoded is removed without a dead letter",
        breaks=("I21", "I22"),
        mix="poison",
        cells=("poison/stream/payload_garbage",),
        put_in=_poison_dropped,
    ),
)
