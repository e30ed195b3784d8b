"""Shops under load, for locust: ``locust -f loadtest/locustfile.py``. See docs/load-testing.md.

Each user is a shop that posts payments, waits or polls until they end, reads back what the books say
of them, and sends some again. What can't be true is a failure with a name of its own. Locust brings
gevent, which changes the standard library: run it in a process of its own, never import this file.
"""

from __future__ import annotations

import itertools
import random
import sys
import time
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from locust import HttpUser, between, events, task
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment

# How a sandbox order ends, and how often each is drawn of a hundred. Most orders are plain; those that
# time out at the provider take some seconds, and show whether they hold up the others.
TOKENS: Mapping[str, tuple[str, int]] = {
    "tok_approve": ("succeeded", 82),
    "tok_decline_insufficient_funds": ("failed", 8),
    "tok_slow_300": ("succeeded", 5),
    "tok_error_500": ("succeeded", 2),
    "tok_charge_then_timeout": ("succeeded", 2),
    "tok_charge_then_refuse": ("succeeded", 1),
}
CURRENCIES = ("USD", "EUR", "JPY")
AMOUNT_MINOR_MAX = 50_000
# A provider's time-out and one more try; whoever has not settled by then is stuck.
SETTLE_S_MAX = 30.0
POLL_PAUSE_S = 0.25
WAIT_S = 10
EXIT_USAGE = 2
STATUS_BY_END = {"succeeded": 201, "failed": 402}

_shop_numbers = itertools.count()


def _add_options(parser: LocustArgumentParser) -> None:
    """Add our options to locust's: on the command line, in the environment, in the web page."""
    parser.add_argument(
        "--api-key", env_var="TALLY_API_KEY", is_secret=True, help="A merchant's test API key."
    )
    parser.add_argument(
        "--sellers",
        type=int,
        default=100,
        env_var="LOADTEST_SELLERS",
        help="Among how many sellers the shops divide; 1 makes one hot wallet.",
    )
    parser.add_argument(
        "--seed", type=int, default=1, env_var="LOADTEST_SEED", help="Of tokens and amounts."
    )


events.init_command_line_parser.add_listener(_add_options)  # type: ignore[no-untyped-call]


def _check_options(environment: Environment, **_: object) -> None:
    """End at the start when no shop could work. What is missing may still come from page or master."""
    options: Any = environment.parsed_options
    wrong = None
    if options.sellers < 1:
        wrong = f"--sellers must be at least 1, not {options.sellers}."
    elif options.host and not options.host.startswith(("http://", "https://")):
        wrong = f"--host must be a URL such as http://127.0.0.1:7400, not {options.host}."
    elif options.headless and not options.worker:
        if not options.host:
            wrong = "--host is missing: give the gateway, such as http://127.0.0.1:7400."
        elif not options.api_key:
            wrong = "--api-key is missing: give a merchant's test key; tally status shows one."
        elif options.num_users is not None and options.num_users < 1:
            wrong = f"--users must be at least 1, not {options.num_users}."
        elif options.run_time == 0:
            wrong = "--run-time must be at least 1s: locust takes 0s for a run without an end."
    if wrong:
        sys.stderr.write(f"Error: {wrong}\n")
        sys.exit(EXIT_USAGE)


events.init.add_listener(_check_options)  # type: ignore[no-untyped-call]


