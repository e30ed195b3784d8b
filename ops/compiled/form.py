"""Which form of our code the stack's processes run: the checkout's, or a compiled copy of exactly that.

A copy lies in ``build/compiled/<digest>/``, and the digest is of every file it was made of. So what was edited
since is never run in its old state, a stack that runs keeps its copy while another is made, and where there is
none, or it was removed or not wanted, everything is interpreted: slower, and the same in all else.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

from ops.compiled.modules import COMPILED_MODULES
from runtime.mutation import MUTANT_VARIABLE

CHECKOUT = Path(__file__).parents[2]
PACKAGES = ("actors", "gateway", "ops", "payments", "psp", "runtime", "storage")
# The page that a problem's type leads to is made of it.
FILES_BESIDE = ("docs/problems.md",)
# In the root of a copy, written last: what has none is no copy, or not yet.
MARK = "COMPILED"
# "1": run our code interpreted, also where there is a compiled form.
INTERPRETED_VARIABLE = "TALLY_INTERPRETED"


class Form(NamedTuple):
    """What the processes run."""

    root: Path | None
    """The copy's, or None: interpreted, from where this process has its code."""
    reason: str
    """Why it is interpreted; empty when it is not."""

    @property
    def environment(self) -> dict[str, str]:
        """What makes a Python process run it."""
        return {} if self.root is None else {"PYTHONPATH": str(self.root)}

    def __str__(self) -> str:
        return "compiled" if self.root is not None else f"interpreted: {self.reason}"


def present_form(environment: Mapping[str, str], checkout: Path = CHECKOUT) -> Form:
    """Return the form for processes started now, by whoever has this environment."""
    if is_copy(checkout):
        return Form(checkout, "")
    if environment.get(INTERPRETED_VARIABLE) == "1":
        return Form(None, "asked for")
    if environment.get(MUTANT_VARIABLE):
        return Form(None, "a defect is put in, which machine code does not take")
    if not (checkout / "pyproject.toml").exists():
        return Form(None, "installed, and not a checkout")
    copies = copies_directory(checkout)
    copy = copies / digest_of(checkout)
    if is_copy(copy):
        return Form(copy, "")
    if any(copies.glob(f"*/{MARK}")):
        return Form(None, "the code has changed since it was compiled; see `make compiled`")
    return Form(None, "nothing was compiled; see `make compiled`")


def _compiler_version() -> str:
    try:
        return version("mypy")
    except PackageNotFoundError:
        return ""


def own_environment() -> dict[str, str]:
    """Return what makes children run the form that this very process runs."""
    return {"PYTHONPATH": str(CHECKOUT)} if is_copy(CHECKOUT) else {}


def is_copy(root: Path) -> bool:
    """Whether this is a whole copy."""
    return (root / MARK).is_file()


def copies_directory(checkout: Path) -> Path:
    """Where a checkout has its copies."""
    return checkout / "build" / "compiled"


def files_of(checkout: Path) -> Iterator[Path]:
    """Yield what a copy is made of, relative, in one order."""
    for package in PACKAGES:
        for path in sorted((checkout / package).rglob("*")):
            if path.is_file() and path.suffix not in (".pyc", ".so"):
                yield path.relative_to(checkout)
    yield from map(Path, FILES_BESIDE)


def digest_of(checkout: Path) -> str:
    """Return the name of the copy that this checkout's files, this Python and this compiler would have."""
    made_by = sys.version, _compiler_version(), COMPILED_MODULES
    digest = hashlib.sha256(repr(made_by).encode())
    for path in files_of(checkout):
        content = (checkout / path).read_bytes()
        digest.update(b"%b\0%d\0" % (bytes(path), len(content)))
        digest.update(content)
    return digest.hexdigest()[:16]
