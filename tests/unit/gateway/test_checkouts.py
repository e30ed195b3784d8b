"""Checkouts at the door: one record, then every order, and nothing promised that is not stored."""

from __future__ import annotations

import asyncio
from uuid import UUID, uuid4

import pytest

from payments.checkout_names import checkout_id, checkout_uuid
from payments.commands import HOSTED_METHOD
from payments.fees import SANDBOX_FEE
from payments.lifecycle import PaymentState
from payments.mode import Mode
from tests.unit.gateway.stack import (
    MERCHANT_ID,
    PAGE_EXPIRES_AT,
    PAGE_URL,
    Answered,
    GatewayStack,
    checkout,
    payment,
    settings,
    until,
)

PAGE = {"success_url": "https://shop.example/ok", "cancel_url": "https://shop.example/no"}


def id_of(key: UUID) -> str:
    return checkout_id(checkout_uuid(MERCHANT_ID, Mode.TEST, key))


def statuses(answer: Answered) -> list[str]:
    return [order["status"] for order in answer.json["orders"]]


async def test_a_checkout_accepts_all_its_orders(stack: GatewayStack) -> None:
    """202 says that the record and every order are stored; each order is a payment of its own."""
    stack.directory.put_seller(1, Mode.TEST, "slr_shoes", fee=SANDBOX_FEE)
    key, first, second = uuid4(), uuid4(), uuid4()
    body = checkout(first, second, metadata={"cart": "c-9"}, buyer={"email": "a@example.org"})
    body["orders"][1] |= {"seller": "slr_shoes", "description": "two shoes"}  # type: ignore[index]
    answer = await stack.check_out(key, body)
    assert answer.status == 202
    assert answer.headers["Location"] == f"/v1/checkouts/{id_of(key)}"
    assert "Idempotent-Replayed" not in answer.headers
    told = answer.json
    assert told["id"] == id_of(key)
    assert told["object"] == "checkout"
    assert (told["status"], told["is_payment_done"]) == ("processing", False)
    assert (told["redirect_url"], told["expires_at"], told["hosted"]) == (None, None, None)
    assert told["metadata"] == {"cart": "c-9"}
    assert [order["id"] for order in told["orders"]] == [str(first), str(second)]
    assert [order["seller"] for order in told["orders"]] == [MERCHANT_ID, "slr_shoes"]
    commands = {command.idempotency_key: command for command in stack.queued()}
    assert commands.keys() == {first, second}
    assert commands[second].description == "two shoes"
    assert commands[second].metadata_json == '{"cart":"c-9"}'
    assert commands[second].buyer_json == '{"email":"a@example.org"}'
    (record,) = stack.queued_checkouts()
    assert [order.idempotency_key for order in record.orders] == [first, second]
    assert [order.fingerprint for order in record.orders] == [
        commands[each].fingerprint for each in (first, second)
    ]


async def test_a_checkout_is_found_from_its_2xx_on(stack: GatewayStack) -> None:
    """GET shows it from the queue, then from the books, and the same orders as payments."""
    key, order = uuid4(), uuid4()
    created = await stack.check_out(key, checkout(order))
    queued = await stack.get(f"/v1/checkouts/{id_of(key)}")
    assert queued.status == 200
    assert queued.json == created.json
    stack.take_in(PaymentState.SUCCEEDED)
    taken_in = await stack.get(f"/v1/checkouts/{id_of(key)}")
    assert taken_in.json["status"] == "succeeded"
    assert taken_in.json["is_payment_done"] is True
    assert (await stack.get(f"/v1/payments/{order}")).json == taken_in.json["orders"][0]


async def test_a_repeated_checkout_changes_nothing(stack: GatewayStack) -> None:
    """The same request under the same key is a replay, before and after its intake."""
    key, order = uuid4(), uuid4()
    first = await stack.check_out(key, checkout(order))
    again = await stack.check_out(key, checkout(order))
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.json == first.json
    assert len(stack.queued()) == len(stack.queued_checkouts()) == 1
    stack.take_in(PaymentState.SUCCEEDED)
    settled = await stack.check_out(key, checkout(order))
    assert (settled.status, settled.headers["Idempotent-Replayed"]) == (201, "true")
    assert statuses(settled) == ["succeeded"]
    assert not stack.queued_checkouts()


