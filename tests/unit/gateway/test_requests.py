"""Bodies, limits, card numbers and whatever else a storefront can get wrong."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from gateway import card_search
from gateway.bodies import decode_body
from gateway.door import new_request_id
from gateway.payment_checks import payment_refusal
from gateway.payment_requests import PAYMENT_DECODER, PaymentRequest
from gateway.problems import Problem
from payments.card_numbers import contains_card_number
from payments.mode import Mode
from tests.unit.gateway.stack import ROUTES, GatewayStack, payment, settings

PAN = "4111111111111111"


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        (b"", "json_invalid", "$"),
        (b"{", "json_invalid", "$"),
        (
            b'{"amount":1999,"currency":"USD","payment_method":"tok_approve"} x',
            "json_invalid",
            "$",
        ),
        (b'\xef\xbb\xbf{"amount":1}', "json_invalid", "$"),
        (b'{"currency":"\xff"}', "json_invalid", "$"),
        (b'{"currency":"\\ud800"}', "json_invalid", "$"),
        (b"[]", "field_type_invalid", "$"),
        (b"null", "field_type_invalid", "$"),
        (b'{"amount":NaN}', "json_invalid", "$"),
        (payment(amount="1999"), "field_type_invalid", "$.amount"),
        (payment(amount=19.99), "field_type_invalid", "$.amount"),
        (payment(amount=True), "field_type_invalid", "$.amount"),
        (payment(amount=None), "field_type_invalid", "$.amount"),
        (payment(metadata={"a": 1}), "field_type_invalid", "$.metadata.a"),
        (payment(metadata={"a": "1", "cart-id": None}), "field_type_invalid", "$.metadata.cart-id"),
        (payment(metadata={"a": {"b": {}}}), "field_type_invalid", "$.metadata.a"),
        (payment(metadata={"k" * 41: 1}), "field_type_invalid", "$.metadata[...]"),
        (payment(metadata={"a`b": 1}), "field_type_invalid", "$.metadata[...]"),
        (b'{"metadata":{"a":1},', "field_type_invalid", "$.metadata[...]"),
        (b'{"metadata":{"a":1},"b":"\xff"}', "field_type_invalid", "$.metadata.a"),
        (b'{"metadata":{"a":1,"b":' + b"[" * 60_000, "field_type_invalid", "$.metadata[...]"),
        (payment(merchant="m"), "field_unknown", "$.merchant"),
        (payment(buyer={"phone": "1"}), "field_unknown", "$.buyer.phone"),
        ({"amount": 1, "currency": "USD"}, "field_missing", "$.payment_method"),
        ({"currency": "USD", "payment_method": "tok_approve"}, "field_missing", "$.amount"),
        (
            b'{"amount":1999,"currency":"USD","payment_method":"tok_approve","amount":1}',
            "json_member_repeated",
            "$",
        ),
        (
            b'{"amount":1999,"currency":"USD","payment_method":"tok_approve",'
            b'"metadata":{"a":"1","\\u0061":"2"}}',
            "json_member_repeated",
            "$",
        ),
    ],
)
async def test_unreadable_bodies_are_400(
    stack: GatewayStack, body: object, code: str, param: str
) -> None:
    """What can't be read is 400 and says where it lies."""
    answer = await stack.pay(uuid4(), body)
    assert (answer.status, answer.code, answer.json["param"]) == (400, code, param)
    assert stack.queued() == []


