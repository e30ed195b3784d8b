"""``/v1/dead_letters``, and orders whose message is one."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from payments.answer import API_VERSION
from payments.fingerprint import FINGERPRINT_BYTES
from payments.identity import dead_letter_id
from payments.mode import Mode
from payments.rows import LetterActionKind
from storage.envelope import encode_command
from storage.letters import Letter, LetterState
from storage.read_ports import KeyRole
from storage.set_aside_orders import set_aside_order
from tests.queue_commands import a_command
from tests.unit.gateway.stack import GatewayStack, payment

AT = datetime(2026, 11, 1, 12, tzinfo=UTC)


def a_letter(
    number: int, *, state: LetterState = LetterState.WAITING, mode: Mode | None = Mode.TEST
) -> Letter:
    """A letter with an order."""
    return Letter(
        dead_letter_no=number,
        partition_index=3,
        stream_id="5-0",
        order_uuid=uuid4(),
        merchant_id="mrc_b",
        mode=mode,
        reason="payload_malformed",
        detail="ValueError",
        attempt_count=1,
        is_order=True,
        state=state,
        refusal=None,
        envelope_bytes=300,
        created_at=AT,
    )


def put_set_aside(
    stack: GatewayStack, key: object, *, fingerprint: bytes = b"", is_discarded: bool = False
) -> None:
    """An order whose message is a dead letter."""
    index, order = stack.order_key(key)  # type: ignore[arg-type]
    stack.queries.put(
        set_aside_order(
            order,
            index,
            merchant_no=stack.merchant.merchant_no,
            mode=Mode.TEST,
            fingerprint=fingerprint,
            accepted_at=AT,
            discarded_at=AT if is_discarded else None,
            api_version=API_VERSION,
        )
    )


async def test_an_order_that_was_set_aside_is_processing() -> None:
    """GET shows it under its key, with null for what nobody can read; a repeat of the POST gets 202."""
    async with GatewayStack() as stack:
        key = uuid4()
        put_set_aside(stack, key)
        shown = await stack.get(f"/v1/payments/{key}")
        assert shown.status == 200
        assert shown.json["id"] == str(key)
        assert shown.json["status"] == "processing"
        assert [shown.json[name] for name in ("amount", "currency", "seller", "fee")] == [None] * 4
        repeated = await stack.pay(key)
        assert (repeated.status, repeated.json) == (202, shown.json)
        transfers = await stack.get(f"/v1/payments/{key}/transfers")
        assert transfers.json["data"] == []


async def test_another_request_under_its_key_is_refused() -> None:
    """Where the message's fingerprint could be read, it decides as for every order."""
    async with GatewayStack() as stack:
        key = uuid4()
        put_set_aside(stack, key, fingerprint=b"\1" * FINGERPRINT_BYTES)
        answer = await stack.pay(key, payment())
        assert (answer.status, answer.code) == (422, "idempotency_key_reused")


async def test_a_discarded_order_has_failed_for_good() -> None:
    """The frozen answer is a documented failure, the same each time."""
    async with GatewayStack() as stack:
        key = uuid4()
        put_set_aside(stack, key, is_discarded=True)
        first, second = await stack.pay(key), await stack.pay(key)
        assert (first.status, first.body) == (402, second.body)
        assert first.json["code"] == "order_discarded"
        assert first.json["payment"]["failure"]["code"] == "order_discarded"
        assert (await stack.get(f"/v1/payments/{key}")).json["status"] == "failed"


async def test_operators_list_letters_and_nobody_else() -> None:
    """Newest first, by pages, without a body; a merchant's key and the other mode see nothing."""
    async with GatewayStack() as stack:
        operator = stack.issue_key(role=KeyRole.OPERATOR)
        live = stack.issue_key(role=KeyRole.OPERATOR, mode=Mode.LIVE)
        stack.letters.letters = [a_letter(n) for n in range(1, 6)]
        page = (await stack.get("/v1/dead_letters?limit=2", key=operator)).json
        assert [row["id"] for row in page["data"]] == [dead_letter_id(5), dead_letter_id(4)]
        assert page["has_more"]
        rest = await stack.get(
            f"/v1/dead_letters?starting_after={dead_letter_id(4)}&state=waiting", key=operator
        )
        assert (len(rest.json["data"]), rest.json["has_more"]) == (3, False)
        assert (await stack.get("/v1/dead_letters", key=live)).json["data"] == []
        refused = await stack.get("/v1/dead_letters")
        assert (refused.status, refused.code) == (403, "operator_key_required")
        for path in ("?state=lost", "?starting_after=5"):
            answer = await stack.get(f"/v1/dead_letters{path}", key=operator)
            assert (answer.status, answer.code) == (400, "parameter_invalid")


