"""POST and GET of payments over HTTP: the idempotency table row by row, and what surrounds it."""

from __future__ import annotations

import asyncio
from uuid import UUID, uuid4

import pytest

from payments.fees import SANDBOX_FEE
from payments.identity import order_uuid
from payments.lifecycle import PaymentState
from payments.mode import Mode
from tests.unit.gateway.stack import GatewayStack, payment, settings, until

SOME_KEY = "6f1c0e58-6c0f-4b7f-9d5e-0f3f0a6f4c11"


@pytest.fixture
def key() -> UUID:
    return uuid4()


async def test_a_missing_key_is_refused(stack: GatewayStack) -> None:
    """A payment without a name of its own is refused: it could not be retried."""
    answer = await stack.post("/v1/payments", payment())
    assert (answer.status, answer.code) == (400, "idempotency_key_missing")
    assert answer.json["param"] == "header:Idempotency-Key"


@pytest.mark.parametrize(
    "text", ["", "order-1", f"{{{SOME_KEY}}}", f'"{SOME_KEY}', f"{SOME_KEY}, {SOME_KEY}"]
)
async def test_a_key_that_is_no_uuid_is_refused(stack: GatewayStack, text: str) -> None:
    """Only a UUID, bare or quoted, names a payment."""
    answer = await stack.pay(text)
    assert (answer.status, answer.code) == (400, "idempotency_key_invalid")


async def test_the_first_use_is_accepted(stack: GatewayStack, key: UUID) -> None:
    """A new order is answered 202 with its state, and is in the queue by then."""
    answer = await stack.pay(key, payment(metadata={"cart": "c-9"}, description="order 1001"))
    assert answer.status == 202
    assert answer.json["id"] == str(key)
    assert answer.json["status"] == "processing"
    assert answer.json["metadata"] == {"cart": "c-9"}
    assert answer.headers["Location"] == f"/v1/payments/{key}"
    assert answer.headers["Request-Id"].startswith("req_")
    assert "Idempotent-Replayed" not in answer.headers
    assert "Tallystick-Key-Check" not in answer.headers
    (command,) = stack.queued()
    assert (command.amount_minor, command.fee_minor) == (1999, 88)
    assert command.description == "order 1001"
    assert command.reply_to == "reply:gateway-0"


async def a_millisecond_later() -> None:
    """A repetition is known by another time of acceptance, and those are kept in milliseconds."""
    await asyncio.sleep(0.002)


async def test_a_wallet_that_is_at_hand_is_the_one_that_was_named(stack: GatewayStack) -> None:
    """Sellers are kept by merchant, mode and id: whoever was credited before says nothing of the next payment."""
    merchant = stack.merchant
    named = stack.directory.put_seller(
        merchant.merchant_no, Mode.TEST, "slr_shoes", fee=SANDBOX_FEE
    )
    live_key = stack.issue_key(mode=Mode.LIVE)
    of_named = payment(seller="slr_shoes")
    own_keys, named_keys = (uuid4(), uuid4()), (uuid4(), uuid4())
    for own_key, named_key in zip(own_keys, named_keys, strict=True):
        answer = await stack.pay(own_key)
        assert answer.json["seller"] == merchant.merchant_id
        answer = await stack.pay(named_key, of_named)
        assert answer.json["seller"] == "slr_shoes"
    credited = {command.idempotency_key: command.seller_no for command in stack.queued()}
    assert {credited[key] for key in named_keys} == {named.seller_no}
    assert len({credited[key] for key in own_keys} - {named.seller_no}) == 1
    of_test = payment(seller="slr_shoes", payment_method="pm_card")
    for _ in range(2):
        answer = await stack.pay(uuid4(), of_test, key=live_key)
        assert (answer.status, answer.code) == (422, "seller_unknown")


async def test_a_quoted_key_in_capitals_is_the_same_key(stack: GatewayStack, key: UUID) -> None:
    """Case and quotes don't make another order."""
    await stack.pay(key)
    await a_millisecond_later()
    answer = await stack.pay(f'"{str(key).upper()}"')
    assert answer.status == 202
    assert answer.headers["Idempotent-Replayed"] == "true"
    assert len(stack.queued()) == 1


