"""``python -m tests.openapi --url … --key … --operator-key …``: attack a gateway by its own document.

The examples are played first, so that what they name exists: the deployment should be one for tests.
"""

from __future__ import annotations

import asyncio
import sys

import aiohttp
import click

from gateway.openapi.declarations import Access
from tests.openapi.attack import attack
from tests.openapi.examples import examples, play
from tests.unit.gateway.stack import GatewayStack


async def _play_all(url: str, keys: dict[Access, str]) -> None:
    routes = GatewayStack().gateway.documented_routes()
    async with aiohttp.ClientSession() as session:
        for route, example in examples(routes):
            await play(session, url, keys, route, example)


@click.command()
@click.option("--url", required=True, help="Where the gateway is.")
@click.option("--key", required=True, help="A merchant's test key.")
@click.option("--operator-key", required=True, help="An operator's test key.")
@click.option("--max-examples", type=click.IntRange(min=1), default=300, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True)
def main(url: str, key: str, operator_key: str, max_examples: int, seed: int) -> None:
    """Run all checks of schemathesis; the exit code is 0 when they find nothing."""
    asyncio.run(_play_all(url, {Access.MERCHANT: key, Access.OPERATOR: operator_key}))
    keys = {"merchant": key, "operator": operator_key}
    done = attack(url, keys, max_examples=max_examples, seed=seed, timeout_s=None)
    sys.stdout.write(done.stdout)
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
