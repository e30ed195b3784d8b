"""What is said of the stores' copies: who leads, who is in step, and what was done to them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ops.local.copies import NODE_NAMES, RECORD_FILES, CopiesFile, CopiesRecord
from ops.local.layout import StackHome
from ops.local.space import space_alarm
from ops.local.stores import store_directories
from ops.output import Output


def store_documents(
    root: Path, problems: Mapping[str, str], *, is_running: bool
) -> dict[str, dict[str, Any]]:
    """Each store by its name. Raises DataRefused when a record can't be understood."""
    documents: dict[str, dict[str, Any]] = {}
    for store, file_name in RECORD_FILES.items():
        record = CopiesFile(root / "data" / file_name, store).read()
        primary, second = _names(store, record)
        documents[store] = {
            "state": _state(record, primary, second, problems) if is_running else "stopped",
            "primary": primary,
            "second": second,
            "in_sync": [NODE_NAMES[store].format(number) for number in record.in_sync],
            "one_copy_until": None if record.one_copy is None else record.one_copy.until,
            "history": [
                {
                    "at": event.at,
                    "what": event.what,
                    "node": event.node,
                    "reason": event.reason,
                    "took_s": event.took_s,
                }
                for event in record.history
            ],
        }
    return documents


def _names(store: str, record: CopiesRecord) -> tuple[str | None, str | None]:
    if record.primary is None:
        return None, None
    name = NODE_NAMES[store]
    return name.format(record.primary), name.format(3 - record.primary)


def _state(
    record: CopiesRecord, primary: str | None, second: str | None, problems: Mapping[str, str]
) -> str:
    if primary in problems:
        return "down"
    if record.one_copy is not None:
        return "one_copy"
    return "degraded" if second in problems or not record.in_sync else "ok"


def space_warnings(root: Path) -> dict[str, str]:
    """The servers whose disk fills up."""
    warnings: dict[str, str] = {}
    if not (root / "data").is_dir():
        return warnings
    for directory in store_directories(StackHome(root)):
        if (alarm := space_alarm(directory)) is not None:
            warnings[directory.name.replace("-", "_")] = alarm
    return warnings


def print_stores(documents: Mapping[str, Mapping[str, Any]], output: Output) -> None:
    """For people: a line for each store."""
    output.table(
        "",
        ("store", "state", "primary", "second copy", "in sync", "last event"),
        [
            (
                store,
                document["state"].replace("_", " "),
                document["primary"],
                document["second"],
                ", ".join(document["in_sync"]) or "none",
                _event_text(document["history"][-1]) if document["history"] else "",
            )
            for store, document in documents.items()
        ],
    )


def _event_text(event: Mapping[str, Any]) -> str:
    return f"{event['at']} {event['node']} {event['what'].replace('_', ' ')} ({event['took_s']} s)"


def print_history(documents: Mapping[str, Mapping[str, Any]], output: Output) -> None:
    """For people: everything that was done, oldest first."""
    events = [event for document in documents.values() for event in document["history"]]
    output.table(
        "",
        ("at", "what", "server", "took s", "why"),
        [
            (
                event["at"],
                event["what"].replace("_", " "),
                event["node"],
                f"{event['took_s']:.3f}",
                event["reason"],
            )
            for event in sorted(events, key=lambda event: str(event["at"]))
        ],
    )
