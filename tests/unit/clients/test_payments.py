"""Payments and the rest: what is asked for, under which key, and what is made of the answer."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID, uuid5

import pytest

from tallystick import (
    CallFailed,
    NotReached,
    PaymentFailed,
    Refund,
    Refused,
    RetryPolicy,
    StillRunning,
    payments,
    problems,
    resources,
)
from tallystick.binding import _pages
from tallystick.exchange import NoAnswer, Response
from tallystick.operations import Forgetting
from tallystick.records import Event
from tests.unit.clients.steps import LOST, NOT_SENT, Taker, refused, said

ID = "6f1c0e58-6c0f-4b7f-9d5e-0f3f0a6f4c11"


def payment(status: str = "succeeded", **more: object) -> dict[str, object]:
    return {"id": ID, "object": "payment_order", "status": status, **more}


def test_a_named_key_is_kept_before_anything_is_sent() -> None:
    """A process that dies right after its first byte left has its key in the store already."""
    taker = Taker([LOST, said(201, payment())])
    taker.take(
        payments.create(
            amount=1, currency="USD", payment_method="tok_approve", key_name="cart-1001"
        )
    )
    assert taker.kept_after == [0]


def test_a_name_leads_to_the_same_key_again() -> None:
    """Whoever comes back with the cart's name goes on with the cart's payment."""
    taker = Taker([said(201, payment()), said(201, payment())])
    wanted = payments.create(
        amount=1, currency="USD", payment_method="tok_approve", key_name="cart-1001"
    )
    taker.take(wanted)
    taker.take(wanted)
    (key,) = taker.sent_keys
    assert len(taker.sent) == 2
    assert taker.keys.keep("/v1/payments#cart-1001", UUID(int=0)) == key


DECLINED = {"code": "declined", "payment": payment("failed")}


def test_a_name_is_new_once_its_payment_failed_for_good() -> None:
    """After a decline the name can be forgotten, and the next call is a payment of its own."""
    taker = Taker([said(402, DECLINED), said(201, payment())])
    wanted = payments.create(
        amount=1, currency="USD", payment_method="tok_approve", key_name="cart-1001"
    )
    with pytest.raises(PaymentFailed) as caught:
        taker.take(wanted)
    taker.take(Forgetting(caught.value))
    taker.take(wanted)
    assert len(taker.sent_keys) == 2


@pytest.mark.parametrize(
    "script",
    [
        [NOT_SENT],
        [LOST],
        [refused("api_key_invalid", 401)],
        [refused("idempotency_key_reused", 422)],
        [refused("amount_too_small", 422)],
        [refused("queue_backpressure", 503, retryable=False, may_run=False)],
    ],
)
def test_no_other_error_lets_a_key_be_forgotten(script: list[Response | NoAnswer]) -> None:
    """Whatever else came back, an earlier process may have been paid under the key: it stays."""
    taker = Taker([*script, said(201, payment())], policy=RetryPolicy(attempts_max=1))
    wanted = payments.create(
        amount=1, currency="USD", payment_method="tok_approve", key_name="cart-1001"
    )
    with pytest.raises(CallFailed) as caught:
        taker.take(wanted)
    with pytest.raises(ValueError, match="same key"):
        taker.take(Forgetting(caught.value))
    taker.take(wanted)
    assert len(taker.sent_keys) == 1


def test_a_refund_that_failed_is_told_and_forgotten_apart() -> None:
    """A refund's end is the refund's: its payment's key stays."""
    failed = {"code": "refund_exceeds_captured", "refund": {"id": "rf_a", "status": "failed"}}
    taker = Taker([said(422, failed), said(201, {"id": "rf_b"})])
    wanted = payments.refund(ID, amount=5, key_name="a")
    with pytest.raises(Refused) as caught:
        taker.take(wanted)
    assert isinstance(caught.value.ended, Refund)
    assert not caught.value.may_have_run
    taker.take(Forgetting(caught.value))
    taker.take(wanted)
    assert len(taker.sent_keys) == 2


def test_names_of_different_things_are_apart() -> None:
    """A refund of a name that a payment has too is no repetition of the payment."""
    taker = Taker([said(201, payment()), said(201, {"id": "rf_a"}), said(201, {"id": "rf_b"})])
    taker.take(
        payments.create(amount=1, currency="USD", payment_method="tok_approve", key_name="a")
    )
    taker.take(payments.refund(ID, key_name="a"))
    taker.take(payments.refund(UUID(int=5), key_name="a"))
    assert len(taker.sent_keys) == 3


def test_a_key_and_a_name_at_once_are_refused() -> None:
    """Nobody has to guess which of two keys was meant."""
    with pytest.raises(ValueError, match="not both"):
        payments.void(ID, idempotency_key=ID, key_name="a")
    with pytest.raises(ValueError, match="idempotency_key must be a UUID"):
        payments.void(ID, idempotency_key="cart-1001")
    with pytest.raises(ValueError, match="500 characters"):
        payments.void(ID, key_name="")


