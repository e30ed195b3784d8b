"""The code itself under test: names that are banned, layers, lengths, and what must be written down.

Each rule names its replacement. Each exception names its reason, and one that is no longer needed
fails: the lists can only become shorter by themselves.
"""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from runtime.crash_points import POINTS
from runtime.metrics import CATALOGUE
from tests.source_tree import (
    PACKAGES,
    ROOT,
    Predicate,
    Source,
    calls,
    documentation,
    functions,
    imports,
    is_unseeded_random,
    reads,
    ruled_nodes,
    sources,
    swallows_everything,
    texts,
)

FUNCTION_LINES_MAX = 60
MODULE_LINES_MAX = 300

# A suite is a list of promises, read one by one; beyond this it is about two things.
SUITE_LINES_MAX = 600

LONG_MODULES: Mapping[str, tuple[int, str]] = {
    "clients/python/tallystick/problems.py": (1_000, "written by a program: a class for each code"),
}
"""Path -> (lines that it must not exceed, why it is one module)."""

LONG_FUNCTIONS: Mapping[str, str] = {}
"""``path:function`` -> why it is one function."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ban:
    """A name that is not used, and what stands in its place."""

    name: str
    instead: str
    sample: str
    """Code that offends: it proves that the rule sees what it forbids."""
    is_offence: Predicate
    applies: Callable[[Source], bool] = field(default=lambda source: source.is_production)
    allowed: Mapping[str, str] = field(default_factory=dict)
    """Path -> why it may."""


def _outside(*prefixes: str) -> Callable[[Source], bool]:
    return lambda source: source.is_production and not source.path.startswith(prefixes)


def _within(*prefixes: str) -> Callable[[Source], bool]:
    return lambda source: source.path.startswith(prefixes)


_CLOCK = {"runtime/clock.py": "the clock itself"}

BANS = (
    Ban(
        name="time.time()",
        instead="runtime.clock.Clock.now",
        sample="at = time.time()",
        is_offence=calls(r"time\.time(_ns)?"),
    ),
    Ban(
        name="time.monotonic()",
        instead="runtime.clock.Clock.monotonic_s; command line and load generator measure waits",
        sample="at_s = time.monotonic()",
        is_offence=calls(r"time\.(monotonic|perf_counter)(_ns)?"),
        applies=_outside("ops/", "loadtest/"),
        allowed=_CLOCK,
    ),
    Ban(
        name="datetime.now() and its kin",
        instead="runtime.clock.Clock.now, or the ledger's time",
        sample="at = datetime.datetime.now(UTC)",
        is_offence=calls(r"(datetime\.)?(datetime|date)\.(now|utcnow|today)"),
        allowed={
            **_CLOCK,
            "ops/stack/telling.py": "when the daemon started, for people alone",
        },
    ),
    Ban(
        name="SystemClock()",
        instead="the clock that is handed in; whoever builds a process makes the one",
        sample="self._clock = SystemClock()",
        is_offence=calls(r"(runtime\.clock\.)?SystemClock"),
        applies=_outside("ops/", "loadtest/"),
        allowed={
            "actors/building.py": "builds the host process",
            "actors/sacrificed.py": "builds the child process",
            "actors/dispatcher_building.py": "builds the dispatcher process",
            "gateway/building.py": "builds the gateway process",
            "psp/simulator/__main__.py": "builds the simulator process",
            "storage/lane.py": "measures the parts of a flush at the server, and decides nothing",
        },
    ),
    Ban(
        name="the random module without a seed",
        instead="random.Random(seed), or secrets for secrets",
        sample="draw = random.randint(0, 9)",
        is_offence=is_unseeded_random,
        applies=lambda _source: True,
        allowed={"storage/replies.py": "jitter of a reconnection; tests hand in a seeded one"},
    ),
    Ban(
        name="uuid4()",
        instead="an id that is derived or handed in; only who acts as a storefront draws keys",
        sample="key = uuid.uuid4()",
        is_offence=calls(r"(uuid\.)?uuid4"),
        applies=_outside("ops/", "loadtest/"),
    ),
    Ban(
        name="except Exception that goes on",
        instead="the faults that can happen, by name",
        sample="try: run()\nexcept (OSError, Exception): pass",
        is_offence=swallows_everything,
        allowed={"storage/sessions.py": "the end of a task whose socket is gone already"},
    ),
    Ban(
        name="float() in the domain",
        instead="integers of minor units (payments.money)",
        sample="amount = float(text)",
        is_offence=calls("float"),
        applies=_within("payments/"),
    ),
    Ban(
        name="print()",
        instead="a log event; only the command line prints",
        sample="print(1)",
        is_offence=calls("print"),
        applies=_outside("ops/"),
    ),
    Ban(
        name="os.environ",
        instead="runtime.config.Config, handed in by the constructor",
        sample="port = os.environ['PORT']",
        is_offence=reads(r"os\.(environ|getenv)"),
        applies=lambda source: source.is_production and not source.path.endswith("/__main__.py"),
        allowed={
            "actors/remote.py": "Ray runs these constructors: the entry points of its workers",
            "ops/cli.py": "the entry point of `tally`",
        },
    ),
    Ban(
        name="asyncpg and redis outside storage",
        instead="the ports in storage; benchmarks look at servers from outside",
        sample="from redis.asyncio import Redis",
        is_offence=imports("asyncpg|redis|hiredis"),
        applies=_outside("storage/", "loadtest/bench/"),
    ),
    Ban(
        name="ray outside actors/remote.py",
        instead="a plain class, wrapped in actors/remote.py",
        sample="import ray.util",
        is_offence=imports("ray"),
        allowed={"actors/remote.py": "the one place that wraps"},
    ),
    Ban(
        name="aiohttp.web outside the servers",
        instead="gateway, the PSP simulator, or a baseline of the benchmark",
        sample="from aiohttp import web",
        is_offence=imports(r"aiohttp\.web"),
        applies=_outside("gateway/", "psp/simulator/", "loadtest/bench/baselines/"),
        allowed={
            "runtime/direct_serving.py": "the short way that gateway and simulator share",
            "runtime/lined_responses.py": "the answers that gateway and simulator share",
        },
    ),
)


@pytest.mark.parametrize("ban", BANS, ids=lambda ban: ban.name)
def test_banned_names_have_their_replacements(ban: Ban) -> None:
    """What has a better way in this project is not used, but where a reason is written down."""
    offenders: dict[str, list[int]] = {}
    for source in sources():
        if ban.applies(source):
            lines = [node.lineno for node in source.nodes if ban.is_offence(node)]  # type: ignore[attr-defined]
            if lines:
                offenders[source.path] = lines
    unexpected = {path: lines for path, lines in offenders.items() if path not in ban.allowed}
    assert not unexpected, f"{ban.name}: use {ban.instead}"
    assert ban.allowed.keys() <= offenders.keys(), "an exception is no longer needed"


@pytest.mark.parametrize("ban", BANS, ids=lambda ban: ban.name)
def test_a_ban_sees_what_it_forbids(ban: Ban) -> None:
    """A rule that never finds anything is no rule."""
    assert any(ban.is_offence(node) for node in ruled_nodes(ast.parse(ban.sample)))


def test_modules_stay_short() -> None:
    """A module is read in one sitting; a longer one is a named decision and never grows unnoticed."""
    lengths = {source.path: source.text.count("\n") for source in sources()}
    too_long = {
        path
        for path, lines in lengths.items()
        if lines > (SUITE_LINES_MAX if path.startswith("tests/") else MODULE_LINES_MAX)
    }
    assert too_long - LONG_MODULES.keys() == set()
    assert LONG_MODULES.keys() - too_long == set(), "an exception is no longer needed"
    grown = {path for path, (lines_max, _) in LONG_MODULES.items() if lengths[path] > lines_max}
    assert not grown


def test_functions_stay_short() -> None:
    """A function fits on a screen."""
    too_long = {
        f"{source.path}:{function.name}"
        for source in sources()
        for function in functions(source)
        if (function.end_lineno or function.lineno) - function.lineno >= FUNCTION_LINES_MAX
    }
    assert too_long == LONG_FUNCTIONS.keys()


def test_every_test_states_its_promise() -> None:
    """Each test's docstring is the promise that it keeps."""
    silent = [
        f"{source.path}:{function.name}"
        for source in sources()
        if source.path.startswith("tests/")
        for function in functions(source)
        if function.name.startswith("test_") and not ast.get_docstring(function)
    ]
    assert not silent


