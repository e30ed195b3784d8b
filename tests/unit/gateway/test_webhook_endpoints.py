"""Webhook endpoints, their secrets and their log over HTTP."""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import timedelta

import pytest

from gateway.webhook_endpoints import ENDPOINTS_MAX
from gateway.webhook_requests import OVERLAP_S_MAX
from payments.event_types import TYPE_PATTERNS
from payments.feed import EventKey, FeedPosition, delivery_id, event_id
from payments.lifecycle import PaymentEvent
from payments.mode import Mode
from storage.sealing import open_sealed
from storage.webhook_ports import Delivery, DeliveryState, EndpointStatus
from tests.fakes.fake_queries import FAKE_NOW
from tests.unit.gateway.stack import Answered, GatewayStack

URL = "https://shop.example.org/hooks"
ENDPOINTS = "/v1/webhook_endpoints"


async def create(stack: GatewayStack, **changes: object) -> Answered:
    return await stack.post(ENDPOINTS, {"url": URL, **changes})


def put_delivery(
    stack: GatewayStack,
    endpoint_no: int,
    order_no: int,
    *,
    state: DeliveryState = DeliveryState.DELIVERED,
    minutes: int = 0,
) -> FeedPosition:
    """Put a row into the log, of an event that is so many minutes old."""
    at = FAKE_NOW - timedelta(minutes=minutes)
    key = EventKey(3, order_no, 2)
    position = stack.feed.put(key, type=PaymentEvent.SUCCEEDED, created_at=at)
    books = stack.webhooks.books
    books.deliveries[endpoint_no, position] = Delivery(
        endpoint_no=endpoint_no,
        position=position,
        type=PaymentEvent.SUCCEEDED,
        event_created_at=at,
        state=state,
        try_count=1,
        due_at=FAKE_NOW if state is DeliveryState.WAITING else None,
        first_try_at=at,
        last_try_at=at,
        last_http_status=None if state is DeliveryState.WAITING else 200,
        last_error="timeout" if state is DeliveryState.WAITING else None,
        last_duration_ms=12,
    )
    books.rounds[endpoint_no, position] = 1
    return position


async def test_the_secret_is_shown_once() -> None:
    """The answer to the creation has it; no later one does, and in the books it is in its envelope."""
    async with GatewayStack() as stack:
        created = await create(stack, types=["payment_order.*"])
        assert created.status == 201
        document = created.json
        secret = document.pop("secret")
        assert secret.startswith("whsec_")
        raw = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
        assert len(raw) == 32
        sealed, _ = stack.webhooks.books.secrets[1][0]
        assert open_sealed(sealed) == raw
        shown = await stack.get(f"{ENDPOINTS}/{document['id']}")
        assert shown.json == document
        assert document["types"] == ["payment_order.*"]
        assert document["status"] == "enabled"
        assert (await stack.get(ENDPOINTS)).json["data"] == [document]


async def test_without_types_everything_is_told() -> None:
    """The types may be left out."""
    async with GatewayStack() as stack:
        assert (await create(stack)).json["types"] == ["*"]


@pytest.mark.parametrize(
    ("change", "code", "param"),
    [
        ({"url": "http://shop.example.org/"}, "webhook_url_invalid", "$.url"),
        ({"url": "https://127.0.0.1/"}, "webhook_url_invalid", "$.url"),
        ({"url": "https://shop.example.org:6379/"}, "webhook_url_invalid", "$.url"),
        ({"url": 7}, "field_type_invalid", "$.url"),
        ({"types": []}, "webhook_types_invalid", "$.types"),
        ({"types": ["payment_order.exploded"]}, "webhook_types_invalid", "$.types"),
        ({"types": ["*"] * 1_000}, "webhook_types_invalid", "$.types"),
        ({"secret": "whsec_mine"}, "field_unknown", "$.secret"),
        ({"url": "https://shop.example.org/4242424242424242"}, "pan_not_accepted", None),
    ],
)
async def test_a_bad_endpoint_is_refused(
    change: dict[str, object], code: str, param: str | None
) -> None:
    """Each rule is named with its field, and nothing is kept."""
    async with GatewayStack() as stack:
        answer = await create(stack, **change)
        assert answer.code == code
        assert answer.json.get("param") == param
        assert stack.webhooks.books.endpoints == {}


async def test_a_refusal_lists_the_types_that_there_are() -> None:
    """Who mistypes is told what to type."""
    async with GatewayStack() as stack:
        answer = await create(stack, types=["payments.succeeded"])
        assert answer.json["details"]["types"] == sorted(TYPE_PATTERNS)


async def test_endpoints_are_bounded_for_each_merchant_and_mode() -> None:
    """One more than there may be is refused; another mode, and one deleted, have room."""
    async with GatewayStack() as stack:
        ids = [(await create(stack)).json["id"] for _ in range(ENDPOINTS_MAX)]
        refused = await create(stack)
        assert (refused.status, refused.code) == (409, "too_many_endpoints")
        live = stack.issue_key(mode=Mode.LIVE)
        assert (await stack.post(ENDPOINTS, {"url": URL}, key=live)).status == 201
        assert (await stack.request("DELETE", f"{ENDPOINTS}/{ids[0]}")).status == 200
        assert (await create(stack)).status == 201