async def test_a_repeat_while_queued_is_the_same_order(stack: GatewayStack, key: UUID) -> None:
    """The same request again, before intake, is answered with the same order: one effect."""
    first = await stack.pay(key)
    await asyncio.sleep(0.002)
    second = await stack.pay(key, payment(capture="automatic", metadata={}, description=None))
    assert second.status == 202
    assert second.body == first.body
    assert len(stack.queued()) == 1


async def test_a_repeat_while_running_shows_the_present_state(
    stack: GatewayStack, key: UUID
) -> None:
    """The same request again, after intake, is answered with the order's state in the books."""
    await stack.pay(key)
    stack.take_in(PaymentState.REQUIRES_ACTION)
    answer = await stack.pay(key)
    assert (answer.status, answer.json["status"]) == (202, "requires_action")
    assert answer.json["psp"] == "simulator"


async def test_a_settled_key_gets_the_same_bytes_every_time(stack: GatewayStack, key: UUID) -> None:
    """The frozen answer is replayed byte for byte, whatever the key record has become."""
    await stack.pay(key)
    stack.take_in(PaymentState.SUCCEEDED)
    await a_millisecond_later()
    answers = [await stack.pay(key) for _ in range(3)]
    stack.queue.copy.records.clear()
    answers += [await stack.pay(key) for _ in range(2)]
    assert {answer.status for answer in answers} == {201}
    assert {answer.body for answer in answers} == {answers[0].body}
    assert all(answer.headers["Idempotent-Replayed"] == "true" for answer in answers)
    assert answers[0].json["status"] == "succeeded"


async def test_a_decline_is_frozen_as_a_problem(stack: GatewayStack, key: UUID) -> None:
    """A declined order is answered 402 with its decline code, the same every time."""
    await stack.pay(key)
    stack.take_in(PaymentState.FAILED)
    first, second = await stack.pay(key), await stack.pay(key)
    assert (first.status, first.json["code"]) == (402, "declined")
    assert first.headers["Content-Type"] == "application/problem+json"
    assert first.json["decline_code"] == "do_not_honor"
    assert first.body == second.body


@pytest.mark.parametrize("is_taken_in", [False, True])
async def test_another_request_under_a_used_key_is_refused(
    stack: GatewayStack, key: UUID, is_taken_in: bool
) -> None:
    """A key used with another body is 422, names what differs, and has no effect."""
    await stack.pay(key)
    if is_taken_in:
        stack.take_in(PaymentState.SUCCEEDED)
    before = len(stack.queued())
    answer = await stack.pay(key, payment(amount=2000, description="x"))
    assert (answer.status, answer.code) == (422, "idempotency_key_reused")
    assert answer.json["details"] == {"differs": ["amount", "description"]}
    assert len(stack.queued()) == before


async def test_the_books_win_over_the_queue(stack: GatewayStack, key: UUID) -> None:
    """When queue and books know different requests under a key, the books' one is the first."""
    await stack.pay(key)
    stack.take_in(PaymentState.SUCCEEDED)
    stack.queue.copy.records.clear()
    reused = await stack.pay(key, payment(amount=2000))
    replayed = await stack.pay(key)
    assert reused.code == "idempotency_key_reused"
    assert replayed.status == 201


async def test_merchants_and_modes_never_meet(stack: GatewayStack, key: UUID) -> None:
    """The same key of two merchants, or in test and live, names different orders."""
    other = stack.directory.put_merchant("mrc_vvvvvvvvvvvvvvvvvvvv", fee=SANDBOX_FEE)
    others_key, live_key = stack.issue_key(merchant=other), stack.issue_key(mode=Mode.LIVE)
    answers = [
        await stack.pay(key),
        await stack.pay(key, payment(amount=500), key=others_key),
        await stack.pay(key, payment(amount=700, payment_method="pm_card"), key=live_key),
    ]
    assert [answer.status for answer in answers] == [202, 202, 202]
    assert [answer.json["amount"] for answer in answers] == [1999, 500, 700]
    assert len({command.order_uuid for command in stack.queued()}) == 3
    seen = await stack.get(f"/v1/payments/{key}", key=others_key)
    assert seen.json["amount"] == 500


async def test_a_refused_body_does_not_use_the_key_up(stack: GatewayStack, key: UUID) -> None:
    """After a refusal by validation the same key takes a corrected body."""
    refused = await stack.pay(key, payment(amount=0))
    accepted = await stack.pay(key)
    assert (refused.status, accepted.status) == (422, 202)


