"""Attempts: one try at a PSP for one order, under one PSP key.

The rule that keeps buyers from being charged twice: an attempt is *clean* only while it was written
by the owner that holds it now and every try of it was proven ``not_sent``. Anything else is
*tainted*, and a tainted attempt ends only by a definitive answer to its own key. "Not found" proves
nothing: the request may still sit in a frozen owner's socket.
"""

from __future__ import annotations

from datetime import MAXYEAR, datetime
from enum import IntEnum
from typing import NamedTuple


class ResultClass(IntEnum):
    """What a PSP's answer, or its silence, means for the order. Stored; never renumber."""

    APPROVED = 1
    DECLINED_FINAL = 2
    NOT_SENT = 3
    """Proven that the PSP did not and will not run the request (refused connection, 429, "did not run")."""
    REQUIRES_ACTION = 4
    UNKNOWN = 5
    """Time-out, reset after the first byte, a replayed 500, a 409 from a concurrent twin, "not found"."""
    CANCELED = 6
    """The PSP confirms that the key is canceled: it never charges any more."""
    PREPARED = 7
    """The PSP knows the charge by its reference and has not run it: only a second send, which names
    that reference, does. The reference is in the books before."""

    @property
    def is_definitive(self) -> bool:
        """Whether this answer ends an attempt, also a tainted one."""
        return self in (ResultClass.APPROVED, ResultClass.DECLINED_FINAL, ResultClass.CANCELED)


class PspAnswer(NamedTuple):
    """One classified answer of a PSP. A connector returns it for everything, it never raises for a refusal."""

    result: ResultClass
    reference: str | None = None
    """The PSP's own id of the charge; None when it gave none."""
    decline_code: str | None = None
    message: str = ""
    """For people, at most 200 characters, free of card data."""
    captured_minor: int = 0
    """Of a capture, void or refund: the amount that it moved."""
    currency: str | None = None
    next_action_url: str | None = None
    effective_at: datetime | None = None
    """When the PSP says the money moved (UTC)."""
    retry_after_s: float | None = None
    is_silent: bool = False
    """Nothing came from the PSP: not reached, cut off, or too late. It says nothing of the charge."""
    failure_code: str = "declined"
    """Of a final refusal: what storefronts read as the failure's code."""
    authorized_minor: int = 0
    """What is held and not captured yet, where only that was asked for."""
    is_key_spent: bool = False
    """The PSP keeps this very answer for each later send of the key, and it decides nothing."""

    def storable(self) -> PspAnswer:
        """Return the answer as the books can hold it, whatever the PSP wrote.

        Postgres refuses a zero character, a time without a zone has no meaning, and one at the end of
        the calendar none in UTC; nothing of it may stop the partition that has to hear what became of the charge.
        """
        texts = f"{self.reference}{self.decline_code}{self.message}{self.next_action_url}"
        at = self.effective_at
        if texts.isprintable() and (at is None or is_storable_time(at)):
            # Nearly every answer: looked at as one text, and not copied.
            return self
        return self._replace(
            reference=_printable(self.reference),
            decline_code=_printable(self.decline_code),
            message=_printable(self.message) or "",
            next_action_url=_printable(self.next_action_url),
            effective_at=at if is_storable_time(at) else None,
        )


def is_storable_time(at: datetime | None) -> bool:
    """Whether it is a time that the books can hold: with a zone, and in UTC a date of the calendar.

    The first and the last year are none: there a zone leads out of it, and the last of its moments
    stands for no end of time at all.
    """
    return at is not None and at.utcoffset() is not None and 1 < at.year < MAXYEAR


def _printable(text: str | None) -> str | None:
    if text is None or text.isprintable():
        return text
    return "".join(character for character in text if character.isprintable())


class Attempt(NamedTuple):
    """What one attempt fixed before its first byte left. ``request`` is sent unchanged on every try."""

    attempt_no: int
    psp: str
    psp_account: str
    psp_key: str
    request: bytes
    epoch: int
    created_at: datetime
    is_tainted: bool
    try_count: int = 0

    @classmethod
    def inherited(
        cls,
        *,
        attempt_no: int,
        psp: str,
        psp_account: str,
        psp_key: str,
        request: bytes,
        epoch: int,
        created_at: datetime,
    ) -> Attempt:
        """Rebuild an attempt written by an earlier owner: whatever it did, we did not see it."""
        return cls(
            attempt_no=attempt_no,
            psp=psp,
            psp_account=psp_account,
            psp_key=psp_key,
            request=request,
            epoch=epoch,
            created_at=created_at,
            is_tainted=True,
        )

    def after_try(self, result: ResultClass) -> Attempt:
        """Return the attempt as it stands after one try. Taint never washes off."""
        is_tainted = self.is_tainted or result is not ResultClass.NOT_SENT
        return self._replace(is_tainted=is_tainted, try_count=self.try_count + 1)

    def is_clean_for(self, epoch: int) -> bool:
        """Whether another PSP, or a failure without the PSP's word, is allowed under this epoch."""
        return not self.is_tainted and self.epoch == epoch