def test_splits_are_sent_and_read() -> None:
    """One charge for several sellers: the parts go out as they were given, and come back as objects."""
    parts = [{"seller": "slr_a", "amount": 2}, {"seller": "slr_b", "amount": 1, "fee": 0}]
    shown = [{"seller": "slr_a", "amount": 2, "fee": 1}, {"seller": "slr_b", "amount": 1, "fee": 0}]
    taker = Taker([said(201, payment(splits=shown))])
    taken = taker.take(
        payments.create(amount=3, currency="USD", payment_method="tok_approve", splits=parts)
    )
    assert b'"splits": [{"seller": "slr_a", "amount": 2}, ' in (taker.sent[0].body or b"")
    assert [(part.seller, part.amount, part.fee) for part in taken.splits] == [
        ("slr_a", 2, 1),
        ("slr_b", 1, 0),
    ]


def test_what_was_left_out_is_not_sent() -> None:
    """The gateway fills in its own defaults: None stands for a member that is not there."""
    taker = Taker([said(201, payment())])
    taker.take(payments.create(amount=1, currency="USD", payment_method="tok_approve"))
    body = b'{"amount": 1, "currency": "USD", "payment_method": "tok_approve"}'
    assert taker.sent[0].body == body


def test_the_routes_of_the_life_cycle() -> None:
    """Captures, voids and refunds go where the API has them, each under a key."""
    taker = Taker([said(201, payment())] * 4)
    taker.take(payments.capture(ID, amount=5))
    taker.take(payments.void(ID))
    taker.take(payments.refund(ID, amount=3, reason="broken"))
    assert [(request.method, request.target) for request in taker.sent] == [
        ("POST", f"/v1/payments/{ID}/captures"),
        ("POST", f"/v1/payments/{ID}/void"),
        ("POST", f"/v1/payments/{ID}/refunds"),
    ]
    assert taker.sent[2].body == b'{"amount": 3, "reason": "broken"}'
    assert len(taker.sent_keys) == 3


def test_ids_stay_within_their_part_of_the_path() -> None:
    """An id from elsewhere can't lead to another route."""
    taker = Taker([said(200, payment())])
    taker.take(payments.retrieve("../wallets/me?x"))
    assert taker.sent[0].target == "/v1/payments/..%2Fwallets%2Fme%3Fx"
    with pytest.raises(ValueError, match="empty"):
        payments.retrieve("")


def test_filters_are_written_as_the_api_reads_them() -> None:
    """Brackets, offsets and metadata arrive as they were meant."""
    taker = Taker([said(200, {"data": [], "has_more": False})])
    taker.take(
        payments.listed(
            limit=5,
            created_gte=datetime(2026, 11, 1, tzinfo=UTC),
            amount_lte=100,
            metadata={"cart": "c 9"},
        )
    )
    assert taker.sent[0].target == (
        "/v1/payments?limit=5&created%5Bgte%5D=2026-11-01T00%3A00%3A00%2B00%3A00"
        "&amount%5Blte%5D=100&metadata%5Bcart%5D=c+9"
    )


def test_a_time_without_an_offset_is_refused() -> None:
    """Which moment was meant is never guessed."""
    with pytest.raises(ValueError, match="offset"):
        Taker([]).take(payments.listed(created_gte=datetime(2026, 11, 1)))  # noqa: DTZ001


def test_waiting_looks_until_nothing_is_under_way() -> None:
    """A payment is looked at, ever more rarely, until it ended or its buyer has to act."""
    under_way = said(200, payment("processing"))
    script = [under_way, under_way, under_way, said(200, payment("requires_action"))]
    taker = Taker([*script])
    assert taker.take(payments.wait(ID)).status == "requires_action"
    assert taker.pauses_s == sorted(taker.pauses_s)
    further = Taker([said(200, payment("requires_action")), said(200, payment())])
    assert further.take(payments.wait(ID, through_action=True)).status == "succeeded"


def test_waiting_ends_in_time_and_shows_the_payment() -> None:
    """Who waited long enough gets the payment as it was last, in an error."""
    taker = Taker([said(200, payment("processing"))] * 50)
    with pytest.raises(StillRunning) as caught:
        taker.take(payments.wait(ID, timeout_s=3))
    assert caught.value.payment.status == "processing"
    assert taker.now_s == pytest.approx(3)


def test_waiting_ends_in_time_also_when_nobody_answers() -> None:
    """A gateway that is away holds a wait no longer than it was meant to last."""
    taker = Taker([LOST] * 50, send_s=0.5)
    with pytest.raises(NotReached):
        taker.take(payments.wait(ID, timeout_s=3))
    assert taker.now_s <= 3.5


