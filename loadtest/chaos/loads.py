"""The load of a run: for mixes one with duplicates, conflicts and polls, for single faults a steady one."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Protocol

from loadtest.chaos.options import Options
from loadtest.chaos.stack import ChaosStack
from loadtest.chaos.steady import SteadyLoad
from loadtest.history.of_stack import StackLoad


class Load(Protocol):
    """Sends payments and writes down what it saw: ``history.jsonl``, then ``final.json``."""

    async def run(self, directory: Path, stop: asyncio.Event) -> object:
        """Send until told to stop, and wait for the last answers."""
        ...

    async def read_final(self, directory: Path) -> object:
        """After quiescence, read what every payment came to."""
        ...


def make_load(stack: ChaosStack, options: Options) -> Load:
    """Return the load that fits a run."""
    if options.single:
        return SteadyLoad(
            base_url=stack.base_url,
            api_key=stack.api_key,
            rate_per_s=options.rate_per_s,
            seed=options.seed,
        )
    return StackLoad(
        stack.root,
        (stack.base_url,),
        seed=options.seed,
        rate_per_s=options.rate_per_s,
        has_webhooks=options.has_webhooks,
    )