async def test_a_frozen_replica_gives_no_2xx(stack: GatewayStack, key: UUID) -> None:
    """What is not on the replica in time is 503 and may run, first use and repeat alike."""
    stack.queue.freeze_replica()
    for _ in range(2):
        answer = await stack.pay(key)
        assert (answer.status, answer.code) == (503, "store_unavailable")
        assert answer.json["retryable"] is True
        assert answer.json["details"] == {"may_run": True}
        assert answer.headers["Retry-After"] == "1"
    stack.queue.thaw_replica()
    assert (await stack.pay(key)).status == 202
    assert len(stack.queued()) == 1


async def test_a_frozen_replica_does_not_matter_once_the_books_hold_it(key: UUID) -> None:
    """An order that the books hold is answered 2xx although its append was never proven."""
    async with GatewayStack(gateway_settings=settings(request_deadline_s=2, drain_s=3)) as stack:
        stack.queue.freeze_replica()
        asked = asyncio.create_task(stack.pay(key))
        await until(stack.queued)
        stack.take_in()
        answer = await asked
        assert (answer.status, answer.json["status"]) == (202, "processing")


async def test_a_replica_that_thaws_in_time_is_waited_for(key: UUID) -> None:
    """A short wait is waited on, on the same connection, and neighbours are not held up."""
    async with GatewayStack(gateway_settings=settings(request_deadline_s=2, drain_s=3)) as stack:
        stack.queue.freeze_replica()
        asked = [asyncio.create_task(stack.pay(uuid4())) for _ in range(5)]
        await until(lambda: len(stack.queued()) == 5)
        stack.queue.thaw_replica()
        assert [(await answer).status for answer in asked] == [202] * 5


async def test_a_lost_connection_runs_the_script_again(key: UUID) -> None:
    """A wait on a new connection proves nothing: the script runs again, and the order stays one."""
    async with GatewayStack(gateway_settings=settings(request_deadline_s=2, drain_s=3)) as stack:
        stack.queue.freeze_replica()
        asked = asyncio.create_task(stack.pay(key))
        await until(stack.queued)
        stack.queue.drop_connections()
        _, order = stack.order_key(key)
        record = stack.queue.copy.records[stack.order_key(key)]
        await until(lambda: record.touch_count > 0)
        stack.queue.thaw_replica()
        answer = await asked
        assert answer.status == 202
        assert "Idempotent-Replayed" not in answer.headers
        assert [command.order_uuid for command in stack.queued()] == [order]


async def test_without_the_queue_new_keys_are_refused(stack: GatewayStack, key: UUID) -> None:
    """Redis away: new keys get 503, settled ones their frozen answer, reused ones their 422."""
    await stack.pay(key)
    stack.take_in(PaymentState.SUCCEEDED)
    stack.queue.is_reachable = False
    assert (await stack.pay(uuid4())).code == "store_unavailable"
    assert (await stack.pay(key)).status == 201
    assert (await stack.pay(key, payment(amount=3000))).code == "idempotency_key_reused"


async def test_without_the_books_the_key_check_is_deferred(stack: GatewayStack) -> None:
    """Postgres away: new keys and known ones get 202 and are told that the check is deferred."""
    key = uuid4()
    await stack.pay(key)
    stack.queries.is_available = False
    for wanted in (uuid4(), key):
        answer = await stack.pay(wanted, headers={"Prefer": "wait=5"})
        assert answer.status == 202
        assert answer.headers["Tallystick-Key-Check"] == "deferred"


async def test_books_count_as_away_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """One failed look-up is tried again; after some time of failures nobody waits any more."""
    monkeypatch.setattr("gateway.lookups.AWAY_AFTER_S", 0.4)
    loop = asyncio.get_running_loop()
    async with GatewayStack(gateway_settings=settings(request_deadline_s=4, drain_s=5)) as stack:
        stack.queries.is_available = False
        asked = asyncio.create_task(stack.pay(uuid4()))
        await until(stack.queued)
        stack.queries.is_available = True
        assert "Tallystick-Key-Check" not in (await asked).headers
        stack.queries.is_available = False
        started_s = loop.time()
        assert "Tallystick-Key-Check" in (await stack.pay(uuid4())).headers
        assert 0.35 < loop.time() - started_s < 2
        started_s = loop.time()
        assert "Tallystick-Key-Check" in (await stack.pay(uuid4())).headers
        assert loop.time() - started_s < 0.35


