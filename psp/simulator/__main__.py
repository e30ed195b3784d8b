"""``python -m psp.simulator``: one PSP of its own, in a process of its own."""

from __future__ import annotations

import argparse
import asyncio
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import uvloop
from aiohttp import web

from psp.simulator.faults import FaultSwitch
from psp.simulator.fees import SettlementFee
from psp.simulator.log import LOG_VERSION, DurableLog, LogUnusable
from psp.simulator.records import OpenRecord, Record
from psp.simulator.sandbox import Sandbox
from psp.simulator.server import SimulatorServer
from psp.simulator.state import SandboxState
from psp.simulator.stripe_intents import StripeIntents
from psp.simulator.stripe_server import StripeServer
from psp.simulator.stripe_webhooks import StripeWebhooks
from psp.simulator.stripe_webhooks import secret_bytes as stripe_secret
from psp.simulator.webhook_sending import WebhookSender, WebhookTarget, standard_shape
from psp.simulator.wire import Rate, Scenario, WebhookFaults
from psp.webhooks import secret_bytes
from runtime.clock import SystemClock
from runtime.collector import spare_the_living
from runtime.direct_serving import DirectRunner

SHUTDOWN_S = 3.0
"""How long requests that still run may take after SIGTERM; a charge takes milliseconds."""

SOCKET_BACKLOG = 1_024
"""Connections that may wait to be accepted: every host's pool may reconnect at once after a
restart.
"""

SEED_MAX = 2**63 - 1
"""The seed is kept as 8 bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatorConfig:
    """What the command line says."""

    host: str
    port: int
    data: Path
    seed: int
    name: str
    scenario: Scenario
    webhook_target: WebhookTarget | None = None
    fee: SettlementFee
    varied: Mapping[str, float]
    is_stripe_told: bool = False
    """Whether webhooks are shaped and signed as Stripe's."""


