"""The repository as text and syntax trees, for tests of the code itself."""

from __future__ import annotations

import ast
import gc
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES: tuple[str, ...] = tuple(
    tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["build"][
        "targets"
    ]["wheel"]["packages"]
)

Predicate = Callable[[ast.AST], bool]

_RULED = (
    *(ast.Call, ast.Attribute, ast.Import, ast.ImportFrom, ast.ExceptHandler),
    *(ast.FunctionDef, ast.AsyncFunctionDef),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One Python file; ``path`` is relative to the repository, with slashes."""

    path: str
    text: str
    nodes: tuple[ast.AST, ...]
    """Those of the kinds that rules look at: a tenth of all."""

    @property
    def package(self) -> str:
        return self.path.partition("/")[0]

    @property
    def is_production(self) -> bool:
        return self.package in PACKAGES


def dotted(node: ast.AST) -> str:
    """Return ``a.b.c`` of a name or attribute, else an empty text."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (owner := dotted(node.value)):
        return f"{owner}.{node.attr}"
    return ""


def calls(pattern: str) -> Predicate:
    """Whether a node calls a dotted name that matches."""
    compiled = re.compile(pattern)
    return lambda node: isinstance(node, ast.Call) and bool(compiled.fullmatch(dotted(node.func)))


def reads(pattern: str) -> Predicate:
    """Whether a node reads an attribute whose dotted name matches."""
    compiled = re.compile(pattern)
    return lambda node: isinstance(node, ast.Attribute) and bool(compiled.fullmatch(dotted(node)))


def imports(pattern: str) -> Predicate:
    """Whether a node imports a module that matches, or anything of it."""
    compiled = re.compile(rf"({pattern})(\..*)?")

    def is_offence(node: ast.AST) -> bool:
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            return False
        return any(compiled.fullmatch(name) for name in names)

    return is_offence


def is_unseeded_random(node: ast.AST) -> bool:
    """Whether a node draws from the random module's own generator, or makes one without a seed."""
    if not isinstance(node, ast.Call) or not dotted(node.func).startswith("random."):
        return False
    return dotted(node.func) != "random.Random" or not node.args


def swallows_everything(node: ast.AST) -> bool:
    """A handler of (Base)Exception that does not raise in the end, or a suppress() of it."""
    broad = {"Exception", "BaseException"}
    if isinstance(node, ast.ExceptHandler):
        caught = {dotted(part) for part in ast.walk(node.type)} if node.type else broad
        return bool(caught & broad) and not isinstance(node.body[-1], ast.Raise)
    return calls(r"(contextlib\.)?suppress")(node) and bool(
        broad & {dotted(part) for part in ast.walk(node)}
    )


def _ignored_names() -> frozenset[str]:
    lines = (ROOT / ".gitignore").read_text(encoding="utf-8").split()
    return frozenset({".git", *(line.strip("/") for line in lines)})


def _files() -> Iterator[Path]:
    """Every file of the repository that .gitignore does not leave out."""
    ignored = _ignored_names()
    folders = [ROOT]
    while folders:
        for path in sorted(folders.pop().iterdir()):
            if any(fnmatch(path.name, pattern) for pattern in ignored):
                continue
            if path.is_dir():
                folders.append(path)
            else:
                yield path


@cache
def texts() -> Mapping[str, str]:
    """Path -> text of every file that is text."""
    found: dict[str, str] = {}
    for path in _files():
        try:
            found[path.relative_to(ROOT).as_posix()] = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
    return found


def ruled_nodes(tree: ast.AST) -> tuple[ast.AST, ...]:
    """What of a tree rules look at, in the order of `ast.walk`, which takes twice as long."""
    found: list[ast.AST] = []
    row: list[ast.AST] = [tree]
    for node in row:  # it grows meanwhile
        if isinstance(node, _RULED):
            found.append(node)
        for value in vars(node).values():
            if isinstance(value, list):
                row += [each for each in value if isinstance(each, ast.AST)]
            elif isinstance(value, ast.AST):
                row.append(value)
    return tuple(found)


@cache
def sources() -> tuple[Source, ...]:
    """Every Python file."""
    # Millions of nodes and no cycle among them: looking for one would take most of the time, here and in whatever
    # runs afterwards.
    gc.disable()
    try:
        return tuple(
            Source(path=path, text=text, nodes=ruled_nodes(ast.parse(text, path)))
            for path, text in texts().items()
            if path.endswith(".py")
        )
    finally:
        gc.freeze()
        gc.enable()


def documentation() -> str:
    """All pages of the handbook as one text."""
    return "".join(text for path, text in texts().items() if path.startswith("docs/"))


def functions(source: Source) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function of a file, methods and inner ones included."""
    for node in source.nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node