def test_an_answer_tells_what_its_head_said() -> None:
    """Replay, deferred check and request id are there, beside members that nobody knows yet."""
    reply = said(
        202,
        payment("processing", new="x"),
        tallystick_key_check="deferred",
        idempotent_replayed="true",
    )
    got = Taker([reply]).take(
        payments.create(amount=1, currency="USD", payment_method="tok_approve")
    )
    assert got.response is not None
    assert (got.response.status, got.response.request_id) == (202, "req_abc")
    assert got.response.is_replayed
    assert got.response.is_key_check_deferred
    assert got["new"] == "x"


def test_a_decline_carries_its_payment_and_reason() -> None:
    """Who was declined learns why, by class, by code and by the payment itself."""
    document = {
        "code": "declined",
        "decline_code": "do_not_honor",
        "detail": "The card was declined.",
        "payment": payment("failed"),
    }
    with pytest.raises(problems.Declined) as caught:
        Taker([said(402, document)]).take(
            payments.create(amount=1, currency="USD", payment_method="tok_decline_do_not_honor")
        )
    assert caught.value.decline_code == "do_not_honor"
    assert caught.value.payment is not None
    assert caught.value.payment.status == "failed"
    assert str(caught.value) == "declined: The card was declined. (req_abc)"


def test_a_refusal_tells_where_it_lies() -> None:
    """The parts of a problem document can be had without parsing anything."""
    document = {"code": "amount_too_small", "param": "$.amount", "details": {"minimum": 50}}
    with pytest.raises(problems.AmountTooSmall) as caught:
        Taker([said(422, document)]).take(
            payments.create(amount=1, currency="USD", payment_method="tok_approve")
        )
    assert (caught.value.param, caught.value.details) == ("$.amount", {"minimum": 50})
    assert caught.value.request_id == "req_abc"


def test_lists_go_on_behind_their_last() -> None:
    """All pages are gone through, each behind the one before, with the same filters."""
    taker = Taker(
        [
            said(200, {"data": [payment(id="a"), payment(id="b")], "has_more": True}),
            said(200, {"data": [payment(id="c")], "has_more": False}),
        ]
    )
    found = [each.id for each in _pages(_Runner(taker), payments.iterate(status="succeeded"))]
    assert found == ["a", "b", "c"]
    assert taker.sent[1].target == "/v1/payments?limit=100&status=succeeded&starting_after=b"


def test_the_feed_goes_on_behind_its_last_event() -> None:
    """Events are read up to the newest, by the cursor that the feed tells, not by their ids."""
    taker = Taker(
        [
            said(
                200,
                {
                    "data": [{"id": "evt_a"}, {"id": "evt_b"}],
                    "has_more": True,
                    "next_cursor": "f_b",
                },
            ),
            said(200, {"data": [{"id": "evt_c"}], "has_more": False, "next_cursor": "f_c"}),
            said(200, {"data": [], "has_more": False, "next_cursor": "f_c"}),
        ]
    )
    found = [each.id for each in _pages(_Runner(taker), resources.iterate_events(after="f_a"))]
    assert found == ["evt_a", "evt_b", "evt_c"]
    assert [request.target for request in taker.sent] == [
        "/v1/events?after=f_a&limit=100",
        "/v1/events?after=f_b&limit=100",
    ]
    assert taker.take(resources.list_events(after="f_c")).next_cursor == "f_c"


def test_orders_of_a_checkout_keep_their_ids_in_every_repetition() -> None:
    """An order without an id gets one from the call's key: another process names the same orders."""
    taker = Taker([said(201, {"id": "co_a"})] * 2)
    wanted = resources.create_checkout(
        orders=[{"seller": "slr_a", "amount": 5, "currency": "USD"}, {"id": ID, "amount": 6}],
        payment_method="tok_approve",
        key_name="cart-1",
    )
    taker.take(wanted)
    taker.take(wanted)
    (key,) = taker.sent_keys
    first, second = taker.sent
    assert first.body == second.body
    assert first.body is not None
    assert str(uuid5(key, "0")).encode() in first.body
    assert ID.encode() in first.body


def test_records_keep_what_they_do_not_know() -> None:
    """A member of a later version is there by its name, and one that is missing is said to be."""
    event = Event({"id": "evt_a", "created_at": "2026-11-01T12:00:00.000Z", "colour": "red"})
    assert event.created_at == datetime(2026, 11, 1, 12, tzinfo=UTC)
    assert event["colour"] == "red"
    with pytest.raises(AttributeError, match="sequence"):
        _ = event.sequence
    assert refused("declined", 402).document() is not None


class _Runner:
    def __init__(self, taker: Taker) -> None:
        self.run = taker.take