@pytest.mark.parametrize(
    ("changes", "code", "param"),
    [
        ({"amount": 0}, "amount_too_small", "$.amount"),
        ({"amount": -5}, "amount_too_small", "$.amount"),
        ({"amount": 49}, "amount_too_small", "$.amount"),
        ({"amount": 2**53}, "amount_too_large", "$.amount"),
        ({"amount": 10**30}, "amount_too_large", "$.amount"),
        ({"currency": "usd"}, "currency_not_supported", "$.currency"),
        ({"currency": "XXX"}, "currency_not_supported", "$.currency"),
        ({"currency": ""}, "currency_not_supported", "$.currency"),
        ({"payment_method": ""}, "payment_method_invalid", "$.payment_method"),
        ({"payment_method": "pm_card"}, "payment_method_invalid", "$.payment_method"),
        ({"payment_method": "tok_\n"}, "payment_method_invalid", "$.payment_method"),
        ({"payment_method": "tok_" + "x" * 300}, "payment_method_invalid", "$.payment_method"),
        ({"seller": "slr_nobody"}, "seller_unknown", "$.seller"),
        ({"seller": ""}, "seller_unknown", "$.seller"),
        ({"seller": "s" * 1000}, "seller_unknown", "$.seller"),
        ({"capture": "later"}, "capture_invalid", "$.capture"),
        ({"description": "x" * 501}, "description_too_long", "$.description"),
        ({"description": "a\0b"}, "text_invalid", "$.description"),
        ({"metadata": {str(n): "" for n in range(51)}}, "metadata_invalid", "$.metadata"),
        ({"metadata": {"k" * 41: ""}}, "metadata_invalid", "$.metadata"),
        ({"metadata": {"": "x"}}, "metadata_invalid", "$.metadata"),
        ({"metadata": {"k": "v" * 501}}, "metadata_invalid", "$.metadata"),
        ({"metadata": {"k": "\0"}}, "text_invalid", "$.metadata"),
        ({"buyer": {"email": "e" * 255}}, "buyer_invalid", "$.buyer.email"),
        ({"buyer": {"name": "\0"}}, "text_invalid", "$.buyer.name"),
    ],
)
async def test_values_out_of_range_are_422(
    stack: GatewayStack, changes: dict[str, object], code: str, param: str
) -> None:
    """What is understood but not possible is 422, each with a code of its own."""
    answer = await stack.pay(uuid4(), payment(**changes))
    assert (answer.status, answer.code, answer.json["param"]) == (422, code, param)
    assert stack.queued() == []


async def test_values_at_their_limits_are_taken(stack: GatewayStack) -> None:
    """The limits themselves are allowed."""
    answer = await stack.pay(
        uuid4(),
        payment(
            amount=2**53 - 1,
            description="é" * 500,
            metadata={"k" * 38 + f"{n:02}": "v" * 500 for n in range(50)},
            buyer={"reference": "b-1", "email": "a@example.org", "name": None},
            seller=None,
        ),
    )
    assert answer.status == 202


async def test_sandbox_tokens_are_refused_with_live_keys(stack: GatewayStack) -> None:
    """A token that charges nobody can't be used where money is real."""
    answer = await stack.pay(uuid4(), key=stack.issue_key(mode=Mode.LIVE))
    assert answer.code == "sandbox_token_refused"


async def test_a_large_body_is_413(stack: GatewayStack) -> None:
    """Bodies beyond 64 KiB are refused, whether their length is told or not."""
    body = json.dumps(payment(description="x" * 70_000)).encode()
    assert (await stack.pay(uuid4(), body)).code == "body_too_large"
    answer = await _raw(
        stack,
        b"POST /v1/payments HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n"
        b"Idempotency-Key: %s\r\nContent-Type: application/json\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n"
        % (stack.key.encode(), str(uuid4()).encode())
        + b"8000\r\n"
        + b" " * 0x8000
        + b"\r\n"
        + b"8001\r\n"
        + b" " * 0x8001
        + b"\r\n0\r\n\r\n",
    )
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"body_too_large" in answer


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin-1"],
)
async def test_other_content_types_are_415(stack: GatewayStack, content_type: str) -> None:
    """Only JSON in UTF-8 is read."""
    answer = await stack.pay(uuid4(), headers={"Content-Type": content_type})
    assert (answer.status, answer.code) == (415, "content_type_unsupported")


async def test_a_body_that_does_not_arrive_is_408() -> None:
    """A client that stops in the middle of its body is answered and let go."""
    async with GatewayStack(gateway_settings=settings(body_s=0.1)) as stack:
        answer = await _raw(
            stack,
            b"POST /v1/payments HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n"
            b"Idempotency-Key: %s\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"
            % (stack.key.encode(), str(uuid4()).encode()),
        )
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"request_timeout" in answer