class Shop(HttpUser):
    """One storefront with a seller to credit."""

    wait_time = between(0.05, 0.25)

    def on_start(self) -> None:
        """Create the shop's seller; another shop may have been first."""
        options = self.environment.parsed_options
        number = next(_shop_numbers)
        self._random = random.Random(f"{options.seed}:{number}")  # noqa: S311 -- seeded, no secret
        self._seller = f"slr_load_{number % options.sellers}"
        self._headers = {"Authorization": f"Bearer {options.api_key}"}
        self._net_minor = dict.fromkeys(CURRENCIES, 0)
        body = {"id": self._seller, "name": "Load"}
        with self.client.post(
            "/v1/sellers",
            json=body,
            headers=self._headers,
            name="POST /v1/sellers",
            catch_response=True,
        ) as answer:
            if answer.status_code in (201, 409):
                answer.success()

    @task(4)
    def pay_and_wait(self) -> None:
        """Post an order and have the answer held until it has ended."""
        self._pay(wait_s=WAIT_S, name="POST /v1/payments (wait)")

    @task(2)
    def pay_and_poll(self) -> None:
        """Post an order, take the 202, and ask until it has ended."""
        self._pay(wait_s=0, name="POST /v1/payments")

    @task(1)
    def read_the_wallet(self) -> None:
        """The seller's wallet holds at least what this shop's own payments brought."""
        with self._get(f"/v1/wallets/{self._seller}", "GET /v1/wallets/{owner}") as answer:
            if answer.status_code != 200:
                return
            posted = {each["currency"]: each["posted"] for each in answer.json()["balances"]}
            for currency, net_minor in self._net_minor.items():
                if posted.get(currency, 0) < net_minor:
                    answer.failure("the wallet holds less than was paid into it")

    def _pay(self, *, wait_s: int, name: str) -> None:
        """Take one order from its POST to what the books say of it."""
        token = self._random.choices(
            list(TOKENS), weights=[weight for _, weight in TOKENS.values()]
        )[0]
        end, _ = TOKENS[token]
        body = {
            "amount": self._random.randint(1, AMOUNT_MINOR_MAX),
            "currency": self._random.choice(CURRENCIES),
            "payment_method": token,
            "seller": self._seller,
            "metadata": {"token": token},
        }
        key = str(uuid4())
        first = self._post(key, body, name, wait_s=wait_s)
        if first is None:
            return
        status, raw = first
        order = self._settled(key, end) if status == 202 else self._read(key)
        if order is None:
            return
        self._check_order(order, body, end)
        self._check_replay(key, body, end, raw if status != 202 else None)

    def _post(
        self, key: str, body: Mapping[str, object], name: str, *, wait_s: int = 0
    ) -> tuple[int, bytes] | None:
        """Return status and bytes of the answer, or None when it was refused."""
        headers = {**self._headers, "Idempotency-Key": key}
        if wait_s:
            headers["Prefer"] = f"wait={wait_s}"
        with self.client.post(
            "/v1/payments", json=body, headers=headers, name=name, catch_response=True
        ) as answer:
            if answer.status_code not in (201, 202, 402):
                answer.failure(f"a payment order was answered {answer.status_code}")
                return None
            answer.success()
            return answer.status_code, answer.content

    def _get(self, path: str, name: str) -> Any:
        return self.client.get(path, headers=self._headers, name=name, catch_response=True)

    def _read(self, key: str) -> dict[str, Any] | None:
        with self._get(f"/v1/payments/{key}", "GET /v1/payments/{id}") as answer:
            if answer.status_code != 200:
                return None
            order: dict[str, Any] = answer.json()
            return order

    def _settled(self, key: str, end: str) -> dict[str, Any] | None:
        """Ask until the order has ended; one that does not in time is a failure."""
        until_s = time.monotonic() + SETTLE_S_MAX
        while time.monotonic() < until_s:
            order = self._read(key)
            if order is None or order["status"] in STATUS_BY_END:
                return order
            time.sleep(POLL_PAUSE_S)
        self._fail("settling", f"no order ends as {end} within {SETTLE_S_MAX:.0f} s")
        return None

    def _check_order(self, order: Mapping[str, Any], body: Mapping[str, Any], end: str) -> None:
        """The order is what was asked for, ended as its token says, and was booked as it ended."""
        same = ("amount", "currency", "seller", "metadata")
        if any(order[name] != body[name] for name in same):
            self._fail("order", "an order differs from its request")
        if order["status"] != end:
            self._fail("order", f"{body['payment_method']} ended as {order['status']}")
            return
        name = "GET /v1/payments/{id}/transfers"
        with self._get(f"/v1/payments/{order['id']}/transfers", name) as answer:
            if answer.status_code != 200:
                return
            wallet = f"wallet:{self._seller}"
            moved = answer.json()["data"]
            net_minor = sum(each["amount"] for each in moved if each["credit_account"] == wallet)
            net_minor -= sum(each["amount"] for each in moved if each["debit_account"] == wallet)
            wanted_minor = order["amount"] - order["fee"] if end == "succeeded" else 0
            if net_minor != wanted_minor:
                answer.failure("the transfers don't add up to the order")
                return
        self._net_minor[order["currency"]] += net_minor

    def _check_replay(
        self, key: str, body: Mapping[str, object], end: str, settled: bytes | None
    ) -> None:
        """The same request again gets the frozen answer: the same bytes each time."""
        for _ in range(1 if settled is not None else 2):
            again = self._post(key, body, "POST /v1/payments (again)")
            if again is None:
                return
            status, raw = again
            if status != STATUS_BY_END[end]:
                self._fail("replay", f"a {end} order was answered {status}")
            elif settled is not None and raw != settled:
                self._fail("replay", "a settled order's answer differs from the one before")
            settled = raw

    def _fail(self, name: str, why: str) -> None:
        """Count a failure that is not one answer's: it shows under its own name."""
        self.environment.events.request.fire(
            request_type="CHECK",
            name=name,
            response_time=0,
            response_length=0,
            exception=AssertionError(why),
            context={},
        )