@pytest.mark.parametrize("is_taken_in", [False, True])
@pytest.mark.parametrize(
    ("change", "differs"),
    [
        ({"metadata": {"cart": "other"}}, ["metadata"]),
        ({"payment_method": "tok_3ds"}, ["payment_method"]),
        ({"buyer": {"name": "B"}}, ["buyer"]),
    ],
)
async def test_a_key_with_another_body_is_refused(
    stack: GatewayStack, *, is_taken_in: bool, change: dict[str, object], differs: list[str]
) -> None:
    """422 names what differs, and none of the other body's orders is accepted."""
    key, order, other = uuid4(), uuid4(), uuid4()
    await stack.check_out(key, checkout(order))
    if is_taken_in:
        stack.take_in(PaymentState.SUCCEEDED)
    orders_before = len(stack.queued())
    refused = await stack.check_out(key, checkout(order, **change))
    assert (refused.status, refused.code) == (422, "idempotency_key_reused")
    assert refused.json["details"]["differs"] == differs
    refused = await stack.check_out(key, checkout(order, other))
    assert refused.json["details"]["differs"] == ["orders"]
    assert len(stack.queued()) == orders_before


async def test_a_gateway_that_died_in_between_left_orders_to_be_brought_in(
    stack: GatewayStack,
) -> None:
    """A record without its orders shows them as created; the same request has them accepted."""
    key, order = uuid4(), uuid4()
    await stack.check_out(key, checkout(order))
    (command,) = stack.queued()
    index = stack.order_key(order)[0]
    record = stack.queue.copy.records.pop((index, command.order_uuid))
    del stack.queue.copy.streams[index][record.stream_id]
    shown = await stack.get(f"/v1/checkouts/{id_of(key)}")
    assert (statuses(shown), shown.json["status"]) == (["created"], "processing")
    again = await stack.check_out(key, checkout(order))
    assert again.status == 202
    assert [each.idempotency_key for each in stack.queued()] == [order]


async def test_an_id_that_is_a_payments_refuses_the_whole_checkout(stack: GatewayStack) -> None:
    """Nothing of a checkout is kept when the books have another request under an order's id."""
    taken, free = uuid4(), uuid4()
    await stack.pay(taken, payment())
    stack.take_in(PaymentState.SUCCEEDED)
    refused = await stack.check_out(uuid4(), checkout(free, taken))
    assert (refused.status, refused.code) == (422, "order_id_reused")
    assert refused.json["param"] == "$.orders[1].id"
    assert "checkout" in refused.json["details"]["differs"]
    assert not stack.queued()
    assert not stack.queued_checkouts()


async def test_an_id_taken_in_the_same_moment_is_told_with_its_checkout(
    stack: GatewayStack,
) -> None:
    """Only the queue knows the other request: the order fails in this checkout, the others run."""
    taken, free, key = uuid4(), uuid4(), uuid4()
    await stack.pay(taken, payment())
    answer = await stack.check_out(key, checkout(free, taken))
    assert answer.status == 202
    assert statuses(answer) == ["processing", "failed"]
    assert answer.json["orders"][1]["failure"]["code"] == "order_id_reused"
    stack.take_in(PaymentState.SUCCEEDED)
    shown = await stack.get(f"/v1/checkouts/{id_of(key)}")
    assert statuses(shown) == ["succeeded", "failed"]
    assert (shown.json["status"], shown.json["is_payment_done"]) == ("partially_succeeded", False)
    again = await stack.check_out(key, checkout(free, taken))
    assert statuses(again) == ["succeeded", "failed"]


async def test_a_payment_under_a_checkouts_order_id_is_refused(stack: GatewayStack) -> None:
    """An order belongs to its checkout: the same payment without it is another request."""
    key, order = uuid4(), uuid4()
    await stack.check_out(key, checkout(order))
    refused = await stack.pay(order, payment(amount=1000))
    assert (refused.status, refused.code) == (422, "idempotency_key_reused")
    assert refused.json["details"]["differs"] == ["checkout"]