async def test_without_the_books_another_fingerprint_is_no_422(stack: GatewayStack) -> None:
    """Postgres away: the queue alone can't say which request was first, so it is 503."""
    key = uuid4()
    await stack.pay(key)
    stack.queries.is_available = False
    answer = await stack.pay(key, payment(amount=2000))
    assert (answer.status, answer.code) == (503, "store_unavailable")


async def test_a_full_queue_pushes_back() -> None:
    """Beyond the stream's bound new keys get 503 queue_backpressure, known ones their order."""
    async with GatewayStack(stream_length_max=1) as stack:
        keys = [uuid4() for _ in range(40)]
        answers = [await stack.pay(key) for key in keys]
        refused = [answer for answer in answers if answer.status == 503]
        assert refused
        assert {answer.code for answer in refused} == {"queue_backpressure"}
        assert {answer.headers["Retry-After"] for answer in refused} == {"1"}
        accepted = next(answer for answer in answers if answer.status == 202)
        again = await stack.pay(accepted.json["id"])
        assert again.status == 202


async def test_unreported_orders_are_bounded() -> None:
    """A gateway that hears of no intake stops accepting at its bound, and goes on after a report."""
    async with GatewayStack(gateway_settings=settings(unreported_orders_max=3)) as stack:
        statuses = [(await stack.pay(uuid4())).status for _ in range(5)]
        assert statuses == [202, 202, 202, 503, 503]
        ready = await stack.get("/readyz")
        assert (ready.status, ready.json["status"]) == (503, "not_ready")
        stack.take_in()
        assert (await stack.pay(uuid4())).status == 202


async def test_lost_reports_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Orders whose intake was never reported are looked for in the books, and forgotten there."""
    monkeypatch.setattr("gateway.accepting.LATE_CHECK_S", 0.05)
    monkeypatch.setattr("gateway.accepting.REPORT_LATE_S", 0.05)
    async with GatewayStack(gateway_settings=settings(unreported_orders_max=3)) as stack:
        for _ in range(3):
            await stack.pay(uuid4())
        await asyncio.sleep(0.2)
        assert (await stack.pay(uuid4())).status == 503
        stack.queries.is_available = False
        stack.take_in(is_reported=False)
        await asyncio.sleep(0.2)
        stack.queries.is_available = True
        await until(lambda: not stack.gateway.accepting.is_full)
        assert (await stack.pay(uuid4())).status == 202


async def test_waiting_returns_the_settled_answer(stack: GatewayStack, key: UUID) -> None:
    """Within Prefer: wait the first use is answered with its frozen answer, which is no replay."""
    asked = asyncio.create_task(stack.pay(key, headers={"Prefer": "wait=10"}))
    await until(stack.queued)
    stack.take_in(PaymentState.SUCCEEDED)
    answer = await asked
    assert answer.status == 201
    assert answer.headers["Preference-Applied"] == "wait=10"
    assert "Idempotent-Replayed" not in answer.headers
    assert (await stack.pay(key)).body == answer.body


async def test_waiting_survives_a_lost_report(
    stack: GatewayStack, key: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the owner's report is lost, the books are read all the same."""
    monkeypatch.setattr("gateway.waiting.READ_AGAIN_S", 0.1)
    asked = asyncio.create_task(stack.pay(key, headers={"Prefer": 'respond-async, wait="5"'}))
    await until(stack.queued)
    stack.take_in(PaymentState.FAILED, is_reported=False)
    assert (await asked).status == 402


async def test_waiting_ends_in_time(stack: GatewayStack, key: UUID) -> None:
    """An order that has not settled in time is answered 202 with its state in the books."""
    asked = asyncio.create_task(stack.pay(key, headers={"Prefer": "wait=1"}))
    await until(stack.queued)
    stack.take_in(PaymentState.PROCESSING)
    answer = await asked
    assert (answer.status, answer.json["status"]) == (202, "processing")
    assert (answer.json["attempts"], answer.json["psp_reference"]) == (1, "ch_one")
    assert "Idempotent-Replayed" not in answer.headers