async def test_a_client_that_hangs_up_in_its_body_is_no_defect(
    stack: GatewayStack, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who leaves in the middle of a body is counted as unreadable; nothing is logged, no 5xx counted."""
    host, port = stack.url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        b"POST /v1/payments HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n"
        b"Idempotency-Key: %s\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"
        % (stack.key.encode(), str(uuid4()).encode())
    )
    await writer.drain()
    await asyncio.sleep(0.05)
    writer.transport.abort()
    counted = b""
    async with asyncio.timeout(3):
        while b'answers_total{route="/v1/payments"' not in counted:
            counted = (await stack.get("/metrics")).body
            await asyncio.sleep(0.01)
    assert b'answers_total{route="/v1/payments",status="400"} 1.0' in counted
    assert capsys.readouterr().out == ""


async def test_a_body_in_crumbs_is_read_to_its_end(stack: GatewayStack) -> None:
    """Reading is paused for so many chunks, and goes on when they were taken."""
    body = json.dumps(payment()).encode().ljust(30_000)
    answer = await _raw(
        stack,
        b"POST /v1/payments HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n"
        b"Idempotency-Key: %s\r\nContent-Type: application/json\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n"
        % (stack.key.encode(), str(uuid4()).encode())
        + b"".join(b"1\r\n%c\r\n" % byte for byte in body)
        + b"0\r\n\r\n",
    )
    assert answer.startswith(b"HTTP/1.1 202")


async def test_an_encoded_body_is_not_unpacked(
    stack: GatewayStack, caplog: pytest.LogCaptureFixture
) -> None:
    """A body that says it is packed is refused and skipped as it is: no bomb, no broken connection."""
    host, port = stack.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        b"POST /v1/payments HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n"
        b"Idempotency-Key: %s\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\n"
        b"Content-Length: 8\r\n\r\nnot gzip"
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        % (stack.key.encode(), str(uuid4()).encode())
    )
    async with asyncio.timeout(3):
        answers = await reader.read()
    writer.close()
    assert answers.startswith(b"HTTP/1.1 415")
    assert b"HTTP/1.1 200 OK" in answers
    assert caplog.text == ""


async def test_two_api_keys_are_none(stack: GatewayStack) -> None:
    """A request with two Authorization headers acts for nobody: a proxy may have checked the other."""
    line = b"Authorization: Bearer %s\r\n" % stack.key.encode()
    answer = await _raw(stack, b"GET /v1/payments HTTP/1.1\r\nHost: x\r\n" + line * 2 + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 401")
    assert b"api_key_invalid" in answer


async def test_preferences_in_two_headers_are_one_list(stack: GatewayStack) -> None:
    """A wish to wait counts also when it stands in the second Prefer header."""
    body = json.dumps(payment()).encode()
    answer = await _raw(
        stack,
        b"POST /v1/payments HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n"
        b"Idempotency-Key: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
        b"Prefer: handling=strict\r\nPrefer: wait=1\r\n\r\n%s"
        % (stack.key.encode(), str(uuid4()).encode(), len(body), body),
    )
    assert b"Preference-Applied: wait=1" in answer


async def test_a_silent_connection_is_closed() -> None:
    """A connection that sends no whole request head in time is closed."""
    async with GatewayStack(gateway_settings=settings(first_request_s=0.1)) as stack:
        assert await _raw(stack, b"POST /v1/pay") == b""


async def test_connections_beyond_the_limit_are_closed() -> None:
    """More connections than allowed are refused, and the ones there are go on."""
    async with GatewayStack(gateway_settings=settings(connections_max=1)) as stack:
        assert (await stack.get("/healthz")).status == 200
        try:
            answer = await _raw(stack, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        except ConnectionError:
            answer = b""
        assert answer == b""
        assert (await stack.get("/healthz")).status == 200


@pytest.mark.parametrize(
    ("raw", "status", "code"),
    [
        (b"NONSENSE\r\n\r\n", b"400", b"request_malformed"),
        (b"GET / HTTP/9.9\r\n\r\n", b"400", b"request_malformed"),
        (b"GET /%s HTTP/1.1\r\nHost: x\r\n\r\n" % (b"a" * 9000), b"400", b"request_malformed"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: %s\r\n\r\n" % (b"a" * 9000), b"400", b"malformed"),
        (b"GET / HTTP/1.1\r\nBad Header\r\n\r\n", b"400", b"request_malformed"),
        (b"GET /nowhere HTTP/1.1\r\nHost: x\r\nExpect: tea\r\n\r\n", b"417", b"expectation"),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\nExpect: \xff\r\n\r\n", b"417", b"expectation"),
        (b"GET /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", b"404", b"not_found"),
        (
            b"DELETE /v1/payments HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
            b"405",
            b"method_not_allowed",
        ),
        (
            b"POST /v1/sellers HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %(key)s\r\n"
            b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            b"400",
            b"request_malformed",
        ),
    ],
)
async def test_low_level_errors_are_problems_too(
    stack: GatewayStack, raw: bytes, status: bytes, code: bytes
) -> None:
    """What never becomes a request of the application is answered as a problem as well."""
    answer = await _raw(stack, raw.replace(b"%(key)s", stack.key.encode()))
    head, _, body = answer.partition(b"\r\n\r\n")
    # The parser's own refusals come out as HTTP/1.0: the version may be what was wrong.
    assert head[:13] in (b"HTTP/1.1 " + status + b" ", b"HTTP/1.0 " + status + b" "), answer
    assert b"Request-Id: req_" in head
    assert b"Content-Type: application/problem+json" in head
    assert code in body


async def test_a_defect_is_a_500_without_details(
    stack: GatewayStack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An error of ours is answered as a problem that tells nothing, and logged with its request id."""

    async def break_down(*_args: object) -> Any:
        raise RuntimeError("secret of the house")

    monkeypatch.setattr(stack.queries, "list_payments", break_down)
    answer = await stack.get("/v1/payments")
    assert (answer.status, answer.code) == (500, "internal_error")
    assert b"secret" not in answer.body
    logged = capsys.readouterr().out
    assert logged.count("request_failed") == 1
    assert answer.headers["Request-Id"] in logged


@pytest.mark.parametrize(
    ("method", "path", "headers", "body"),
    [
        ("GET", f"/v1/payments/{PAN}", {}, None),
        ("GET", f"/nowhere/{PAN}", {}, None),
        ("GET", "/v1/payments?status=4111-1111-1111-1111", {}, None),
        ("GET", "/v1/payments?status=4111+1111+1111+1111", {}, None),
        ("GET", "/v1/payments/%34111111111111111", {}, None),
        ("GET", f"/healthz?x={PAN}", {}, None),
        ("GET", "/v1/payments", {"X-Note": f"card {PAN}"}, None),
        ("GET", "/v1/payments", {"Authorization": f"Bearer {PAN}"}, None),
        ("POST", "/v1/payments", {"Idempotency-Key": PAN}, b"{}"),
        ("POST", "/v1/payments", {"traceparent": PAN}, b"{}"),
        ("POST", "/v1/payments", {}, b'{"description": "4111 1111 1111 1111"}'),
        ("POST", "/v1/payments", {}, b'{"amount": 4111111111111111}'),
        ("POST", "/v1/payments", {}, b'{"4111111111111111": 1}'),
        ("POST", "/v1/payments", {}, b'{"a": "\\u0034111-1111-1111-1111"'),
        ("POST", "/v1/sellers", {}, b'{"name": "4111111111111111"}'),
    ],
)
async def test_card_numbers_are_refused_everywhere(
    stack: GatewayStack,
    capsys: pytest.CaptureFixture[str],
    method: str,
    path: str,
    headers: dict[str, str],
    body: bytes | None,
) -> None:
    """A card number anywhere is 422 before anything is kept, and no digit of it comes back."""
    sent = {"Content-Type": "application/json", "Idempotency-Key": str(uuid4()), **headers}
    answer = await stack.request(method, path, headers=sent, body=body)
    assert (answer.status, answer.code) == (422, "pan_not_accepted")
    assert b"1111" not in answer.body
    assert "1111" not in str(dict(answer.headers))
    assert stack.queued() == []
    captured = capsys.readouterr()
    assert "1111" not in captured.out + captured.err


async def test_no_header_with_a_card_number_is_remembered(stack: GatewayStack) -> None:
    """Headers that repeat are searched once when they are clean, and each time when they are not."""
    headers = {"User-Agent": "shop/1.0", "X-Cart": "one", "Idempotency-Key": str(uuid4())}
    card_search._known_clean.clear()
    assert (await stack.request("GET", "/v1/payments", headers=headers)).status == 200
    kept = set(card_search._known_clean)
    assert (b"User-Agent", b"shop/1.0") in kept
    assert not {name for name, _ in kept} & {b"X-Cart", b"Idempotency-Key", b"Authorization"}
    for _ in range(2):
        answer = await stack.request("GET", "/v1/payments", headers={"User-Agent": f"shop {PAN}"})
        assert (answer.status, answer.code) == (422, "pan_not_accepted")
    assert (await stack.request("GET", "/v1/payments", headers=headers)).status == 200
    assert card_search._known_clean == kept


async def test_what_is_remembered_of_headers_is_bounded() -> None:
    """Whoever sends another agent each time fills no memory."""
    for number in range(2 * card_search._REPEATED_KEPT_MAX):
        agent = (b"User-Agent", b"shop/%d" % number)
        assert not card_search._is_refused(agent)
        assert agent in card_search._known_clean
        assert len(card_search._known_clean) <= card_search._REPEATED_KEPT_MAX


async def test_ids_of_digits_are_no_card_numbers(stack: GatewayStack) -> None:
    """A payment whose UUID looks like a card number can be paid, shown and used as a cursor."""
    key = UUID("41111111-1111-1111-9000-000000000000")
    assert contains_card_number(str(key))
    trace = "00-41111111111111110000000000000000-4111111111111111-01"
    assert (await stack.pay(key, headers={"traceparent": trace})).status == 202
    assert (await stack.get(f"/v1/payments/{key}")).status == 200
    assert (await stack.get(f"/v1/payments/{key}/transfers")).status == 200
    stack.take_in()
    assert (await stack.get(f"/v1/payments?limit=1&starting_after={key}")).status == 200


async def test_a_version_we_do_not_know_is_refused(stack: GatewayStack) -> None:
    """A client that asks for another API version learns which there are."""
    headers = {"Tallystick-Version": "2020-01-01"}
    answer = await stack.get("/v1/payments", headers=headers)
    assert (answer.status, answer.code) == (400, "version_unknown")


def test_request_ids_hold_no_digits() -> None:
    """A request id can't look like a card number, and no two are the same."""
    ids = {new_request_id() for _ in range(1_000)}
    assert len(ids) == 1_000
    assert not any(character.isdigit() for text in ids for character in text)


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)
_FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "amount": st.integers() | _VALUES,
        "currency": st.sampled_from(["USD", "JPY", "KWD", "usd"]) | _VALUES,
        "payment_method": st.sampled_from(["tok_approve", "tok_\0", ""]) | _VALUES,
        "seller": st.none() | st.text() | _VALUES,
        "capture": st.sampled_from(["automatic", "manual", None]) | _VALUES,
        "description": st.text(max_size=600) | _VALUES,
        "metadata": st.dictionaries(st.text(max_size=50), st.text(max_size=10)) | _VALUES,
        "buyer": st.dictionaries(st.sampled_from(["email", "name", "x"]), st.text()) | _VALUES,
        "other": _VALUES,
    },
)


