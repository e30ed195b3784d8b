"""Migration files, without a server."""

from __future__ import annotations

import hashlib

import pytest

from payments.defects import InvariantViolation
from storage.migrations import Migration, migrations_of_package


def test_only_what_follows_the_marker_is_run() -> None:
    """The preface of a migration is for readers, and yet part of its checksum."""
    text = "-- Why.\n-- migrate:up\nSELECT 1;\n"
    migration = Migration.parse("0001_why.sql", text)
    assert migration.statements.strip() == "SELECT 1;"
    assert migration.checksum == hashlib.sha256(text.encode()).digest()


@pytest.mark.parametrize("text", ["SELECT 1;", "-- migrate:up\n-- migrate:up\n"])
def test_a_migration_needs_its_marker_once(text: str) -> None:
    """A file that does not say where it starts is refused."""
    with pytest.raises(InvariantViolation):
        Migration.parse("0001_what.sql", text)


def test_the_migrations_of_the_package_are_numbered_each_once() -> None:
    """Files come in the order of their numbers, from 1, and no number stands for two."""
    names = [migration.name for migration in migrations_of_package()]
    assert names[0] == "0001_books.sql"
    numbers = [int(name[:4]) for name in names]
    assert numbers == sorted(set(numbers))
