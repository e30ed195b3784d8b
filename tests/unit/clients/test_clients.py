"""Both clients as their users see them: the same operations, and secrets in nothing that is shown."""

from __future__ import annotations

import asyncio
import inspect
import logging
import pickle
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import assert_type
from uuid import UUID

import pytest

from tallystick import (
    AsyncTallystick,
    FileKeyStore,
    NotReached,
    Payment,
    Refund,
    RetryPolicy,
    Tallystick,
    problems,
)
from tallystick.async_client import AsyncTallystick as AsyncClient
from tallystick.binding import AsyncResource, SyncResource
from tallystick.operations import Page
from tests.unit.clients.scripted_server import Reply, ScriptedServer, answer, problem

KEY = "sk_test_a_secret_that_nobody_may_see"
PAYMENT = {"id": "6f1c0e58-6c0f-4b7f-9d5e-0f3f0a6f4c11", "status": "succeeded", "amount": 1999}
POLICY = RetryPolicy(pause_first_s=0.01, pause_s_max=0.02, deadline_s=10.0)

Pay = Callable[..., Payment]


def _pay(url: str, *, store: FileKeyStore | None = None, name: str | None = None) -> Payment:
    with Tallystick(url, KEY, policy=POLICY, key_store=store) as client:
        return client.payments.create(
            amount=1999, currency="USD", payment_method="tok_approve", key_name=name, wait_s=5
        )


def _pay_async(url: str, *, store: FileKeyStore | None = None, name: str | None = None) -> Payment:
    async def run() -> Payment:
        async with AsyncTallystick(url, KEY, policy=POLICY, key_store=store) as client:
            return await client.payments.create(
                amount=1999, currency="USD", payment_method="tok_approve", key_name=name, wait_s=5
            )

    return asyncio.run(run())


@pytest.fixture(params=[_pay, _pay_async], ids=["sync", "async"])
def pay(request: pytest.FixtureRequest) -> Pay:
    """Makes a payment with one of the clients."""
    function: Pay = request.param
    return function


def test_a_payment_survives_everything_on_its_way(pay: Pay) -> None:
    """Resets, a cut answer and two kinds of 503 later the payment is there, under one key."""
    script = [
        Reply(is_reset=True),
        Reply(b"HTTP/1.1 201 Created\r\nContent-Length: 99\r\n\r\n{", is_closed=True),
        problem("store_unavailable", 503, retryable=True, details={"may_run": True}),
        problem("queue_backpressure", 503, retryable=True, details={"may_run": False}),
        answer(201, PAYMENT),
    ]
    with ScriptedServer(*script) as server:
        payment = pay(server.url)
        keys = server.keys
        waits = {got.headers["prefer"] for got in server.got}
    assert payment.amount == 1999
    assert len(keys) == len(script)
    assert len(set(keys)) == 1
    assert waits == {"wait=5"}


def test_a_payment_goes_on_in_another_process(pay: Pay, tmp_path: Path) -> None:
    """A client that gave up, or died, left its key: the next one asks for the same payment."""
    path = tmp_path / "keys.db"
    with ScriptedServer(Reply(is_reset=True)) as server:
        with pytest.raises(NotReached) as caught:
            pay(server.url, store=FileKeyStore(path), name="cart-1001")
        first = set(server.keys)
    assert caught.value.may_have_run
    with ScriptedServer(answer(201, PAYMENT)) as server:
        pay(server.url, store=FileKeyStore(path), name="cart-1001")
        assert set(server.keys) == first == {str(caught.value.idempotency_key)}


def test_nothing_that_is_shown_holds_a_secret(pay: Pay, caplog: pytest.LogCaptureFixture) -> None:
    """Logs, errors and reprs hold neither the API key nor what was paid with, nor the buyer."""
    caplog.set_level(logging.DEBUG, logger="tallystick")
    refusal = problem("declined", 402, retryable=False)
    with ScriptedServer(Reply(is_reset=True), refusal) as server:
        with pytest.raises(problems.Declined) as caught:
            pay(server.url)
        shown = (
            caplog.text + repr(caught.value) + str(caught.value) + repr(Tallystick(server.url, KEY))
        )
    assert "attempt 1 failed" in caplog.text
    assert KEY not in shown
    assert "tok_approve" not in shown


def test_a_payments_repr_is_not_personal() -> None:
    """What ends up in a storefront's log is the kind, the id and the state."""
    payment = Payment({**PAYMENT, "metadata": {"name": "A. Example"}})
    assert repr(payment) == f"Payment(id='{PAYMENT['id']}', status='succeeded')"
    assert pickle.loads(pickle.dumps(payment)) == payment


