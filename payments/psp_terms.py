"""What a PSP promises about keys, as far as decisions read it."""

from __future__ import annotations

from typing import NamedTuple


class PspTerms(NamedTuple):
    """The promises of one PSP. The defaults are those of one that is not configured: it promises nothing."""

    key_lifetime_s: int = 0
    """How long it remembers a key."""
    replays_declines: bool = False
    """Whether a declined key stays declined, however often it is sent."""
    can_burn_key: bool = False
    """Whether canceling a key makes sure that it never charges."""
    prepares: bool = False
    """Whether a charge runs only by a second send, which names the reference of the first; by that
    reference it can be asked for, and canceled, at any age of the key."""
