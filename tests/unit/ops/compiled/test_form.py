"""Which form of the code is run: exactly what was compiled, or what lies there."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from ops.compiled.form import (
    FILES_BESIDE,
    INTERPRETED_VARIABLE,
    MARK,
    PACKAGES,
    copies_directory,
    digest_of,
    files_of,
    present_form,
)
from ops.compiled.modules import COMPILED_MODULES
from runtime.mutation import MUTANT_VARIABLE

ROOT = Path(__file__).parents[4]
_SUSPENDING = (ast.Await, ast.AsyncWith, ast.AsyncFor, ast.Yield, ast.YieldFrom)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with one module a package, and a compiled copy of it."""
    for package in PACKAGES:
        (tmp_path / package).mkdir()
        (tmp_path / package / "one.py").write_text("NUMBER = 1\n")
    for name in FILES_BESIDE:
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("# Problems\n")
    (tmp_path / "pyproject.toml").write_text("")
    copy = copies_directory(tmp_path) / digest_of(tmp_path)
    copy.mkdir(parents=True)
    (copy / MARK).write_text("")
    return tmp_path


def test_a_copy_of_this_very_code_is_run(checkout: Path) -> None:
    """Processes are pointed at the copy, and are told to be compiled."""
    form = present_form({}, checkout)
    assert form.root == copies_directory(checkout) / digest_of(checkout)
    assert form.environment == {"PYTHONPATH": str(form.root)}
    assert str(form) == "compiled"


@pytest.mark.parametrize("name", ["payments/one.py", "storage/new.sql", "docs/problems.md"])
def test_edited_code_is_never_run_in_its_old_state(checkout: Path, name: str) -> None:
    """A change of any file, also one that is not compiled, makes everything interpreted."""
    (checkout / name).write_text("NUMBER = 2\n")
    form = present_form({}, checkout)
    assert form.environment == {}
    assert "changed since it was compiled" in str(form)


def test_a_renamed_file_is_a_change(checkout: Path) -> None:
    """Names count like contents."""
    before = digest_of(checkout)
    (checkout / "payments" / "one.py").rename(checkout / "payments" / "two.py")
    assert digest_of(checkout) != before


def test_what_python_makes_of_it_is_no_change(checkout: Path) -> None:
    """Caches of bytecode come and go."""
    before = digest_of(checkout)
    (checkout / "payments" / "one.cpython-311.pyc").write_bytes(b"\0")
    assert digest_of(checkout) == before


def test_a_copy_that_is_not_whole_is_none(checkout: Path) -> None:
    """The mark is written last: without it the copy was cut short."""
    (copies_directory(checkout) / digest_of(checkout) / MARK).unlink()
    assert "nothing was compiled" in str(present_form({}, checkout))


def test_it_can_be_left_aside(checkout: Path) -> None:
    """Whoever looks for a fault wants to see the code that runs."""
    form = present_form({INTERPRETED_VARIABLE: "1"}, checkout)
    assert form.environment == {}
    assert str(form) == "interpreted: asked for"
    assert present_form({INTERPRETED_VARIABLE: "0"}, checkout).root is not None


def test_a_mutant_is_put_into_what_can_be_changed(checkout: Path) -> None:
    """Methods of machine code can't be replaced."""
    assert present_form({MUTANT_VARIABLE: "fence_skipped"}, checkout).root is None


def test_what_is_installed_is_interpreted(checkout: Path) -> None:
    """A wheel has no build beside it."""
    (checkout / "pyproject.toml").unlink()
    assert "installed" in str(present_form({}, checkout))


def test_a_copy_runs_itself(checkout: Path) -> None:
    """Whoever runs from a copy starts children from it, whatever has become of the checkout."""
    copy = copies_directory(checkout) / digest_of(checkout)
    assert present_form({}, copy).root == copy


def test_every_module_named_is_there() -> None:
    """A module that was moved takes its line along, and is part of what is copied."""
    assert set(map(Path, COMPILED_MODULES)) <= set(files_of(ROOT))
    assert list(COMPILED_MODULES) == sorted(set(COMPILED_MODULES))


@pytest.mark.parametrize("module", COMPILED_MODULES)
def test_no_compiled_module_does_what_machine_code_does_differently(module: str) -> None:
    """It drops what an exception is raised from, and exceptions that are handled are one task's as another's."""
    tree = ast.parse((ROOT / module).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        assert not (isinstance(node, ast.Raise) and node.cause), f"raise from, line {node.lineno}"
        if isinstance(node, ast.Try):
            handling = [part for handler in node.handlers for part in handler.body] + node.finalbody
            for part in handling:
                for inner in ast.walk(part):
                    assert not isinstance(inner, _SUSPENDING), f"await, line {inner.lineno}"


@pytest.mark.parametrize("module", COMPILED_MODULES)
def test_no_compiled_module_has_records_of_msgspec(module: str) -> None:
    """mypyc leaves a class ``type`` for each annotation, so that decoding would refuse every text in it."""
    assert "msgspec.Struct" not in (ROOT / module).read_text(encoding="utf-8")