async def test_types_are_those_of_what_comes_back() -> None:
    """A type checker knows what each method of either client gives, and what it takes (mypy reads this)."""
    with ScriptedServer(answer(200, {**PAYMENT, "data": []})) as server:
        with Tallystick(server.url, KEY) as client:
            assert_type(client.payments.retrieve("a"), Payment)
            assert_type(client.payments.list(limit=5), Page[Payment])
            assert_type(client.payments.iterate(), Iterator[Payment])
            assert_type(client.payments.refund("a", amount=5), Refund)
            assert_type(client.webhook_endpoints.delete("a"), None)
            with pytest.raises(TypeError):
                client.payments.create(amount=5, currency="USD")  # type: ignore[call-arg]
        async with AsyncTallystick(server.url, KEY) as other:
            assert_type(await other.payments.retrieve("a"), Payment)
            assert_type(other.payments.iterate(), AsyncIterator[Payment])
            assert [payment async for payment in other.payments.iterate()] == []


def test_both_clients_do_the_same() -> None:
    """Every resource and method of one is in the other, with one signature and one documentation."""
    with Tallystick("http://127.0.0.1:1", KEY) as sync_client:
        async_client = AsyncClient("http://127.0.0.1:1", KEY)
        resources = {
            name: kind for name, kind in vars(sync_client).items() if isinstance(kind, SyncResource)
        }
        assert resources
        for name, resource in resources.items():
            other = vars(async_client)[name]
            assert isinstance(other, AsyncResource)
            methods = _methods(type(resource))
            assert methods == _methods(type(other))
            for method in methods:
                mine, its = getattr(resource, method), getattr(other, method)
                # What is called alike returns alike; a stream is each client's own class.
                both = [inspect.signature(one) for one in (mine, its)]
                assert both[0].parameters == both[1].parameters
                returned = str(both[1].return_annotation)
                assert returned.removeprefix("Async") == str(both[0].return_annotation)
                assert mine.__doc__ == its.__doc__
                assert mine.__doc__


def _methods(kind: type) -> set[str]:
    return {name for name in vars(kind) if not name.startswith("_")}


@pytest.mark.parametrize("count", [250])
async def test_lists_are_gone_through_page_by_page(count: int) -> None:
    """An async loop over all payments asks for one page after the other."""
    pages = [
        answer(200, {"data": [{"id": f"p{number}"} for number in numbers], "has_more": has_more})
        for numbers, has_more in (
            (range(100), True),
            (range(100, 200), True),
            (range(200, count), False),
        )
    ]
    with ScriptedServer(*pages) as server:
        async with AsyncTallystick(server.url, KEY) as client:
            found = [payment.id async for payment in client.payments.iterate()]
        targets = [got.target for got in server.got]
    assert found == [f"p{number}" for number in range(count)]
    assert targets[1] == "/v1/payments?limit=100&starting_after=p99"


def test_a_client_with_another_policy_shares_connections() -> None:
    """A call that must be quick does not need a client, or a connection, of its own."""
    with ScriptedServer(answer(201, PAYMENT)) as server, Tallystick(server.url, KEY) as client:
        client.payments.retrieve("a")
        client.with_policy(POLICY).payments.retrieve("a")
        assert [got.connection for got in server.got] == [0, 0]


@pytest.mark.parametrize(
    ("url", "key", "why"),
    [
        ("http://pay.example", KEY, "https"),
        ("https://pay.example/v1", KEY, "nothing behind it"),
        ("https://user@pay.example", KEY, "nothing behind it"),
        ("pay.example", KEY, "https://host"),
        ("https://pay.example", "whsec_abc", "api_key"),
        ("https://pay.example", "sk_test_a\r\nX-Other: b", "api_key"),
    ],
)
def test_what_can_not_be_right_is_refused(url: str, key: str, why: str) -> None:
    """A key never goes over plain http to another machine, and no address or key is guessed at."""
    with pytest.raises(ValueError, match=why) as caught:
        Tallystick(url, key)
    assert KEY not in str(caught.value)


def test_plain_http_within_ones_own_network_can_be_allowed() -> None:
    """Whoever says so may leave TLS to what stands in front of the gateway."""
    Tallystick("http://gateway.internal:8080", KEY, is_plain_http_allowed=True).close()


def test_the_environment_says_where_and_who() -> None:
    """Two variables are enough, and one that is missing is named."""
    with ScriptedServer(answer(200, PAYMENT)) as server:
        environment = {"TALLYSTICK_URL": server.url, "TALLYSTICK_API_KEY": KEY}
        with Tallystick.from_environment(environment) as client:
            assert client.payments.retrieve("a").status == "succeeded"
    with pytest.raises(ValueError, match="TALLYSTICK_API_KEY"):
        Tallystick.from_environment({"TALLYSTICK_URL": "http://127.0.0.1:1"})


async def test_keys_are_kept_beside_the_event_loop(tmp_path: Path) -> None:
    """A slow disk under the key store does not stop the storefront's other requests."""
    used: list[int] = []

    class Watched(FileKeyStore):
        def keep(self, name: str, key: UUID) -> UUID:
            used.append(threading.get_ident())
            return super().keep(name, key)

    with ScriptedServer(answer(201, PAYMENT)) as server:
        store = Watched(tmp_path / "keys.db")
        async with AsyncTallystick(server.url, KEY, key_store=store) as client:
            await client.payments.create(
                amount=1999, currency="USD", payment_method="tok_approve", key_name="a"
            )
    assert used
    assert used != [threading.get_ident()]
