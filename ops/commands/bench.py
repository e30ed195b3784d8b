"""``tally bench``: measures, on a stack of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence

import click

from ops.context import is_json_wanted, json_option, output_option
from ops.number_options import IntegerRange, NumberRange
from runtime.config import GATEWAYS_MAX


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME…]")
@click.option(
    "--repeat",
    type=IntegerRange(1, 100),
    default=1,
    show_default=True,
    help="Make every run so often, in turns; medians count.",
)
@click.option(
    "--seed",
    type=IntegerRange(min=0),
    default=1,
    show_default=True,
    help="Draws keys and sellers.",
)
@click.option(
    "--seconds",
    type=NumberRange(0.2, 600),
    help="How long each run is loaded.  [default: 8, short 1]",
)
@click.option(
    "--gateways", type=IntegerRange(1, GATEWAYS_MAX), help="Gateway processes.  [default: 1]"
)
@click.option("--hosts", type=IntegerRange(1, 16), help="Partition hosts.  [default: 1]")
@click.option(
    "--connections",
    type=IntegerRange(1, 4096),
    help="Connections of the generator.  [default: 256]",
)
@click.option(
    "--held-every",
    type=IntegerRange(1, 1000),
    help="Every n-th request holds, end to end.  [default: 16]",
)
@click.option("--hosts-without-ray", is_flag=True, help="Run partition hosts as plain processes.")
@click.option(
    "--interpreted",
    is_flag=True,
    help="Leave the compiled form of our code (`make compiled`) aside.",
)
@click.option("--short", is_flag=True, help="A second each: shows that it works, compares nothing.")
@click.option(
    "--orders",
    type=IntegerRange(10, 100_000_000),
    help="For `growth`: how many.  [default: 100000]",
)
@click.option("--html", type=click.Path(dir_okay=False), help="Also write a page with charts.")
@output_option
@json_option
def bench(names: tuple[str, ...], output_format: str, is_json: bool, **options: object) -> None:
    """Measure rates, latencies and costs side by side. Without names: every run but growth.

    Runs: noop, copy, handwritten_uniform, handwritten_hot, accept, engine, e2e_uniform, e2e_hot,
    e2e_zipf_1, e2e_zipf_2, e2e_psp; handwritten and e2e_zipf stand for two each. The probe of
    memory and tables, growth, is run alone.

    The stack is a new one in a temporary directory; the one of this home is left alone.
    """
    run_apart("loadtest.bench", names, {**options, "json": is_json_wanted(output_format, is_json)})


def run_apart(module: str, names: Sequence[str], options: Mapping[str, object]) -> None:
    """Run a module of the load tests with these options, and end as it ends. Raises click.Abort.

    Apart, because it acts as storefront, server and owner at once, which no command may.
    """
    arguments = [*names]
    for name, value in options.items():
        option = f"--{name.replace('_', '-')}"
        if value is True:
            arguments.append(option)
        elif isinstance(value, tuple):
            arguments += [word for item in value for word in (option, str(item))]
        elif value is not None and value is not False:
            arguments += [option, str(value)]
    command = [sys.executable, "-P", "-m", module, *arguments]
    relay = _StopRelay()
    relay.listen()
    with subprocess.Popen(command, start_new_session=True) as child:
        relay.pass_on_to(child)
        returncode = child.wait()
    if returncode < 0 and relay.is_told:
        # Before it could answer a signal, or start anything.
        raise click.Abort
    if returncode != 0:
        # As shells tell the end by a signal.
        sys.exit(returncode if returncode > 0 else 128 - returncode)


class _StopRelay:
    """Passes on that this command is told to stop; the child ends its stack first.

    It listens before there is a child: one told to stop in between would be left behind at work.
    """

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None
        self.is_told = False

    def listen(self) -> None:
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(signum, self._stop)

    def pass_on_to(self, child: subprocess.Popen[bytes]) -> None:
        """Stop this child from now on, and at once where that was wanted already."""
        self._child = child
        if self.is_told:
            child.terminate()

    def _stop(self, _signum: int, _frame: object) -> None:
        self.is_told = True
        if self._child is not None:
            self._child.terminate()
