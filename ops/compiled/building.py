"""Makes the compiled form: copies our packages, has mypyc translate the hot modules to C, and compiles that."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from ops.compiled.form import MARK, copies_directory, digest_of, files_of, is_copy
from ops.compiled.modules import COMPILED_MODULES
from ops.local.process import BASE_ENV

Progress = Callable[[str], None]

# -O2 compiles for half as long again; whether its code is faster has not been measured.
# Signed numbers wrap and assertions of C are left out, as in Python itself, for which the C is written.
C_FLAGS = ("-O1", "-fPIC", "-w", "-fwrapv", "-DNDEBUG")
# The present one, and those that one goes back to.
COPIES_KEPT = 3
TRANSLATION_TIMEOUT_S = 600
UNIT_TIMEOUT_S = 300
TOLD_EVERY_S = 15.0
# What a process of ours begins with; each draws in much of what is compiled.
ENTRANCES = (
    "gateway.building",
    "actors.building",
    "actors.supervisor",
    "actors.dispatcher_building",
    "ops.stack",
)


class ToolMissing(Exception):
    """There is no C compiler, or no header of Python: says which, and how to get it."""


class CompilingFailed(Exception):
    """A step failed; the text is its output."""


class Unit(NamedTuple):
    """One shared library."""

    name: str
    """As it is imported."""
    sources: tuple[Path, ...]
    include_directories: tuple[Path, ...]


def compile_checkout(checkout: Path, progress: Progress) -> Path:
    """Return the copy of this checkout, made if it is not there. Raises ToolMissing, CompilingFailed."""
    copies = copies_directory(checkout)
    target = copies / digest_of(checkout)
    if is_copy(target):
        return target
    compiler = _compiler()
    progress(
        f"Compiling {len(COMPILED_MODULES)} modules: a minute or two, once for each state of the code"
    )
    started_s = time.monotonic()
    work = copies / f".new-{os.getpid()}"
    shutil.rmtree(work, ignore_errors=True)
    try:
        for path in files_of(checkout):
            (work / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(checkout / path, work / path)
        if digest_of(work) != target.name:
            raise CompilingFailed("the code was changed meanwhile; once more, please")
        units = _translated(work)
        _compile_units(compiler, work, units, progress)
        shutil.rmtree(work / _C_DIRECTORY, ignore_errors=True)
        _try(work)
        (work / MARK).write_text(f"{len(COMPILED_MODULES)} modules\n", encoding="ascii")
        if not is_copy(target):
            shutil.rmtree(target, ignore_errors=True)
            try:
                work.rename(target)
            except OSError:
                # Whoever compiles the same beside us was first.
                if not is_copy(target):
                    raise
    finally:
        shutil.rmtree(work, ignore_errors=True)
    _forget_old(copies, target)
    progress(f"Compiled in {time.monotonic() - started_s:.0f} s")
    return target


_C_DIRECTORY = "c"


def _compiler() -> list[str]:
    """Return the C compiler's command. Raises ToolMissing."""
    words = shlex.split(sysconfig.get_config_var("CC") or "cc")
    found = next(
        (
            path
            for name in (words[0], "cc", "gcc", "clang")
            if (path := shutil.which(name, path=BASE_ENV["PATH"]))
        ),
        None,
    )
    advice = "On Debian and Ubuntu: apt-get install gcc python3-dev."
    if found is None:
        raise ToolMissing(f"there is no C compiler. {advice}")
    if not (Path(sysconfig.get_path("include")) / "Python.h").exists():
        raise ToolMissing(f"Python's headers are not installed. {advice}")
    return [found]