async def test_a_list_is_walked_newest_first() -> None:
    """Pages follow each other by the id of the last one shown."""
    async with GatewayStack() as stack:
        ids = [(await create(stack)).json["id"] for _ in range(3)]
        first = (await stack.get(f"{ENDPOINTS}?limit=2")).json
        assert [one["id"] for one in first["data"]] == [ids[2], ids[1]]
        assert first["has_more"]
        rest = (await stack.get(f"{ENDPOINTS}?limit=2&starting_after={ids[1]}")).json
        assert [one["id"] for one in rest["data"]] == [ids[0]]
        assert not rest["has_more"]
        assert (await stack.get(f"{ENDPOINTS}?starting_after=x")).code == "parameter_invalid"


async def test_a_deleted_endpoint_is_gone() -> None:
    """It is told as deleted once, and then not found by anything."""
    async with GatewayStack() as stack:
        path = f"{ENDPOINTS}/{(await create(stack)).json['id']}"
        deleted = await stack.request("DELETE", path)
        assert deleted.json["deleted"] is True
        for method, tail in [
            ("DELETE", ""),
            ("GET", ""),
            ("POST", "/enable"),
            ("POST", "/rotate_secret"),
            ("GET", "/deliveries"),
        ]:
            answer = await stack.request(method, path + tail)
            assert answer.code == "webhook_endpoint_not_found", tail


async def test_nobody_touches_anothers_endpoint() -> None:
    """Every route asks for the key's own merchant and mode."""
    async with GatewayStack() as stack:
        path = f"{ENDPOINTS}/{(await create(stack)).json['id']}"
        live = stack.issue_key(mode=Mode.LIVE)
        for method, tail in [
            ("GET", ""),
            ("DELETE", ""),
            ("POST", "/disable"),
            ("POST", "/rotate_secret"),
            ("GET", "/deliveries"),
        ]:
            answer = await stack.request(method, path + tail, key=live)
            assert answer.code == "webhook_endpoint_not_found", tail
        assert (await stack.get(path)).json["status"] == "enabled"


async def test_an_endpoint_is_stopped_and_goes_on() -> None:
    """Disabled and enabled, as often as wanted; what paused it is forgotten."""
    async with GatewayStack() as stack:
        path = f"{ENDPOINTS}/{(await create(stack)).json['id']}"
        assert (await stack.request("POST", f"{path}/disable")).json["status"] == "disabled"
        books = stack.webhooks.books
        books.endpoints[1] = replace(
            books.endpoints[1],
            status=EndpointStatus.PAUSED,
            status_reason="no try has succeeded",
            failing_since=FAKE_NOW,
        )
        assert (await stack.get(path)).json["status_reason"] == "no try has succeeded"
        enabled = (await stack.request("POST", f"{path}/enable")).json
        assert (enabled["status"], enabled["status_reason"]) == ("enabled", None)
        assert enabled["failing_since"] is None


async def test_a_rotation_leaves_two_secrets_valid() -> None:
    """The new one is shown once, the one before ends in time, and a third one ends the first at once."""
    async with GatewayStack() as stack:
        path = f"{ENDPOINTS}/{(await create(stack)).json['id']}"
        rotated = (await stack.post(f"{path}/rotate_secret", {"overlap_s": 60})).json
        assert rotated["secret"].startswith("whsec_")
        assert rotated["secrets"] == 2
        assert rotated["secret_expires_at"] == "2026-11-01T12:01:00.000Z"
        again = (await stack.request("POST", f"{path}/rotate_secret")).json
        assert again["secrets"] == 2
        assert again["secret"] != rotated["secret"]
        ended = (await stack.post(f"{path}/rotate_secret", {"overlap_s": 0})).json
        assert (ended["secrets"], ended["secret_expires_at"]) == (1, None)


@pytest.mark.parametrize("overlap_s", [-1, OVERLAP_S_MAX + 1])
async def test_two_secrets_are_valid_for_a_bounded_time(overlap_s: int) -> None:
    """An overlap that is none, or too long, is refused, and the secret stays."""
    async with GatewayStack() as stack:
        path = f"{ENDPOINTS}/{(await create(stack)).json['id']}"
        answer = await stack.post(f"{path}/rotate_secret", {"overlap_s": overlap_s})
        assert answer.code == "webhook_overlap_invalid"
        assert len(stack.webhooks.books.secrets[1]) == 1


