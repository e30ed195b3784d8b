"""Looking at the books while a load runs: one transaction at a time, each a recorded point."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import msgspec

from runtime.config import Config
from storage.recounting import BooksReader, BooksUnread

SNAPSHOTS_NAME = "snapshots.jsonl"

# A frozen server is met again soon enough; what is never read is no recorded point.
ANSWER_S_MAX = 5.0


async def take_snapshots(config: Config, directory: Path, every_s: float) -> None:
    """Add a line to snapshots.jsonl every so often, until cancelled. A server that is away is asked again."""
    reader: BooksReader | None = None
    with (directory / SNAPSHOTS_NAME).open("ab") as file:
        try:
            while True:
                try:
                    reader = reader or await BooksReader.open(config, answer_timeout_s=ANSWER_S_MAX)
                    file.write(await snapshot_line(reader))
                    file.flush()
                except BooksUnread:
                    reader = None
                await asyncio.sleep(every_s)
        finally:
            if reader is not None:
                await reader.close()


async def snapshot_line(reader: BooksReader) -> bytes:
    """Return one snapshot as a line. Raises BooksUnread."""
    at_ns = time.monotonic_ns()
    rows = await reader.moment("partitions", "slices", "wallet_totals")
    return msgspec.json.encode({"at_ns": at_ns, **rows}) + b"\n"