async def test_waiting_ends_when_it_is_the_buyers_turn(stack: GatewayStack, key: UUID) -> None:
    """An order that needs the buyer's action is shown at once: waiting would not help."""
    await stack.pay(key)
    stack.take_in(PaymentState.REQUIRES_ACTION)
    async with asyncio.timeout(1):
        answer = await stack.pay(key, headers={"Prefer": "wait=30"})
    assert (answer.status, answer.json["status"]) == (202, "requires_action")


async def test_one_report_costs_one_read(stack: GatewayStack) -> None:
    """All waiters of one report are served by one look-up in the books."""
    asked = [
        asyncio.create_task(stack.pay(uuid4(), headers={"Prefer": "wait=10"})) for _ in range(20)
    ]
    await until(lambda: len(stack.queued()) == 20)
    await asyncio.sleep(0.05)
    stack.queries.orders_asked.clear()
    stack.take_in(PaymentState.SUCCEEDED)
    assert {(await answer).status for answer in asked} == {201}
    assert max(len(keys) for keys in stack.queries.orders_asked) == 20


async def test_a_payment_is_shown_before_its_intake(stack: GatewayStack, key: UUID) -> None:
    """GET of an order that is only in the queue shows it as processing, as the POST did."""
    posted = await stack.pay(key, payment(seller=None))
    shown = await stack.get(f"/v1/payments/{key}")
    assert shown.status == 200
    assert shown.body == posted.body


async def test_a_payment_is_shown_from_the_books(stack: GatewayStack, key: UUID) -> None:
    """GET of an order in the books shows its present state, also of a failed one, with 200."""
    await stack.pay(key)
    stack.take_in(PaymentState.FAILED)
    shown = await stack.get(f"/v1/payments/{key}")
    assert shown.status == 200
    assert shown.json["status"] == "failed"
    assert shown.json["failure"]["decline_code"] == "do_not_honor"


async def test_not_found_needs_the_word_of_both_stores(stack: GatewayStack, key: UUID) -> None:
    """404 only when books and queue both answered; 503 when either is away."""
    path = f"/v1/payments/{key}"
    assert (await stack.get(path)).code == "payment_not_found"
    assert (await stack.get("/v1/payments/no-uuid")).code == "payment_not_found"
    stack.queue.is_reachable = False
    assert (await stack.get(path)).code == "store_unavailable"
    stack.queue.is_reachable = True
    stack.queries.is_available = False
    assert (await stack.get(path)).code == "store_unavailable"


async def test_a_list_shows_what_was_asked_for(stack: GatewayStack) -> None:
    """Lists page and filter, and say whether there is more."""
    keys = [uuid4() for _ in range(3)]
    for key, amount in zip(keys, (100, 200, 300), strict=True):
        await stack.pay(key, payment(amount=amount, metadata={"cart": str(amount)}))
        await asyncio.sleep(0.002)
    stack.take_in(PaymentState.SUCCEEDED)
    first = await stack.get("/v1/payments?limit=2")
    assert [item["amount"] for item in first.json["data"]] == [300, 200]
    assert first.json["has_more"] is True
    rest = await stack.get(f"/v1/payments?limit=2&starting_after={keys[1]}")
    assert [item["amount"] for item in rest.json["data"]] == [100]
    assert rest.json["has_more"] is False
    filters: tuple[tuple[str, list[int]], ...] = (
        ("amount[gte]=200&amount[lte]=200", [200]),
        ("metadata[cart]=300", [300]),
        ("status=succeeded&currency=USD", [300, 200, 100]),
        ("status=failed", []),
        ("created[gte]=2020-01-01T00:00:00Z&created[lt]=2021-01-01T00:00:00Z", []),
        (f"ending_before={keys[1]}", [300]),
    )
    for query, amounts in filters:
        found = await stack.get(f"/v1/payments?{query}")
        assert [item["amount"] for item in found.json["data"]] == amounts, query


