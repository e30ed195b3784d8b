"""What exists on a deployment once the examples of the document have been played on it."""

from __future__ import annotations

from gateway.payment_examples import KEY

EXISTING_PAYMENT = KEY
EXISTING_SELLER = "slr_shoes"
ANOTHER_SELLER = "slr_books"
