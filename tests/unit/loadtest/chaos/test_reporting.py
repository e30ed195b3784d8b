"""What a run of faults says in the end: verdict, table, page; and how it is asked for."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import click
import pytest

from loadtest.chaos.cells import MIXES as CELL_MIXES
from loadtest.chaos.cells import RAY, FaultKind
from loadtest.chaos.document import document_of
from loadtest.chaos.judging import UNKNOWN, VALID, VIOLATED, verdict_of
from loadtest.chaos.options import SINGLES as OPTION_SINGLES
from loadtest.chaos.options import Options
from loadtest.chaos.recording import BEGIN, END, SKIPPED, FaultLine
from loadtest.chaos.report_html import render_html
from loadtest.chaos.report_table import print_report
from loadtest.chaos.routing import route_through_proxy
from loadtest.chaos.sampling import Unknowns
from ops.commands.chaos import MIXES, SINGLES, chaos
from ops.local.layout import StackHome
from ops.output import Output
from ops.stack.config_file import read_config, write_config

NS = 1_000_000_000
GREEN: dict[str, Any] = {"ok": True}
COMPLETE: dict[str, Any] = {"is_complete": True, "unread": []}


class Seen:
    """What a sampler has seen: nothing."""

    samples: list[Any] = []  # noqa: RUF012  # never changed
    unknowns = Unknowns()


def document(tmp_path: Path, **judged: Any) -> dict[str, Any]:
    """The document of a run with one fault that was made and one that was skipped."""
    options = Options(mix="double_start", seed=3, minutes=0.5)
    made, skipped, *_ = (cell.name for cell in options.cells())
    (tmp_path / "history.jsonl").write_text(
        '{"op":1,"type":"invoke","at_ns":1000000000}\n'
        '{"op":1,"type":"ok","at_ns":1010000000,"status":202}\n'
    )
    lines = [
        FaultLine(at_ns=2 * NS, cell=made, phase=BEGIN, number=1, detail={"name": "</script><b>x"}),
        FaultLine(at_ns=3 * NS, cell=made, phase=END, number=1),
        FaultLine(at_ns=4 * NS, cell=skipped, phase=SKIPPED, number=2, reason="takes <b>root"),
    ]
    times = {
        "started_ns": 0,
        "healed_ns": 4 * NS,
        "load_ended_ns": 5 * NS,
        "quiesced_ns": 6 * NS,
        "ended_ns": 7 * NS,
    }
    verdict = {"verdict": VALID, "reasons": [], "verify": GREEN, "checker": None, **judged}
    return {
        **document_of(options, tmp_path, lines, Seen(), verdict, times, 16),  # type: ignore[arg-type]
        "machine": {"cpu_model": "A model", "cores_usable": 2, "memory_bytes": 24e9},
        "revision": {"commit": "abcdef0123456789", "is_changed": False},
        "measured_at": "2024-05-06T07:08:09+00:00",
        "seconds": 30.0,
        "directory": None,
    }


def test_books_that_are_wrong_are_a_violation() -> None:
    """A violation stands, whatever else could not be looked at."""
    books = {"ok": False, "checks": [{"name": "chain", "state": "failed", "violations": 2}]}
    judged = verdict_of(books, None, "3 orders are open")
    assert judged["verdict"] == VIOLATED
    assert judged["reasons"][0] == "chain: 2 violations"


@pytest.mark.parametrize(
    ("books", "final", "left", "said"),
    [
        ({"ok": False, "error": "no end after 300 s"}, COMPLETE, None, "no end after"),
        (GREEN, None, None, "no final reads"),
        (GREEN, {"is_complete": False, "unread": ["k"]}, None, "1 payments"),
        (GREEN, COMPLETE, "3 orders are open", "3 orders"),
    ],
)
def test_what_could_not_be_looked_at_is_never_valid(
    books: dict[str, Any], final: dict[str, Any] | None, left: str | None, said: str
) -> None:
    """An incomplete record makes the verdict unknown, and says what is missing."""
    judged = verdict_of(books, final, left)
    assert judged["verdict"] == UNKNOWN
    assert said in judged["reasons"][0]


def test_a_planned_fault_that_was_not_made_is_never_taken_for_valid() -> None:
    """A run that shows less than it was to show says so."""
    judged = verdict_of(GREEN, COMPLETE, None, unmade=["freeze/host/before_psp_call"])
    assert judged["verdict"] == UNKNOWN
    assert "freeze/host/before_psp_call" in judged["reasons"][0]


@pytest.mark.parametrize("word", [VIOLATED, UNKNOWN])
def test_the_word_of_the_checker_counts(word: str) -> None:
    """Books that agree with themselves don't help a run in which a storefront was lied to."""
    report = {"verdict": word, "reasons": ["I1: an order is lost"]}
    judged = verdict_of(GREEN, COMPLETE, None, report=report)
    assert (judged["verdict"], judged["reasons"]) == (word, ["I1: an order is lost"])


