"""Collecting: from a stack that has become quiet into the run directory, so that it can be deleted."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from loadtest.checker.files import BOOKS_NAME, LEAKS_NAME, ORACLE_NAME, QUEUE_NAME, RUN_NAME
from loadtest.checker.leaks import search_home
from ops.stack.config_file import read_config
from ops.verify.oracle import OracleReader, OracleUnreadable, Tally, open_http
from runtime.config import Config, ConfigError
from runtime.faults import StorageUnavailable
from storage.opening import queue_settings
from storage.queue_status import QueueStatusReader
from storage.recounting import BooksReader, BooksUnread

BOOKS_TABLES = (
    "orders",
    "splits",
    "attempts",
    "operations",
    "disputes",
    "checkouts",
    "checkout_orders",
    "outcomes",
    "open_orders",
    "accounts",
    "transfers",
    "slices",
    "events",
    "batches",
    "partitions",
    "refused",
    "dead_letters",
)


async def collect(directory: Path) -> list[str]:
    """Write books.json, oracle.json, leaks.json, and queue.json where it is missing.

    Returns what could not be read; its file is then missing, and the verdict will be "unknown".
    """
    try:
        home = Path(str(_document(directory / RUN_NAME)["home"]))
        config = read_config(home, {})
    except (OSError, ValueError, KeyError, ConfigError) as fault:
        return [f"the stack: {fault}"]
    unread: list[str] = []
    try:
        _write(directory / BOOKS_NAME, await _books(config))
    except BooksUnread as fault:
        unread.append(f"the books: {fault}")
    try:
        _write(directory / ORACLE_NAME, await _oracles(config, home))
    except (OracleUnreadable, OSError, ValueError) as fault:
        unread.append(f"a PSP's record: {fault}")
    if not (directory / QUEUE_NAME).exists():
        try:
            _write(directory / QUEUE_NAME, await _queue(config))
        except StorageUnavailable as fault:
            unread.append(f"the queue: {fault}")
    load = _document(directory / "load.json") if (directory / "load.json").exists() else {}
    search = search_home(home, load.get("canaries", ()), load.get("personal", ()))
    _write(
        directory / LEAKS_NAME,
        {"bytes_scanned": search.bytes_scanned, "leaks": [list(leak) for leak in search.leaks]},
    )
    return unread


async def _books(config: Config) -> Mapping[str, object]:
    reader = await BooksReader.open(config)
    try:
        tables = await reader.moment(*BOOKS_TABLES)
        tables["parked_orders"] = await reader.parked_orders()
    finally:
        await reader.close()
    return tables


async def _oracles(config: Config, home: Path) -> Mapping[str, object]:
    burned = dict(_burned_keys(home))
    records: dict[str, object] = {}
    async with open_http() as http:
        for psp in config.psps:
            if psp.kind != "simulator":
                continue
            reader, tally = OracleReader(http, psp.url), Tally()
            before = await reader.totals()
            rows = []
            async for piece in reader.rows():
                for row in piece:
                    tally.add(row)
                    rows.append(row)
            tally.check_between(before, await reader.totals())
            records[psp.name] = {"charges": rows, "burned_keys": burned.get(psp.name, [])}
    return records


def _burned_keys(home: Path) -> Iterator[tuple[str, Sequence[str]]]:
    """Yield each PSP's name and the keys that it canceled unused, which its oracle does not list."""
    for path in sorted((home / "data").glob("*/charges.ndjson")):
        name, keys = "", []
        for line in path.read_bytes().splitlines():
            if line.startswith(b"{") and (b'"burn"' in line or b'"open"' in line):
                record = json.loads(line)
                name = record["name"] if record["t"] == "open" else name
                keys += [record["key"]] if record["t"] == "burn" else []
        yield name, keys


async def _queue(config: Config) -> Mapping[str, object]:
    reader = QueueStatusReader(queue_settings(config))
    try:
        status = await reader.read(range(config.deployment.partition_count))
    finally:
        await reader.close()
    return {
        "streams": [
            {"partition_index": index, "message_count": stream.message_count}
            for index, stream in status.streams.items()
        ]
    }


def _document(path: Path) -> Any:
    return msgspec.json.decode(path.read_bytes())


def _write(path: Path, document: object) -> None:
    path.write_bytes(msgspec.json.encode(document))
