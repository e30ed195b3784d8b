"""The client's classes of problems, made from the page that documents them.

``python -m tests.unit.clients.problem_classes`` writes ``clients/python/tallystick/problems.py`` anew.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from tallystick.errors import family_of

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "problems.md"
PROBLEMS_FILE = ROOT / "clients" / "python" / "tallystick" / "problems.py"

_HEAD = '''\
"""One class for each code of a problem. Written by a program from docs/problems.md; not by hand.

An answer with a code that is not here is an error of its family all the same.
"""

from __future__ import annotations

from collections.abc import Mapping

from tallystick import errors
'''
_CLASS = '''

class {name}(errors.{family}):
    """{title}."""

    code = "{code}"
'''
_TAIL_HEAD = """

BY_CODE: Mapping[str, type[errors.ApiError]] = {
"""


_SECTION = re.compile(r"^### `([a-z0-9_]+)`$(.*?)(?=^#{2,3} |\Z)", re.MULTILINE | re.DOTALL)
_EXAMPLE = re.compile(r"^```json\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def catalogue() -> Iterator[tuple[str, int, str]]:
    """(code, HTTP status, title) of every problem, as the page of problems shows it."""
    for code, section in _SECTION.findall(PAGE.read_text(encoding="utf-8")):
        example = json.loads(_EXAMPLE.findall(section)[0])
        yield code, example["status"], example["title"]


def class_name(code: str) -> str:
    """``amount_too_small`` is ``AmountTooSmall``."""
    return "".join(word.capitalize() for word in code.split("_"))


def rendered() -> str:
    """The module's text, as it should be."""
    parts = [_HEAD]
    for code, status, title in catalogue():
        family = family_of(status).__name__
        parts.append(_CLASS.format(name=class_name(code), family=family, title=title, code=code))
    parts.append(_TAIL_HEAD)
    parts.extend(f'    "{code}": {class_name(code)},\n' for code, _, _ in catalogue())
    parts.append("}\n")
    return "".join(parts)


if __name__ == "__main__":
    PROBLEMS_FILE.write_text(rendered(), encoding="utf-8")
    sys.stdout.write(f"wrote {PROBLEMS_FILE}\n")
