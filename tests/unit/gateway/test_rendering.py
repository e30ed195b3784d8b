"""What is rendered on the shorter way is what is rendered on the long one."""

from __future__ import annotations

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from gateway.rendering import accepted_response, accepted_view, running_response
from payments.fingerprint import canonical_json
from tests.queue_commands import a_command
from tests.strategies import currencies, payment_amounts_minor, uuids


@given(
    key=uuids,
    amount_minor=payment_amounts_minor,
    currency=currencies,
    fee_minor=st.integers(0, 10**6),
    metadata=st.none() | st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=3),
    seller_id=st.text(min_size=1, max_size=12),
    accepted_at_ms=st.integers(0, 4_102_444_800_000),
    is_replay=st.booleans(),
    is_deferred=st.booleans(),
)
def test_an_accepted_order_shows_as_its_view_does(
    key: UUID,
    amount_minor: int,
    currency: str,
    fee_minor: int,
    metadata: dict[str, str] | None,
    seller_id: str,
    accepted_at_ms: int,
    is_replay: bool,
    is_deferred: bool,
) -> None:
    """The 202 that is cut from a template has the bytes and headers of the one from all columns."""
    command = a_command(key)._replace(
        amount_minor=amount_minor,
        currency=currency,
        fee_minor=fee_minor,
        metadata_json=None if metadata is None else canonical_json(metadata),
    )
    short = accepted_response(
        command, seller_id, accepted_at_ms, is_replay=is_replay, is_deferred=is_deferred
    )
    view = accepted_view(command, seller_id, accepted_at_ms)
    long = running_response(view, is_replay=is_replay, is_deferred=is_deferred)
    assert (short.status, short.body, short.headers) == (long.status, long.body, long.headers)