async def test_others_see_nothing_of_a_checkout(stack: GatewayStack) -> None:
    """Another merchant's key, and the same merchant's in the other mode, get 404."""
    key = uuid4()
    await stack.check_out(key, checkout(uuid4()))
    other = stack.directory.put_merchant("mrc_" + "c" * 20, fee=SANDBOX_FEE)
    for api_key in (stack.issue_key(merchant=other), stack.issue_key(mode=Mode.LIVE)):
        answer = await stack.get(f"/v1/checkouts/{id_of(key)}", key=api_key)
        assert (answer.status, answer.code) == (404, "checkout_not_found")
    assert (await stack.get("/v1/checkouts/co_x")).code == "checkout_not_found"
    assert (await stack.get(f"/v1/checkouts/{id_of(uuid4())}")).code == "checkout_not_found"


async def test_a_held_answer_comes_when_every_order_has_its_outcome(stack: GatewayStack) -> None:
    """With Prefer: wait the answer is held until none of the orders is worth waiting for."""

    async def settle() -> None:
        await until(lambda: len(stack.queued()) == 2)
        stack.take_in(PaymentState.SUCCEEDED)

    held = stack.check_out(uuid4(), checkout(uuid4(), uuid4()), headers={"Prefer": "wait=5"})
    answer, _ = await asyncio.gather(held, settle())
    assert (answer.status, answer.headers["Preference-Applied"]) == (201, "wait=5")
    assert answer.json["is_payment_done"] is True


async def test_the_buyer_is_sent_to_the_page_once_all_orders_are_registered(
    stack: GatewayStack,
) -> None:
    """A page is asked for by `hosted`; redirect_url and expires_at come with the buyer's turn."""
    key, orders = uuid4(), [uuid4(), uuid4()]
    body = checkout(*orders, hosted=PAGE)
    answer = await stack.check_out(key, body)
    assert (answer.json["redirect_url"], answer.json["hosted"]) == (None, PAGE)
    pages = {command.hosted for command in stack.queued()}
    assert pages == {(PAGE["success_url"], PAGE["cancel_url"], id_of(key))}
    assert {command.payment_method for command in stack.queued()} == {HOSTED_METHOD}
    stack.take_in(PaymentState.REQUIRES_ACTION)
    shown = (await stack.get(f"/v1/checkouts/{id_of(key)}")).json
    assert shown["status"] == "requires_action"
    assert (shown["redirect_url"], shown["expires_at"]) == (PAGE_URL, PAGE_EXPIRES_AT)
    refused = await stack.check_out(
        key, checkout(*orders, hosted=PAGE | {"cancel_url": "https://x.example"})
    )
    assert refused.json["details"]["differs"] == ["hosted"]


async def test_what_is_not_on_every_copy_is_no_success() -> None:
    """While a replica is behind: 503, may_run, and the same request again finds all of it."""
    async with GatewayStack() as stack:
        key, order = uuid4(), uuid4()
        stack.queue.freeze_replica()
        late = await stack.check_out(key, checkout(order))
        assert (late.status, late.code) == (503, "store_unavailable")
        assert late.json["details"]["may_run"] is True
        assert not stack.queued()
        stack.queue.thaw_replica()
        again = await stack.check_out(key, checkout(order))
        assert (again.status, statuses(again)) == (202, ["processing"])
        assert len(stack.queued_checkouts()) == 1


async def test_orders_that_found_no_room_are_named() -> None:
    """A full stream refuses an order: 503 says which ones are not stored; the rest may run."""
    async with GatewayStack(stream_length_max=1) as stack:
        orders = [uuid4() for _ in range(20)]
        answer = await stack.check_out(uuid4(), checkout(*orders))
        assert (answer.status, answer.code) == (503, "queue_backpressure")
        missing = set(answer.json["details"]["orders_not_stored"])
        stored = {str(command.idempotency_key) for command in stack.queued()}
        assert missing == {str(order) for order in orders} - stored
        assert missing