def test_a_counter_example_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The first of each invariant stands in the table with its timeline, and every state on the page."""
    first = {
        "what": "order 7 is lost",
        "timeline": [{"at_ms": 1_500.0, "source": "client", "text": "202"}],
    }
    invariant = {
        "invariant": "I1",
        "title": "Acknowledged orders exist",
        "state": "violated",
        "checked": 10,
        "violated": 1,
        "why": "",
        "first": first,
    }
    shown = document(tmp_path, verdict=VIOLATED, checker={"invariants": [invariant]})
    print_report(shown, Output({}))
    table = capsys.readouterr().out
    assert "order 7 is lost" in table
    assert "1.500 s  client: 202" in table
    assert "Acknowledged orders exist" in render_html(shown)


def test_a_run_in_which_all_was_right_is_valid() -> None:
    """With nothing wrong and nothing missing there is no reason to name."""
    judged = verdict_of(GREEN, COMPLETE, None)
    assert (judged["verdict"], judged["reasons"]) == (VALID, [])


def test_the_page_needs_nothing_else_and_shows_data_as_data(tmp_path: Path) -> None:
    """It loads nothing, and whatever a process calls itself is shown, not run."""
    shown = document(tmp_path)
    page = render_html(shown)
    assert not re.search(r"""(src|href)\s*=|@import|url\(|fetch\(|XMLHttpRequest""", page)
    assert "<b>" not in page
    (data,) = re.findall(r'<script id="document" type="application/json">(.*?)</script>', page)
    assert json.loads(data) == json.loads(json.dumps(shown))


def test_table_and_page_name_what_was_not_hit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A cell that was skipped stands there with its reason, and is not counted as hit."""
    shown = document(tmp_path)
    print_report(shown, Output({}))
    table = capsys.readouterr().out
    assert shown["chaos"] == {
        "mix": "double_start",
        "single": None,
        "fault_count": 1,
        "cell_count": 3,
        "hit_count": 1,
    }
    assert "Cells hit: 1 of 3" in table
    assert "takes <b>root" in table
    assert "takes &lt;b&gt;root" in render_html(shown)


def test_the_reasons_of_a_verdict_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is wrong stands in the table, and first on the page."""
    shown = document(tmp_path, verdict=VIOLATED, reasons=["chain: 2 violations"])
    print_report(shown, Output({}))
    assert "chain: 2 violations" in capsys.readouterr().out
    page = render_html(shown)
    assert page.index("chain: 2 violations") < page.index("Payments a second")


def test_the_command_offers_what_the_plan_knows() -> None:
    """`tally chaos` lists every mix and every single fault, and no other."""
    assert MIXES == CELL_MIXES
    assert set(SINGLES) == set(OPTION_SINGLES)
    options = {name for parameter in chaos.params for name in parameter.opts}
    assert {"--mix", "--seed", "--minutes", "--json", "--html", "--cells"} <= options
    assert isinstance(chaos, click.Command)


def test_only_faults_of_ray_take_a_stack_with_ray() -> None:
    """The other mixes start in seconds."""
    assert Options(mix=RAY).is_ray_used
    assert Options(single="gcs").is_ray_used
    assert not Options(mix="all").is_ray_used
    assert not Options(single="redis").is_ray_used


def test_disks_are_small_only_where_they_run_full() -> None:
    """A short run that draws no disk fault needs no root."""
    assert Options(mix="disk").has(FaultKind.DISK)
    assert Options(mix="stores").has(FaultKind.DISK)
    assert not Options(mix="kill").has(FaultKind.DISK)


def test_cells_are_picked_by_name() -> None:
    """What one run has shown can be done again without the rest."""
    options = Options(mix="all", patterns=("kill/host/flush_*", "poison/stream/field_twice"))
    assert {cell.name for cell in options.cells()} == {
        "kill/host/flush_begun",
        "kill/host/flush_before_commit",
        "kill/host/flush_committed",
        "poison/stream/field_twice",
    }
    assert {item.cell.name for item in options.planned()} == {cell.name for cell in options.cells()}
    assert Options(mix="kill", patterns=("poison/*",)).cells() == []


def test_every_way_leads_through_the_proxy(tmp_path: Path) -> None:
    """Gateways and hosts find no server's own port in their configuration."""
    home = StackHome.prepare(tmp_path / "home")
    routing = route_through_proxy(
        home, gateway_count=2, host_count=3, settings={"gateway": {"drain_s": 6}}
    )
    own = {route.server: route.port for route in routing.routes}
    proxied = {route.server: route.listen_port for route in routing.routes}
    redis_ports = (own["redis_1"], own["redis_2"])
    ports = json.loads((home.run / "ports.json").read_text())["ports"]
    write_config(home, ports, redis_ports, {})
    config = read_config(home.root, {})
    assert config.redis.address == f"127.0.0.1:{proxied['redis_1']}"
    assert list(config.redis.replica_addresses) == [f"127.0.0.1:{proxied['redis_2']}"]
    (shard,) = config.postgres.shards
    assert list(shard.addresses) == [f"127.0.0.1:{proxied[f'postgres_{n}']}" for n in (1, 2)]
    assert config.psps[0].url == f"http://127.0.0.1:{proxied['psp_a']}"
    assert (config.gateway.process_count, config.actors.host_count) == (2, 3)
    assert config.gateway.port == own["gateway"]
    assert routing.gateway_port == proxied["gateway"]
    assert len({*own.values(), *proxied.values()}) == 2 * len(routing.routes)