def _translated(work: Path) -> list[Unit]:
    """Have mypyc write the C, in a process of its own: it changes much of what it is imported into."""
    translator = Path(__file__).with_name("translating.py")
    command = [sys.executable, "-P", str(translator), str(work / _C_DIRECTORY), *COMPILED_MODULES]
    out = _run(command, work, TRANSLATION_TIMEOUT_S)
    units: list[Unit] = []
    for line in out.splitlines():
        if line.startswith("unit\t"):
            name, sources, directories = json.loads(line.partition("\t")[2])
            units.append(Unit(name, tuple(map(Path, sources)), tuple(map(Path, directories))))
    if len(units) != len(COMPILED_MODULES) + 1:
        raise CompilingFailed(f"mypyc wrote {len(units)} units for {len(COMPILED_MODULES)} modules")
    return units


def _compile_units(
    compiler: Sequence[str], work: Path, units: Sequence[Unit], progress: Progress
) -> None:
    objects = {
        source: work / _C_DIRECTORY / f"{number}.o" for number, source in enumerate(_sources(units))
    }
    include = [f"-I{sysconfig.get_path('include')}"]
    told_s = time.monotonic()
    done_count = 0

    def compile_one(unit: Unit, source: Path) -> None:
        directories = [f"-I{work / directory}" for directory in unit.include_directories]
        command = [*compiler, *C_FLAGS, *include, *directories, "-c", str(work / source)]
        _run([*command, "-o", str(objects[source])], work, UNIT_TIMEOUT_S)

    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        tasks = [
            pool.submit(compile_one, unit, source) for unit in units for source in unit.sources
        ]
        try:
            for task in tasks:
                task.result()
                done_count += 1
                if time.monotonic() - told_s >= TOLD_EVERY_S:
                    told_s = time.monotonic()
                    progress(f"  ... {done_count} of {len(objects)} files")
        finally:
            # Once one has failed, the others are not worth their time.
            pool.shutdown(cancel_futures=True)
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    for unit in units:
        library = work / f"{unit.name.replace('.', '/')}{suffix}"
        linked = [str(objects[source]) for source in unit.sources]
        _run([*compiler, "-shared", *linked, "-o", str(library)], work, UNIT_TIMEOUT_S)


def _sources(units: Sequence[Unit]) -> Iterator[Path]:
    for unit in units:
        yield from unit.sources


def _try(work: Path) -> None:
    """Import what was compiled, and what begins with it, once. Raises CompilingFailed."""
    names = [module.removesuffix(".py").replace("/", ".") for module in COMPILED_MODULES]
    code = (
        "import importlib, sys\n"
        "for name in sys.argv[1].split():\n"
        "    assert importlib.import_module(name).__file__.endswith('.so'), name\n"
        "for name in sys.argv[2].split():\n"
        "    importlib.import_module(name)\n"
    )
    _run(
        [sys.executable, "-P", "-c", code, " ".join(names), " ".join(ENTRANCES)],
        work,
        UNIT_TIMEOUT_S,
    )


def _run(command: Sequence[str], work: Path, timeout_s: float) -> str:
    """Run a step with the copy first on its path. Raises CompilingFailed."""
    try:
        done = subprocess.run(
            command,
            cwd=work,
            env={**BASE_ENV, "PYTHONPATH": str(work)},
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_s,
        )
    except subprocess.TimeoutExpired:
        raise CompilingFailed(
            f"no end within {timeout_s:.0f} s: {shlex.join(command)[:300]}"
        ) from None
    if done.returncode:
        raise CompilingFailed(f"{shlex.join(command)[:300]}\n{(done.stdout + done.stderr)[-3000:]}")
    return done.stdout


def _forget_old(copies: Path, target: Path) -> None:
    """Remove the oldest copies that no process runs: one that is started again has to find what it was."""
    others = [path for path in copies.iterdir() if path != target and is_copy(path)]
    others.sort(key=lambda path: (path / MARK).stat().st_mtime, reverse=True)
    for path in others[COPIES_KEPT - 1 :]:
        if not _is_run(path):
            shutil.rmtree(path, ignore_errors=True)


def _is_run(copy: Path) -> bool:
    """Whether a process that we may look at was started to run this copy."""
    wanted = f"PYTHONPATH={copy}".encode()
    for environment in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if wanted in environment.read_bytes().split(b"\0"):
                return True
    return False
