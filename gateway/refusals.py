"""What the door says of orders and operations that it can't take, in the same words for all."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.problems import Code, Problem, store_unavailable

BOOKS_AWAY = store_unavailable("The books can't be read now.", may_run=False)
BACKPRESSURE = Problem(
    code=Code.QUEUE_BACKPRESSURE,
    detail="The queue is full. Nothing was kept; send the same request again soon.",
    details={"may_run": False},
)
UNDECIDED_KEY = store_unavailable(
    "The queue knows this key with another request, and the books can't be asked which was first."
    " Send the same request again soon.",
    may_run=True,
)


def reused(differs: Sequence[str]) -> Problem:
    """Return the 422 of a key that belongs to another request; ``differs`` names the fields."""
    return Problem(
        code=Code.IDEMPOTENCY_KEY_REUSED,
        detail="This key names another request already. Nothing was charged for this one.",
        param="header:Idempotency-Key",
        details={"differs": list(differs)},
    )


def unproven(*, may_run: bool) -> Problem:
    """Return the 503 of what is not known to be on every copy promised."""
    if may_run:
        detail = (
            "The order is not safely stored yet, and may run all the same. Send the same request"
            " again with the same Idempotency-Key: it is never charged twice."
        )
    else:
        detail = "The order was not stored. Send the same request again soon."
    return store_unavailable(detail, may_run=may_run)
