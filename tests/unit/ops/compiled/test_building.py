"""Making the compiled form: what is refused, what is cleared away, and that two modules come out as machine code."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from ops.compiled import building
from ops.compiled.building import COPIES_KEPT, CompilingFailed, ToolMissing, compile_checkout
from ops.compiled.form import FILES_BESIDE, MARK, PACKAGES, copies_directory, is_copy

MODULES = ("payments/one.py", "payments/two.py")


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout of two modules that are compiled, one of which uses the other."""
    root = tmp_path / "with a space"
    root.mkdir()
    for package in PACKAGES:
        (root / package).mkdir()
        (root / package / "__init__.py").write_text("")
    (root / "payments" / "one.py").write_text(
        "def doubled(number: int) -> int:\n    return 2 * number\n"
    )
    (root / "payments" / "two.py").write_text(
        "from payments.one import doubled\n\n\ndef fourfold(number: int) -> int:\n    return doubled(doubled(number))\n"
    )
    for name in FILES_BESIDE:
        (root / name).parent.mkdir()
        (root / name).write_text("# Problems\n")
    (root / "pyproject.toml").write_text("")
    use_modules(monkeypatch, MODULES)
    monkeypatch.setattr(building, "ENTRANCES", ("payments.two",))
    return root


def use_modules(monkeypatch: pytest.MonkeyPatch, modules: Sequence[str]) -> None:
    for module in ("building", "form"):
        monkeypatch.setattr(f"ops.compiled.{module}.COMPILED_MODULES", tuple(modules))


def nothing(_text: str) -> None:
    """Tell nobody."""


def names_in(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir()) if directory.exists() else []


def test_a_copy_runs_machine_code_and_does_the_same(checkout: Path) -> None:
    """What comes out is imported in place of the checkout's modules; a second time nothing is done."""
    copy = compile_or_skip(checkout)
    code = "import payments.two as two; print(two.__file__.endswith('.so'), two.fourfold(2 ** 70) == 2 ** 72)"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        env={"PYTHONPATH": str(copy)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["True", "True"]
    assert not list(copy.rglob("*.c"))
    told: list[str] = []
    assert compile_checkout(checkout, told.append) == copy
    assert told == []


def compile_or_skip(checkout: Path) -> Path:
    try:
        return compile_checkout(checkout, nothing)
    except ToolMissing as missing:
        pytest.skip(str(missing))


def test_no_compiler_is_told_with_what_to_install(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is left behind, and the text says what to do."""
    monkeypatch.setattr(building, "BASE_ENV", {"PATH": str(checkout)})
    with pytest.raises(ToolMissing, match="apt-get install gcc"):
        compile_checkout(checkout, nothing)
    assert names_in(copies_directory(checkout)) == []


def test_what_can_not_be_translated_is_told_and_leaves_nothing(checkout: Path) -> None:
    """The text is mypyc's own, with file and line."""
    (checkout / "payments" / "one.py").write_text(
        "def doubled(number: int) -> int:\n    return str(number)\n"
    )
    with pytest.raises(CompilingFailed, match=r"payments/one\.py:2"):
        compile_or_skip(checkout)
    assert names_in(copies_directory(checkout)) == []


def test_what_can_not_be_imported_is_no_copy(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each entrance is imported once before anything runs it."""
    compile_nothing(monkeypatch)
    monkeypatch.setattr(building, "ENTRANCES", ("payments.three",))
    with pytest.raises(CompilingFailed, match=r"payments\.three"):
        compile_or_skip(checkout)
    assert names_in(copies_directory(checkout)) == []


def test_what_is_edited_meanwhile_is_not_compiled(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a copy would hold other code than the one it is named after."""
    compile_nothing(monkeypatch)
    copy_file = shutil.copyfile

    def edited_first(source: Path, target: Path) -> None:
        source.write_text(source.read_text() + "# edited\n")
        copy_file(source, target)

    monkeypatch.setattr("shutil.copyfile", edited_first)
    with pytest.raises(CompilingFailed, match="changed meanwhile"):
        compile_or_skip(checkout)
    assert names_in(copies_directory(checkout)) == []


def test_old_copies_go(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some are kept for stacks that still run; what is no copy is not ours."""
    compile_nothing(monkeypatch)
    copies = copies_directory(checkout)
    for number in range(COPIES_KEPT + 2):
        (copies / f"old-{number}").mkdir(parents=True)
        (copies / f"old-{number}" / MARK).write_text("")
    (copies / "else").mkdir()
    copy = compile_or_skip(checkout)
    assert len([path for path in copies.iterdir() if is_copy(path)]) == COPIES_KEPT
    assert is_copy(copy)
    assert (copies / "else").is_dir()


def test_a_copy_that_is_run_is_kept(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that is started again has to find what the others run."""
    compile_nothing(monkeypatch)
    copies = copies_directory(checkout)
    for number in range(COPIES_KEPT + 2):
        (copies / f"old-{number}").mkdir(parents=True)
        (copies / f"old-{number}" / MARK).write_text("")
    oldest = copies / "old-0"
    os.utime(oldest / MARK, (0, 0))
    with subprocess.Popen(
        [sys.executable, "-P", "-c", "input()"],
        env={"PYTHONPATH": str(oldest)},
        stdin=subprocess.PIPE,
    ) as running:
        compile_or_skip(checkout)
        assert is_copy(oldest)
        running.communicate(b"\n", timeout=30)


def compile_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what takes ten seconds, where it is not looked at."""
    use_modules(monkeypatch, ())
    monkeypatch.setattr(building, "_translated", lambda _work: [])