def config_of(arguments: list[str]) -> SimulatorConfig:
    """Return the configuration; exits with a usage message if it can't be."""
    parser = argparse.ArgumentParser(prog="python -m psp.simulator", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument(
        "--port", type=int, required=True, help="port to listen on; 0 takes a free one"
    )
    parser.add_argument("--data", type=Path, required=True, help="directory of its log")
    parser.add_argument("--seed", type=int, default=1, help="draws references and latencies")
    parser.add_argument("--name", default="simulator", help="what its pages call it")
    parser.add_argument("--latency-ms", type=float, default=None, help="fixed; 0 answers at once")
    parser.add_argument(
        "--latency-ms-median", type=float, default=0.0, help="of a log-normal latency"
    )
    parser.add_argument("--latency-ms-sigma", type=float, default=0.0, help="its shape; 0 is fixed")
    parser.add_argument("--webhook-url", default=None, help="where its webhooks go")
    parser.add_argument(
        "--webhook-secret-file", type=Path, default=None, help="what signs them; goes with the URL"
    )
    parser.add_argument("--webhooks", action="store_true", help="send them from the start")
    parser.add_argument(
        "--webhook-shape", choices=["standard", "stripe"], default="standard", help="whose they are"
    )
    parser.add_argument("--fee-basis-points", type=int, default=150, help="kept of each capture")
    parser.add_argument("--fee-fixed", type=int, default=0, help="and beside it, in minor units")
    parser.add_argument(
        "--varied",
        action="append",
        default=[],
        metavar="TOKEN=SHARE",
        help="the share of tok_varied that fares as if it were that token",
    )
    parsed = parser.parse_args(arguments)
    if not 0 <= parsed.seed <= SEED_MAX:
        parser.error(f"--seed has to be between 0 and {SEED_MAX}")
    is_fixed = parsed.latency_ms is not None
    latency = {
        "latency_ms_median": parsed.latency_ms if is_fixed else parsed.latency_ms_median,
        "latency_ms_sigma": 0.0 if is_fixed else parsed.latency_ms_sigma,
    }
    try:
        scenario = msgspec.convert({**latency, "webhooks": parsed.webhooks}, type=Scenario)
        varied = msgspec.convert(dict(map(_share, parsed.varied)), type=dict[str, Rate])
        read = stripe_secret if parsed.webhook_shape == "stripe" else secret_bytes
        target = _webhook_target(parsed.webhook_url, parsed.webhook_secret_file, read)
    except (msgspec.ValidationError, ValueError) as unusable:
        parser.error(str(unusable))
    return SimulatorConfig(
        host=parsed.host,
        port=parsed.port,
        data=parsed.data,
        seed=parsed.seed,
        name=parsed.name,
        scenario=scenario,
        webhook_target=target,
        fee=SettlementFee(parsed.fee_basis_points, parsed.fee_fixed),
        varied=varied,
        is_stripe_told=parsed.webhook_shape == "stripe",
    )


def _share(text: str) -> tuple[str, float]:
    """Raises ValueError."""
    token, _, share = text.partition("=")
    return token, float(share)


def _webhook_target(
    url: str | None, secret_file: Path | None, read: Callable[[str], bytes]
) -> WebhookTarget | None:
    """Raises ValueError where the two don't fit together, or the secret can't be read."""
    if url is None and secret_file is None:
        return None
    if url is None or secret_file is None:
        raise ValueError("--webhook-url and --webhook-secret-file go together")
    try:
        secret = read(secret_file.read_text(encoding="utf-8").strip())
    except OSError as error:
        raise ValueError(f"{secret_file}: {error.strerror}") from error
    return WebhookTarget(url=url, secret=secret)


class Listener:
    """The listening port, which can be closed for a while."""

    def __init__(self, listening: socket.socket) -> None:
        self._listening = listening
        self._address = listening.getsockname()[:2]
        self._runner: web.AppRunner | None = None
        self._site: web.SockSite | None = None

    async def open(self, runner: web.AppRunner) -> None:
        """Listen, and serve what comes."""
        self._runner = runner
        self._site = web.SockSite(runner, self._listening, backlog=SOCKET_BACKLOG)
        await self._site.start()

    async def refuse(self, seconds: float) -> None:
        """Be as a dead server for so long: cut everybody off, and have the kernel refuse who connects."""
        if self._site is None or self._runner is None or self._runner.server is None:
            return
        await self._site.stop()
        for connection in self._runner.server.connections:
            if connection.transport is not None:
                connection.transport.abort()
        await asyncio.sleep(seconds)
        self._listening = socket.create_server(self._address, backlog=SOCKET_BACKLOG)
        await self.open(self._runner)


async def serve(config: SimulatorConfig) -> None:
    """Serve until SIGTERM or SIGINT. Raises LogUnusable when the log can't be opened or written any
    more.
    """
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    state = SandboxState(seed=config.seed, fee=config.fee)
    opening = OpenRecord(v=LOG_VERSION, name=config.name, seed=config.seed)
    intents = StripeIntents(seed=config.seed)
    followers: list[Callable[[Record], None]] = [state.apply, intents.apply]

    def on_durable(record: Record) -> None:
        for follow in followers:
            follow(record)

    log = DurableLog.opened(config.data, opening, on_durable=on_durable)
    try:
        listening = socket.create_server((config.host, config.port), backlog=SOCKET_BACKLOG)
        host, port = listening.getsockname()[:2]
        sandbox = _sandbox(config, state, log, f"http://{host}:{port}")
        listener = Listener(listening)
        switch = FaultSwitch(sandbox, listener.refuse)
        sender = _sender(config, sandbox, intents)
        if sender is not None:
            # Only now: what the log has replayed was told before.
            followers.append(sender.changed)
        stripe = StripeServer(sandbox, intents, append=log.append)
        server = SimulatorServer(
            sandbox, name=config.name, switch=switch, sender=sender, stripe=stripe
        )
        # No line per request: a log line would cost more than the charge.
        runner = DirectRunner(server.application(), access_log=None, shutdown_timeout=SHUTDOWN_S)
        await runner.setup()
        await listener.open(runner)
        spare_the_living()
        sys.stdout.write(msgspec.json.encode({"ready": True, "port": port}).decode() + "\n")
        sys.stdout.flush()
        tasks = [asyncio.ensure_future(stop.wait()), log.writer]
        if sender is not None:
            tasks.append(asyncio.ensure_future(sender.run()))
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task is not log.writer and not task.cancel():
                # What ended is a stop, or a defect of the sender: that one is told.
                task.result()
        await runner.cleanup()
    finally:
        await log.close()
    log.writer.result()


def _sandbox(
    config: SimulatorConfig, state: SandboxState, log: DurableLog, public_url: str
) -> Sandbox:
    return Sandbox(
        state,
        append=log.append,
        clock=SystemClock(),
        sleep=asyncio.sleep,
        public_url=public_url,
        scenario=config.scenario,
        varied=config.varied,
    )


def _sender(
    config: SimulatorConfig, sandbox: Sandbox, intents: StripeIntents
) -> WebhookSender | None:
    if config.webhook_target is None:
        return None

    def wanted() -> WebhookFaults | None:
        wrong = sandbox.faults.webhooks
        return WebhookFaults() if wrong is None and sandbox.scenario.webhooks else wrong

    shape = StripeWebhooks(intents).shaped if config.is_stripe_told else standard_shape
    return WebhookSender(config.webhook_target, sandbox.state, wanted, SystemClock(), shape=shape)


def main() -> int:
    config = config_of(sys.argv[1:])
    try:
        uvloop.run(serve(config))
    except (LogUnusable, OSError) as fault:
        sys.stderr.write(f"psp.simulator: {fault}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
