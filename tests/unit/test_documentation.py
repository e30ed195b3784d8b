"""The documentation against the repository: what it names exists, and what it must say it says."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

import click
import pytest

from ops.cli import cli
from tests.source_tree import PACKAGES, ROOT, texts

_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)
_FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_QUOTED = re.compile(r"`([^`\n]+)`")
_CODE_PATH = re.compile(r"[\w.-]+(?:/[\w.-]+)*\.(?:py|sql|lua|toml|yaml)")
_CONSTANT = re.compile(r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+")
_TALLY = re.compile(r"(?:^|[(/ ])tally ((?:[a-z][a-z-]*\b ?)*)")

# Files that a stack writes, and names of others' settings: not in the repository, and rightly so.
MADE_ELSEWHERE = frozenset({"overrides.toml", "tallystick.toml"})
OF_OTHERS = ("TALLY_", "RAY_", "PG", "SO_", "NO_", "LOCUST_")


def pages() -> Mapping[str, str]:
    """Path -> text of every page of the documentation."""
    return {path: text for path, text in texts().items() if path.endswith(".md")}


def quoted() -> Iterator[tuple[str, str]]:
    """(page, text) of everything that stands in backquotes, outside fenced blocks."""
    for path, text in pages().items():
        for match in _QUOTED.finditer(_FENCED.sub("", text)):
            yield path, match[1]


@pytest.mark.parametrize("path", sorted(pages()))
def test_links_lead_somewhere(path: str) -> None:
    """A link within the documentation leads to a file, and to a heading, that are there."""
    lost: list[str] = []
    for match in _LINK.finditer(_FENCED.sub("", pages()[path])):
        target, _, anchor = match[1].partition("#")
        if "://" in target or target.startswith("mailto:"):
            continue
        file = (ROOT / path).parent / target if target else ROOT / path
        is_there = file.exists()
        if is_there and anchor and file.suffix == ".md":
            is_there = anchor in _anchors(file.read_text(encoding="utf-8"))
        if not is_there:
            lost.append(match[1])
    assert lost == []


def test_files_that_the_documentation_names_exist() -> None:
    """Whoever audits the code by the documentation finds each module where it is said to be."""
    known = {PurePosixPath(path) for path in texts()}
    by_name = {path.name for path in known if path.parts[0] in (*PACKAGES, "tests", "docs")}
    lost = [
        (page, name)
        for page, text in quoted()
        for name in _CODE_PATH.findall(text)
        if name not in MADE_ELSEWHERE
        and PurePosixPath(name) not in known
        and not ("/" not in name and name in by_name)
    ]
    assert lost == []


def test_constants_that_the_documentation_names_exist() -> None:
    """A limit is called in the documentation as it is called in the code."""
    code = "\n".join(text for path, text in texts().items() if path.endswith(".py"))
    lost = [
        (page, text)
        for page, text in quoted()
        if _CONSTANT.fullmatch(text) and not text.startswith(OF_OTHERS) and text not in code
    ]
    assert lost == []


def test_commands_that_the_documentation_names_exist() -> None:
    """Every `tally` command of the documentation is one that the command line has."""
    lost = [
        (path, match[0].strip())
        for path, text in pages().items()
        for code in [*_FENCED.findall(text), *(match[1] for match in _QUOTED.finditer(text))]
        for match in _TALLY.finditer(code)
        if not _is_command(cli, match[1].split())
    ]
    assert lost == []


def test_every_invariant_has_its_line() -> None:
    """The page says of each of the 28 invariants what holds it, or that nothing does yet."""
    lines = re.findall(r"^\| I(\d+) \|", pages()["docs/reliability.md"], re.MULTILINE)
    assert [int(number) for number in lines] == list(range(1, 29))


def test_nothing_is_promised_that_nobody_can_keep() -> None:
    """No page claims what no payment system can, but to say that we don't."""
    claims = re.compile(r"exactly[- ]once delivery|PCI[- ]compliant", re.IGNORECASE)
    found = [path for path, text in pages().items() if claims.search(text)]
    assert found == ["CONTRIBUTING.md"]


def test_the_newcomer_page_stays_short() -> None:
    """The README is read in a few minutes; all else is in the handbook."""
    assert len(pages()["README.md"].splitlines()) < 150
    assert not Path(ROOT / "docs" / "README.md").exists()


def _is_command(command: click.Command, words: list[str]) -> bool:
    """Whether the words begin with a command; what follows it are arguments."""
    if not isinstance(command, click.Group) or not words:
        return True
    follower = command.get_command(click.Context(command), words[0])
    return follower is not None and _is_command(follower, words[1:])


def _anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")
        for heading in _HEADING.findall(_FENCED.sub("", text))
    }