@pytest.mark.parametrize(
    ("query", "code", "param"),
    [
        ("limits=3", "parameter_unknown", "query:limits"),
        ("expand[]=fee", "parameter_unknown", "query:expand[]"),
        ("metadata[]=c-9", "parameter_unknown", "query:metadata[]"),
        ("metadata=c-9", "parameter_unknown", "query:metadata"),
        ("limit=0", "parameter_invalid", "query:limit"),
        ("limit=101", "parameter_invalid", "query:limit"),
        ("limit=ten", "parameter_invalid", "query:limit"),
        ("limit=1&limit=2", "parameter_invalid", "query:limit"),
        ("metadata[a1]=1&metadata[a1]=2", "parameter_invalid", "query"),
        ("status=done", "parameter_invalid", "query:status"),
        ("currency=usd", "parameter_invalid", "query:currency"),
        ("amount[gte]=-1", "parameter_invalid", "query:amount[gte]"),
        ("created[gte]=yesterday", "parameter_invalid", "query:created[gte]"),
        ("created[lt]=2026-11-01T00:00:00", "parameter_invalid", "query:created[lt]"),
        ("starting_after=1", "parameter_invalid", "query:starting_after"),
        ("metadata[a]=%00", "parameter_invalid", "query:metadata"),
    ],
)
async def test_bad_parameters_are_refused(
    stack: GatewayStack, query: str, code: str, param: str
) -> None:
    """Unknown and invalid query parameters are refused by name, never ignored."""
    answer = await stack.get(f"/v1/payments?{query}")
    assert (answer.status, answer.code, answer.json["param"]) == (400, code, param)


@pytest.mark.parametrize(("path", "state"), [("payments", "expired"), ("disputes", "lost")])
async def test_a_state_that_is_none_is_told_those_that_are(
    stack: GatewayStack, path: str, state: str
) -> None:
    """A typing mistake in a filter is mended by what the refusal says."""
    answer = await stack.get(f"/v1/{path}?status=done")
    assert answer.json["detail"].endswith(f"{state}.")


async def test_a_cursor_of_nobody_is_refused(stack: GatewayStack) -> None:
    """A cursor that names no payment of this merchant is refused by name."""
    for name in ("starting_after", "ending_before"):
        answer = await stack.get(f"/v1/payments?{name}={uuid4()}")
        assert (answer.code, answer.json["param"]) == ("parameter_invalid", f"query:{name}")


@pytest.mark.parametrize("path", ["/v1/payments", "/v1/sellers"])
async def test_what_is_posted_takes_no_query(stack: GatewayStack, key: UUID, path: str) -> None:
    """A query parameter on a POST is refused, not ignored, and nothing is kept."""
    answer = await stack.post(f"{path}?x=1", payment(), headers={"Idempotency-Key": str(key)})
    assert (answer.status, answer.code) == (400, "parameter_unknown")
    assert answer.json["param"] == "query:x"
    assert stack.queued() == []


async def test_transfers_follow_the_books(stack: GatewayStack, key: UUID) -> None:
    """A payment has no transfers before its intake; an unknown payment is 404."""
    await stack.pay(key)
    before = await stack.get(f"/v1/payments/{key}/transfers")
    assert before.json == {"object": "list", "data": [], "has_more": False}
    assert (await stack.get(f"/v1/payments/{uuid4()}/transfers")).code == "payment_not_found"


@pytest.mark.parametrize("is_in_books", [False, True])
async def test_a_defect_of_one_order_is_its_own(
    stack: GatewayStack, key: UUID, capsys: pytest.CaptureFixture[str], is_in_books: bool
) -> None:
    """A fingerprint that can't be read fails the requests of its own key, and no other."""
    await stack.pay(key)
    if is_in_books:
        (order,) = stack.take_in()
        stack.queries.put(order._replace(fingerprint=b"?"))
    else:
        stack.queue.copy.records[stack.order_key(key)].fingerprint = b"?"
    for _ in range(3):
        assert (await stack.pay(key)).code == "internal_error"
    assert (await stack.pay(uuid4())).status == 202
    assert (await stack.get("/readyz")).status == 200
    assert capsys.readouterr().out.count("request_failed") == 3


async def test_many_at_once_share_batches(stack: GatewayStack) -> None:
    """100 orders at a time go through few script calls, and each gets an answer of its own."""
    keys = [uuid4() for _ in range(100)]
    answers = await asyncio.gather(*(stack.pay(key) for key in keys))
    assert [answer.json["id"] for answer in answers] == [str(key) for key in keys]
    assert len({command.order_uuid for command in stack.queued()}) == 100
    assert order_uuid(stack.merchant.merchant_id, Mode.TEST, keys[0]) in {
        command.order_uuid for command in stack.queued()
    }