def test_every_package_is_our_own() -> None:
    """A package's import name leads into this checkout, and every package is built into the wheel."""
    for package in PACKAGES:
        spec = importlib.util.find_spec(package)
        assert spec is not None
        assert spec.origin is not None
        assert Path(spec.origin).is_relative_to(ROOT), f"{package} is found in {spec.origin}"
    with_init = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert with_init - {"tests"} == set(PACKAGES)


def test_every_metric_is_documented() -> None:
    """Whoever sees a metric can read in the handbook what it says."""
    handbook = documentation()
    assert [spec.name for spec in CATALOGUE if spec.name not in handbook] == []


def test_every_crash_point_is_documented() -> None:
    """Whoever may kill a process at a point can read where that is."""
    handbook = documentation()
    assert [point for point in sorted(POINTS) if point not in handbook] == []


# Written in two parts, so that this file does not name what it forbids.
_UNFINISHED = re.compile(r"\b(FIX" + r"ME|TO" + r"DO)\b")
_MACHINE = re.compile(
    r"(?<![\w.])/(home|Users|root|work)/\w|--(extra-)?index-" + r"url\b|\bissue #?\d"
)
_PARENT_PATH = re.compile(r"(?<![\w/.])(?:\.\./)+[\w./-]*")


def test_nothing_is_left_for_later_in_the_code() -> None:
    """What is not done is an issue or a line in the documentation, not a note in the code."""
    assert [path for path, text in texts().items() if _UNFINISHED.search(text)] == []


def test_no_file_names_a_machine_or_a_registry() -> None:
    """The repository reads the same everywhere: no path of one machine, no package index, no tracker."""
    found = {path: match[0] for path, text in texts().items() if (match := _MACHINE.search(text))}
    assert found == {}
    assert "://" not in texts()["requirements.lock"]


def test_paths_upwards_stay_in_the_repository() -> None:
    """A relative path that leads upwards leads to a file of this repository."""
    lost = [
        f"{path}: {match[0]}"
        for path, text in texts().items()
        if path.endswith((".md", ".toml", ".yaml", ".yml"))
        for match in _PARENT_PATH.finditer(text)
        if not _is_own(ROOT / path, match[0])
    ]
    assert lost == []


def _is_own(base: Path, relative: str) -> bool:
    target = (base.parent / relative.rstrip(".")).resolve()
    return target.is_relative_to(ROOT) and target.exists()