async def test_checkouts_are_taken_while_the_books_are_away() -> None:
    """As payments are: proven by the queue, with a deferred key check; a key known there is refused."""
    patient = settings(request_deadline_s=2.0, drain_s=3.0)
    async with GatewayStack(gateway_settings=patient) as stack:
        stack.queries.is_available = stack.checkouts.is_available = False
        key, order = uuid4(), uuid4()
        answer = await stack.check_out(key, checkout(order))
        assert (answer.status, answer.headers["Tallystick-Key-Check"]) == (202, "deferred")
        unsure = await stack.check_out(key, checkout(order, uuid4()))
        assert (unsure.status, unsure.code) == (503, "store_unavailable")
        shown = await stack.get(f"/v1/checkouts/{id_of(key)}")
        assert (shown.status, shown.code) == (503, "store_unavailable")


async def test_lists_show_what_the_books_have(stack: GatewayStack) -> None:
    """Newest first, page by page in both directions, each with its orders."""
    keys = [uuid4() for _ in range(3)]
    for key in keys:
        await stack.check_out(key, checkout(uuid4()))
        stack.take_in(PaymentState.SUCCEEDED)
    listed = (await stack.get("/v1/checkouts?limit=2")).json
    every = (await stack.get("/v1/checkouts")).json
    ids = [each["id"] for each in every["data"]]
    assert set(ids) == {id_of(key) for key in keys}
    assert every["has_more"] is False
    assert ([each["id"] for each in listed["data"]], listed["has_more"]) == (ids[:2], True)
    older = (await stack.get(f"/v1/checkouts?limit=2&starting_after={ids[1]}")).json
    assert ([each["id"] for each in older["data"]], older["has_more"]) == (ids[2:], False)
    newer = (await stack.get(f"/v1/checkouts?limit=1&ending_before={ids[1]}")).json
    assert [each["id"] for each in newer["data"]] == ids[:1]
    assert all(each["is_payment_done"] for each in every["data"])


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("starting_after=co_x", "query:starting_after"),
        (f"starting_after={id_of(UUID(int=1))}", "query:starting_after"),
        (f"ending_before={id_of(UUID(int=1))}", "query:ending_before"),
        ("starting_after=a&ending_before=b", "query:ending_before"),
        ("limit=0", "query:limit"),
        ("status=succeeded", "query:status"),
    ],
)
async def test_a_list_refuses_what_it_does_not_know(
    stack: GatewayStack, query: str, param: str
) -> None:
    """Unknown parameters, odd values and cursors of nothing are refused, by name."""
    answer = await stack.get(f"/v1/checkouts?{query}")
    assert (answer.status, answer.json["param"]) == (400, param)


ORDER = {"id": "6f1c0e58-6c0f-4b7f-9d5e-0f3f0a6f4c11", "amount": 1000, "currency": "USD"}


def of_order(**changes: object) -> dict[str, object]:
    """A checkout whose one order is wrong."""
    return {"orders": [ORDER | changes], "hosted": PAGE}


def of_page(**changes: object) -> dict[str, object]:
    """A checkout whose page leads somewhere odd."""
    return {"orders": [ORDER], "hosted": PAGE | changes}


def by_token(*orders: object, **more: object) -> dict[str, object]:
    return {"orders": list(orders), "payment_method": "tok_approve", **more}