@given(body=_FIELDS.map(lambda fields: json.dumps(fields).encode()) | st.binary(max_size=200))
def test_any_body_is_read_or_refused(body: bytes) -> None:
    """No body, however odd, does anything but become a request or one of the listed problems."""
    wanted = decode_body(body, PAYMENT_DECODER)
    if isinstance(wanted, PaymentRequest):
        refusal = payment_refusal(wanted, Mode.TEST, ROUTES)
        assert refusal is None or refusal.code.value.status == 422
        wanted.metadata_json(), wanted.buyer_json()
    else:
        assert isinstance(wanted, Problem)
        assert wanted.code.value.status in (400, 422)


@given(body=_FIELDS)
@hypothesis_settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
async def test_no_body_makes_a_5xx(stack: GatewayStack, body: dict[str, object]) -> None:
    """Random JSON over HTTP is answered 202, 400 or 422, never with an error of ours."""
    answer = await stack.pay(uuid4(), {**payment(), **body})
    assert answer.status in (202, 400, 422)


async def _raw(stack: GatewayStack, data: bytes) -> bytes:
    """Send bytes on a connection of their own; return what came until it was closed."""
    host, port = stack.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(data)
        await writer.drain()
        async with asyncio.timeout(3):
            return await reader.read(100_000)
    finally:
        writer.close()
