"""The schema as pg_dump tells it, without what only pg_dump needs.

``python -m tests.migration.dump`` writes ``storage/sql/schema.sql`` anew, on servers of its own.
"""

from __future__ import annotations

import asyncio
import re
import sys
import tempfile
from pathlib import Path

from ops.local.postgres import PostgresPair
from ops.local.stores import LocalStores
from tests.books import install_books

SCHEMA_FILE = Path(__file__).parents[2] / "storage" / "sql" / "schema.sql"
HEADER = """\
-- The schema as all migrations together make it. For reading: it is written by a program and checked by
-- a test; what is run is in migrations/. The tables named <parent>_h0 to <parent>_h7, and request_log_s00 to
-- request_log_s31, are left out.
"""
# Rules of the session, and what pg_dump writes to guard its own restore.
_NOISE = re.compile(
    r"^(--.*|SET .*;|SELECT pg_catalog\.set_config.*|\\(un)?restrict .*)$", re.MULTILINE
)


def schema_of(postgres: PostgresPair, database: str) -> str:
    """Return the normalised schema of a database on the primary."""
    dump = asyncio.run(
        postgres.primary.run(
            "pg_dump",
            "--schema-only",
            "--no-owner",
            "--exclude-table=*_h[0-7]",
            "--exclude-table=request_log_s*",
            *("-h", "127.0.0.1", "-p", str(postgres.port), "-U", postgres.superuser),
            *("-d", database),
            passfile=postgres.passfile,
        )
    )
    body = _NOISE.sub("", dump).replace("public.", "")
    return HEADER + "\n" + re.sub(r"\n{2,}", "\n\n", body).strip() + "\n"


async def _installed(root: Path) -> str:
    stores = LocalStores.at(root, port_base=0)
    await stores.start(lambda _: None)
    try:
        postgres = stores.postgres
        await postgres.query("CREATE DATABASE books", database="postgres")
        await install_books(postgres.dsn(postgres.superuser, postgres.password, database="books"))
        return await asyncio.to_thread(schema_of, postgres, "books")
    finally:
        await stores.stop()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="tallystick-schema-") as directory:
        SCHEMA_FILE.write_text(asyncio.run(_installed(Path(directory))))
    sys.stdout.write(f"wrote {SCHEMA_FILE}\n")
