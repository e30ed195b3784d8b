"""All rows, in the order in which they are tried and shown."""

from __future__ import annotations

from collections.abc import Sequence

from loadtest.idempotency.checkouts import CHECKOUTS
from loadtest.idempotency.fingerprints import OTHER, SAME
from loadtest.idempotency.first_use import FIRST_USE
from loadtest.idempotency.keys import KEYS
from loadtest.idempotency.kills import KILLS
from loadtest.idempotency.lost_answers import IN_TROUBLE, LOST_ANSWERS
from loadtest.idempotency.operations import OPERATIONS
from loadtest.idempotency.repeats import REPEATS
from loadtest.idempotency.rows import Row
from loadtest.idempotency.strangers import STRANGERS
from loadtest.idempotency.twins import TWINS

ROWS: Sequence[Row] = tuple(
    row
    for section in (
        KEYS,
        FIRST_USE,
        REPEATS,
        SAME,
        OTHER,
        STRANGERS,
        TWINS,
        CHECKOUTS,
        OPERATIONS,
        LOST_ANSWERS,
        IN_TROUBLE,
        KILLS,
    )
    for row in section.rows
)
"""Those that kill come last."""