@pytest.mark.parametrize(
    ("body", "status", "code", "param"),
    [
        ({}, 400, "field_missing", "$.orders"),
        ({"orders": []}, 422, "checkout_invalid", "$"),
        (by_token(), 422, "checkout_invalid", "$.orders"),
        (by_token(*[ORDER] * 21), 422, "checkout_invalid", "$.orders"),
        (by_token(ORDER, ORDER), 422, "checkout_invalid", "$.orders[1].id"),
        (by_token(ORDER, hosted=PAGE), 422, "checkout_invalid", "$"),
        (
            by_token(ORDER, payment_method="hosted_page"),
            422,
            "checkout_invalid",
            "$.payment_method",
        ),
        (by_token(ORDER, payment_method="pm_a"), 422, "payment_method_invalid", "$.payment_method"),
        (by_token(ORDER, payment_method="4111111111111111"), 422, "pan_not_accepted", None),
        (by_token(ORDER, metadata={"": "a"}), 422, "metadata_invalid", "$.metadata"),
        (b'{"orders":[' + b"[" * 30_000 + b"]" * 30_000 + b"]}", 400, "json_invalid", "$"),
        (b'{"orders":[{"id":"\\ud800"}],"payment_method":"tok_a"}', 400, "json_invalid", "$"),
        (b'{"orders":[{"id":"a","id":"b"}]}', 400, "json_member_repeated", "$"),
        (by_token(ORDER, 7), 400, "field_type_invalid", "$.orders[1]"),
        (of_order(id="a"), 422, "checkout_invalid", "$.orders[0].id"),
        (of_order(amount=1), 422, "amount_too_small", "$.orders[0].amount"),
        (of_order(amount="1"), 400, "field_type_invalid", "$.orders[0].amount"),
        (of_order(odd=1), 400, "field_unknown", "$.orders[0].odd"),
        (of_order(currency="XXX"), 422, "currency_not_supported", "$.orders[0].currency"),
        (of_order(seller="slr_no"), 422, "seller_unknown", "$.orders[0].seller"),
        (of_order(description="a" * 501), 422, "description_too_long", "$.orders[0].description"),
        (of_page(success_url="/ok"), 422, "return_url_invalid", "$.hosted.success_url"),
        (of_page(cancel_url="javascript:a()"), 422, "return_url_invalid", "$.hosted.cancel_url"),
        (of_page(cancel_url="https://a:b@x.a"), 422, "return_url_invalid", "$.hosted.cancel_url"),
        (of_page(cancel_url="https://x.a:port"), 422, "return_url_invalid", "$.hosted.cancel_url"),
        (of_page(cancel_url=None), 400, "field_type_invalid", "$.hosted.cancel_url"),
    ],
)
async def test_a_checkout_is_refused_with_the_place_and_the_rule(
    stack: GatewayStack, body: object, status: int, code: str, param: str | None
) -> None:
    """Each refusal names the order that it is about, and nothing is kept."""
    answer = await stack.check_out(uuid4(), body)
    assert (answer.status, answer.code, answer.json.get("param")) == (status, code, param)
    assert not stack.queued()
    assert not stack.queued_checkouts()


async def test_a_live_checkout_leads_back_to_https_alone(stack: GatewayStack) -> None:
    """http is for trying things out, with test keys."""
    live = stack.issue_key(mode=Mode.LIVE)
    body = {"orders": [ORDER], "hosted": PAGE | {"success_url": "http://shop.example"}}
    assert (await stack.check_out(uuid4(), body)).status == 202
    refused = await stack.check_out(uuid4(), body, key=live)
    assert (refused.code, refused.json["param"]) == ("return_url_invalid", "$.hosted.success_url")
    body = {"orders": [ORDER], "hosted": PAGE}
    refused = await stack.check_out(uuid4(), body, key=live)
    assert (refused.code, refused.json["param"]) == ("payment_method_invalid", "$.hosted")


async def test_a_page_needs_a_checkout(stack: GatewayStack) -> None:
    """A payment alone can't be paid on a page: nobody would know where the buyer goes afterwards."""
    refused = await stack.pay(uuid4(), payment(payment_method=HOSTED_METHOD))
    assert (refused.status, refused.code) == (422, "payment_method_invalid")


async def test_a_checkouts_report_lets_it_be_forgotten(stack: GatewayStack) -> None:
    """What an owner took in is not kept to be sent again: neither orders nor their checkout."""
    await stack.check_out(uuid4(), checkout(uuid4(), uuid4()))
    assert len(stack.gateway.accepting.unreported) == 3
    stack.take_in(PaymentState.PROCESSING)
    assert len(stack.gateway.accepting.unreported) == 0
