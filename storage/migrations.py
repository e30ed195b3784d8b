"""Migrations: plain SQL files, each applied once, in order, in one transaction.

A file's name is ``NNNN_what.sql``; what follows the line ``-- migrate:up`` is run. There is no way
down: books are carried forward, and a mistake is mended by the next file.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

from payments.defects import InvariantViolation
from storage.sessions import Session, postgres_faults
from storage.sql_files import load_statements, read_sql

MIGRATE_UP = "-- migrate:up"

_FILE_NAME = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")
_SQL = load_statements("migrations.sql")


class MigrationChanged(Exception):
    """An applied migration differs from its file: the books and the code have parted ways."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} was applied with another content; restore it and add a new file")
        self.name = name


class MigrationUnknown(Exception):
    """The books carry migrations that this code does not have: it is older than its books."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(f"the books have migrations unknown here: {', '.join(names)}")
        self.names = names


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One file. ``checksum`` is the SHA-256 of its whole text, comments included."""

    name: str
    statements: str
    checksum: bytes

    @classmethod
    def parse(cls, name: str, text: str) -> Migration:
        """Raises InvariantViolation for a file without its ``-- migrate:up`` line."""
        if text.count(MIGRATE_UP) != 1:
            raise InvariantViolation(f"{name} needs one line {MIGRATE_UP}")
        checksum = hashlib.sha256(text.encode()).digest()
        return cls(name=name, statements=text.partition(MIGRATE_UP)[2], checksum=checksum)


def migrations_of_package() -> Sequence[Migration]:
    """Return the migrations that come with this code, in the order of their numbers.

    A number may be left out: branches take theirs before they meet.
    """
    folder = resources.files("storage").joinpath("sql", "migrations")
    names = sorted(item.name for item in folder.iterdir() if _FILE_NAME.fullmatch(item.name))
    numbers = [int(name[:4]) for name in names]
    if len(set(numbers)) != len(numbers) or 1 not in numbers:
        raise InvariantViolation(f"migrations are not numbered from 1, each once: {names}")
    return [Migration.parse(name, read_sql(f"migrations/{name}")) for name in names]


async def migrate(session: Session, migrations: Sequence[Migration]) -> Sequence[str]:
    """Apply what is missing, and return the names of what was applied. ``session`` owns the schema.

    Two runners may start at once: the second waits for the first. A migration that can't get its
    locks within the session's ``lock_timeout`` fails rather than hold up every payment behind it.
    Raises MigrationChanged, MigrationUnknown, StorageUnavailable, InvariantViolation (the file's
    own SQL is wrong; nothing of that file was applied).
    """
    with postgres_faults():
        await session.execute(_SQL["take_turn"])
        try:
            await session.execute(_SQL["create_schema_migration"])
            return await _apply_missing(session, migrations)
        finally:
            await session.execute(_SQL["end_turn"])


async def pending(session: Session, migrations: Sequence[Migration]) -> Sequence[str]:
    """Return the names of migrations not yet applied. Raises as ``migrate`` does."""
    with postgres_faults():
        await session.execute(_SQL["create_schema_migration"])
        return [migration.name for migration in await _missing(session, migrations)]


async def _apply_missing(session: Session, migrations: Sequence[Migration]) -> Sequence[str]:
    missing = await _missing(session, migrations)
    for migration in missing:
        await session.execute("BEGIN")
        try:
            await session.execute(migration.statements)
            await session.fetch(_SQL["record_migration"], migration.name, migration.checksum)
        except BaseException:
            if session.is_open:
                await session.execute("ROLLBACK")
            raise
        await session.execute("COMMIT")
    return [migration.name for migration in missing]


async def _missing(session: Session, migrations: Sequence[Migration]) -> Sequence[Migration]:
    rows = await session.fetch(_SQL["applied_migrations"])
    applied: dict[str, bytes] = {row["name"]: row["checksum"] for row in rows}
    if unknown := sorted(applied.keys() - {migration.name for migration in migrations}):
        raise MigrationUnknown(unknown)
    for migration in migrations:
        if applied.get(migration.name, migration.checksum) != migration.checksum:
            raise MigrationChanged(migration.name)
    return [migration for migration in migrations if migration.name not in applied]