async def test_the_log_is_walked_newest_first() -> None:
    """Each delivery with its event and state; one state alone when asked for."""
    async with GatewayStack() as stack:
        path = f"{ENDPOINTS}/{(await create(stack)).json['id']}/deliveries"
        positions = [put_delivery(stack, 1, number) for number in (1, 2)]
        waiting = put_delivery(stack, 1, 3, state=DeliveryState.WAITING)
        page = (await stack.get(f"{path}?limit=2")).json
        assert [one["id"] for one in page["data"]] == [
            delivery_id(1, waiting),
            delivery_id(1, positions[1]),
        ]
        assert page["has_more"]
        newest = page["data"][0]
        assert newest["event"] == event_id(waiting.key)
        assert (newest["state"], newest["last_error"]) == ("waiting", "timeout")
        assert newest["type"] == "payment_order.succeeded"
        rest = (await stack.get(f"{path}?starting_after={page['data'][1]['id']}")).json
        assert [one["id"] for one in rest["data"]] == [delivery_id(1, positions[0])]
        only = (await stack.get(f"{path}?state=waiting")).json
        assert [one["id"] for one in only["data"]] == [delivery_id(1, waiting)]
        assert (await stack.get(f"{path}?state=lost")).json["param"] == "query:state"
        strange = await stack.get(f"{path}?starting_after={delivery_id(2, waiting)}")
        assert strange.json["param"] == "query:starting_after"


async def test_one_delivery_is_sent_again() -> None:
    """What was given up begins anew; another endpoint's delivery is not found here."""
    async with GatewayStack() as stack:
        path = f"{ENDPOINTS}/{(await create(stack)).json['id']}/deliveries"
        dead = put_delivery(stack, 1, 1, state=DeliveryState.DEAD)
        answer = await stack.request("POST", f"{path}/{delivery_id(1, dead)}/resend")
        assert (answer.status, answer.json["deliveries"]) == (202, 1)
        assert stack.webhooks.books.deliveries[1, dead].state is DeliveryState.WAITING
        assert stack.webhooks.books.rounds[1, dead] == 0
        for strange in (delivery_id(2, dead), delivery_id(1, dead._replace(order_no=9)), "whd_x"):
            answer = await stack.request("POST", f"{path}/{strange}/resend")
            assert answer.code == "webhook_delivery_not_found"


async def test_a_range_is_sent_again() -> None:
    """All deliveries of events of a time, or only those that were given up."""
    async with GatewayStack() as stack:
        path = f"{ENDPOINTS}/{(await create(stack)).json['id']}/resend"
        old = put_delivery(stack, 1, 1, minutes=90)
        good = put_delivery(stack, 1, 2, minutes=30)
        dead = put_delivery(stack, 1, 3, minutes=20, state=DeliveryState.DEAD)
        new = put_delivery(stack, 1, 4)
        times = {"from": "2026-11-01T11:00:00Z", "to": "2026-11-01T12:59:00+01:00"}
        answer = await stack.post(path, {**times, "state": "dead"})
        assert (answer.status, answer.json["deliveries"]) == (202, 1)
        answer = await stack.post(path, times)
        assert answer.json["deliveries"] == 1
        states = {
            position: stack.webhooks.books.deliveries[1, position].state
            for position in (old, good, dead, new)
        }
        assert states == {
            old: DeliveryState.DELIVERED,
            good: DeliveryState.WAITING,
            dead: DeliveryState.WAITING,
            new: DeliveryState.DELIVERED,
        }


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({"from": "now", "to": "later"}, "resend_range_invalid", "$.from"),
        ({"from": "2026-11-01T11:00:00", "to": "2026-11-01T12:00:00Z"}, "resend_range_invalid", "$.from"),
        ({"from": "2026-11-01T13:00:00Z", "to": "2026-11-01T12:00:00Z"}, "resend_range_invalid", "$.from"),
        (
            {"from": "2026-11-01T11:00:00Z", "to": "2026-11-01T12:00:00Z", "state": "waiting"},
            "resend_range_invalid",
            "$.state",
        ),
        ({"to": "2026-11-01T12:00:00Z"}, "field_missing", "$.from"),
        ({"since": "x", "to": "y"}, "field_unknown", "$.since"),
    ],
)  # fmt: skip
async def test_a_bad_range_is_refused(body: dict[str, str], code: str, param: str) -> None:
    """Times need an offset, an order, and a state that has an end."""
    async with GatewayStack() as stack:
        path = f"{ENDPOINTS}/{(await create(stack)).json['id']}/resend"
        answer = await stack.post(path, body)
        assert (answer.code, answer.json["param"]) == (code, param)


async def test_books_away_is_told_as_such() -> None:
    """Reads say that they can't be done now, changes that they may have been."""
    async with GatewayStack() as stack:
        path = f"{ENDPOINTS}/{(await create(stack)).json['id']}"
        stack.webhooks.is_available = False
        assert (await stack.get(path)).json["details"]["may_run"] is False
        created = await create(stack)
        assert (created.code, created.json["details"]["may_run"]) == ("store_unavailable", True)
        disabled = await stack.request("POST", f"{path}/disable")
        assert disabled.json["details"]["may_run"] is True