async def test_a_letter_is_shown_without_what_is_personal() -> None:
    """Of the body kinds and sizes are told; no value of the payload comes through."""
    async with GatewayStack() as stack:
        operator = stack.issue_key(role=KeyRole.OPERATOR)
        command = a_command(uuid4())._replace(description="a secret wish", buyer_json='{"a":"b@c"}')
        stack.letters.letters = [a_letter(1)]
        stack.letters.raws[1] = encode_command(command)
        shown = await stack.get(f"/v1/dead_letters/{dead_letter_id(1)}", key=operator)
        assert shown.status == 200
        assert "str(13)" in shown.json["fields"]["p"]
        for secret in ("secret wish", "b@c", command.payment_method):
            assert secret not in json.dumps(shown.json)
        for unknown in (dead_letter_id(9), "dl_", "9"):
            answer = await stack.get(f"/v1/dead_letters/{unknown}", key=operator)
            assert (answer.status, answer.code) == (404, "dead_letter_not_found")


@pytest.mark.parametrize("action", ["replay", "discard"])
async def test_an_action_is_written_once_with_its_reason(action: str) -> None:
    """A repeat is answered like the first; the other action is refused while one is under way."""
    async with GatewayStack() as stack:
        operator = stack.issue_key(role=KeyRole.OPERATOR)
        stack.letters.letters = [a_letter(1)]
        path = f"/v1/dead_letters/{dead_letter_id(1)}"
        wanted = {"reason": "mended in release 7"}
        first = await stack.post(f"{path}/{action}", wanted, key=operator)
        second = await stack.post(f"{path}/{action}", wanted, key=operator)
        assert (first.status, first.json["state"]) == (202, f"{action}ing")
        assert (second.status, second.body) == (202, first.body)
        other = "discard" if action == "replay" else "replay"
        refused = await stack.post(f"{path}/{other}", wanted, key=operator)
        assert (refused.status, refused.code) == (409, "dead_letter_closed")
        ((number, kind, actor, reason),) = stack.letters.audits
        assert (number, kind) == (1, LetterActionKind[action.upper()])
        assert actor.startswith("key ")
        assert reason == wanted["reason"]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 400, "field_missing"),
        ({"reason": 5}, 400, "field_type_invalid"),
        ({"reason": "  "}, 422, "reason_invalid"),
        ({"reason": "x" * 501}, 422, "reason_invalid"),
        ({"reason": "a\u0007b"}, 422, "reason_invalid"),
    ],
)
async def test_no_action_without_a_reason(body: object, status: int, code: str) -> None:
    """A reason that can't be kept is refused, and nothing is written."""
    async with GatewayStack() as stack:
        operator = stack.issue_key(role=KeyRole.OPERATOR)
        stack.letters.letters = [a_letter(1)]
        answer = await stack.post(
            f"/v1/dead_letters/{dead_letter_id(1)}/replay", body, key=operator
        )
        assert (answer.status, answer.code) == (status, code)
        assert stack.letters.audits == []


async def test_letters_out_of_reach_are_a_503() -> None:
    """While Postgres is away nothing is claimed about letters."""
    async with GatewayStack() as stack:
        operator = stack.issue_key(role=KeyRole.OPERATOR)
        stack.letters.is_available = False
        path = f"/v1/dead_letters/{dead_letter_id(1)}"
        answers = [
            await stack.get("/v1/dead_letters", key=operator),
            await stack.get(path, key=operator),
            await stack.post(f"{path}/replay", {"reason": "r"}, key=operator),
        ]
        assert {(answer.status, answer.code) for answer in answers} == {(503, "store_unavailable")}
        merchants = await stack.post(f"{path}/replay", {"reason": "r"})
        assert (merchants.status, merchants.code) == (403, "operator_key_required")
