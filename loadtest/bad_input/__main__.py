"""``python -m loadtest.bad_input --url … --key … --seed S --requests N``: see docs/load-testing.md."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from urllib.parse import urlsplit

import aiohttp
import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn
from rich.table import Table

from loadtest.bad_input.effects import Inspector, effects, pss_bytes
from loadtest.bad_input.sending import Outcome, Target, exchange_once, send_all
from ops.number_options import IntegerRange

# A second pass finds every cache full and every buffer grown; what an allocator still rounds up, and
# what Python's collector has not looked at yet, is below this. A leak of one request's data would be
# more: 10,000 requests of 1 KiB.
PSS_GROWTH_BYTES_MAX = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command was asked for."""

    url: str
    api_key: str
    metrics_urls: Sequence[str]
    gateway_pids: Sequence[int]
    seed: int
    requests: int
    concurrency: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """All there is to say of a run."""

    seed: int
    outcome: Outcome
    effects: list[str]
    """What the requests left behind, in words."""
    pss_growth_bytes: dict[int, int]
    """By process: how much a second pass of the same size added."""

    @property
    def is_as_expected(self) -> bool:
        is_flat = all(grown <= PSS_GROWTH_BYTES_MAX for grown in self.pss_growth_bytes.values())
        return self.outcome.unexpected_count == 0 and not self.effects and is_flat

    def document(self) -> dict[str, object]:
        """Return it as printed by ``--json``."""
        return {
            "seed": self.seed,
            "requests": self.outcome.sent_count,
            "unexpected": self.outcome.unexpected_count,
            "classes": {name: asdict(count) for name, count in self.outcome.counts.items()},
            "first_unexpected": [asdict(each) for each in self.outcome.unexpected],
            "effects": self.effects,
            "pss_growth_bytes": self.pss_growth_bytes,
            "as_expected": self.is_as_expected,
        }


async def run(options: Options) -> Result:
    """Send the requests, then look at what they left behind."""
    for pid in options.gateway_pids:
        try:
            pss_bytes(pid)
        except OSError as fault:
            raise click.UsageError(f"--gateway-pid {pid}: {fault.strerror or fault}") from None
    async with aiohttp.ClientSession() as session:
        inspector = Inspector(session, options.url, options.api_key, options.metrics_urls)
        target = await _target(inspector, options)
        before = await inspector.traces()
        outcome = await _pass(target, options)
        grown: dict[int, int] = {}
        if options.gateway_pids:
            first = {pid: pss_bytes(pid) for pid in options.gateway_pids}
            await _pass(target, options)
            grown = {pid: pss_bytes(pid) - pss for pid, pss in first.items()}
        taken = await inspector.taken_keys(outcome.keys)
        after = await inspector.traces()
    return Result(
        seed=options.seed,
        outcome=outcome,
        effects=effects(before, after, taken),
        pss_growth_bytes=grown,
    )


async def _target(inspector: Inspector, options: Options) -> Target:
    parts = urlsplit(options.url)
    if parts.scheme != "http" or parts.hostname is None:
        raise click.UsageError("--url must be http://host:port: raw sockets speak no TLS")
    return Target(
        host=parts.hostname,
        port=parts.port or 80,
        api_key=options.api_key,
        documented=await inspector.documented(),
    )


async def _pass(target: Target, options: Options) -> Outcome:
    """Send all of them once, with a bar on stderr."""
    columns = ("bad requests", BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bar = progress.add_task("", total=options.requests)
        return await send_all(
            target,
            seed=options.seed,
            indexes=range(options.requests),
            concurrency=options.concurrency,
            on_answer=lambda: progress.advance(bar),
        )


async def replay(options: Options, index: int) -> str:
    """Send one request alone; return what was sent, what came back, and what is wrong with it."""
    async with aiohttp.ClientSession() as session:
        target = await _target(
            Inspector(session, options.url, options.api_key, options.metrics_urls), options
        )
    request, answers, wrong = await exchange_once(target, options.seed, index)
    shown = request.data.replace(options.api_key.encode(), b"<key>")
    lines = [f"sent      {shown!r}"]
    lines += [f"expected  {' or '.join(sorted(map(str, each)))}" for each in request.answers]
    lines += [f"answered  {each.status} {each.body.decode('utf-8', 'replace')}" for each in answers]
    return "\n".join([*lines, f"wrong     {wrong or 'nothing'}", ""])


def _table(outcome: Outcome) -> Table:
    table = Table("class", "sent", "as expected", "unexpected", box=None)
    for name, count in outcome.counts.items():
        right = str(count.sent - count.unexpected)
        table.add_row(
            name, str(count.sent), right, str(count.unexpected) if count.unexpected else ""
        )
    table.add_row(
        f"{len(outcome.counts)} classes",
        str(outcome.sent_count),
        str(outcome.sent_count - outcome.unexpected_count),
        str(outcome.unexpected_count),
    )
    return table


def _print(result: Result) -> None:
    console = Console(markup=False, highlight=False)
    console.print(_table(result.outcome))
    for each in result.outcome.unexpected:
        again = f"--seed {each.seed} --index {each.index}"
        console.print(f"{again}: {each.class_name}: {each.complaint}", soft_wrap=True)
    for effect in result.effects:
        console.print(f"left behind: {effect}")
    for pid, grown in result.pss_growth_bytes.items():
        console.print(f"process {pid}: a second pass added {grown / 1024:.0f} KiB of PSS")
    console.print("All as documented." if result.is_as_expected else "Not as documented.")


@click.command()
@click.option("--url", required=True, help="The gateway, such as http://127.0.0.1:7400.")
@click.option("--key", "api_key", required=True, help="A merchant's test API key.")
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--requests", type=IntegerRange(1, 10**7), default=10_000, show_default=True)
@click.option("--concurrency", type=IntegerRange(1, 1_024), default=64, show_default=True)
@click.option(
    "--metrics-url",
    "metrics_urls",
    multiple=True,
    help="Of each gateway, where several share a port. [default: <url>/metrics]",
)
@click.option(
    "--gateway-pid",
    "gateway_pids",
    type=int,
    multiple=True,
    help="A gateway process on this machine: sends all twice, and checks that its memory stays.",
)
@click.option(
    "--index", type=IntegerRange(0, 10**7), help="Send this one alone, and show it with its answer."
)
@click.option("--json", "is_json", is_flag=True, help="Print one JSON document.")
def main(index: int | None, is_json: bool, metrics_urls: tuple[str, ...], **given: object) -> None:
    """Send bad requests; exit 1 unless each is refused as documented and nothing comes of any."""
    url = str(given["url"]).rstrip("/")
    given = {**given, "url": url, "metrics_urls": metrics_urls or (f"{url}/metrics",)}
    options = msgspec.convert(given, Options)
    try:
        if index is not None:
            sys.stdout.write(asyncio.run(replay(options, index)))
            return
        result = asyncio.run(run(options))
    except (aiohttp.ClientError, OSError) as fault:
        raise click.ClickException(f"the gateway can't be asked: {fault}") from None
    if is_json:
        sys.stdout.write(msgspec.json.encode(result.document()).decode() + "\n")
    else:
        _print(result)
    sys.exit(0 if result.is_as_expected else 1)


if __name__ == "__main__":
    main()
