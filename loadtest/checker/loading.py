"""Loading: a run directory's files into records. What can't be read is named, and proves nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from loadtest.checker import files
from loadtest.checker.books_rows import books_records, snapshot_record
from loadtest.checker.records import (
    ChargeRecord,
    ClientEvent,
    EventType,
    FaultPhase,
    FaultRecord,
    Input,
    LeakRecord,
    OpKind,
    PoisonRecord,
    QueueLeft,
    Records,
    RunRecord,
)
from loadtest.history.recorder import HISTORY_NAME, Line
from loadtest.history.running import FINAL_NAME, LOAD_NAME
from loadtest.history.snapshots import SNAPSHOTS_NAME

_UNIX_BEGAN = datetime(1970, 1, 1, tzinfo=UTC)

_FAULTS = (OSError, ValueError, KeyError, TypeError, IndexError, msgspec.MsgspecError)


def load_records(directory: Path) -> Records:
    """Return the records of a run directory. Never raises: see ``Records.unreadable``."""
    found: dict[str, Any] = {}
    unreadable: list[str] = []

    unread_inputs: set[Input] = set()

    def read(
        name: str,
        loader: Callable[[Path], Mapping[str, Any]],
        told: Input | None = None,
        *,
        must: bool = True,
    ) -> None:
        path = directory / name
        if not path.exists() and not must:
            return
        try:
            found.update(loader(path))
        except FileNotFoundError:
            unreadable.append(f"{name} is missing")
        except _FAULTS as fault:
            unreadable.append(f"{name}: {type(fault).__name__}: {fault}")
        else:
            return
        if told is not None:
            unread_inputs.add(told)

    read(files.RUN_NAME, lambda path: {"run_document": _document(path)})
    read(LOAD_NAME, lambda path: {"load_document": _document(path)})
    read(HISTORY_NAME, lambda path: {"history": list(_history(path))}, Input.HISTORY)
    read(files.BOOKS_NAME, lambda path: books_records(_document(path)), Input.BOOKS)
    read(files.ORACLE_NAME, _charges, Input.ORACLE)
    read(files.QUEUE_NAME, _queue, Input.QUEUE)
    read(files.LEAKS_NAME, _leaks, Input.LEAKS)
    read(FINAL_NAME, _final)
    read(files.FAULTS_NAME, _faults, Input.FAULTS, must=False)
    read(SNAPSHOTS_NAME, _snapshots, Input.SNAPSHOTS, must=False)
    read(files.WEBHOOKS_NAME, _webhooks, Input.WEBHOOKS, must=False)
    has_receivers = (directory / files.WEBHOOKS_NAME).exists()
    load = found.pop("load_document", {})
    run = found.pop("run_document", {})
    return Records(
        run=_run(run, load),
        documented=load.get("documented", {}),
        unreadable=tuple(unreadable),
        unread_inputs=frozenset(unread_inputs),
        not_shown={} if has_receivers else {"I18": "no storefront of this run had an endpoint"},
        **found,
    )


def _run(run: Mapping[str, Any], load: Mapping[str, Any]) -> RunRecord:
    return RunRecord(
        seed=int(run.get("seed", 0)),
        mix=str(run.get("mix", "")),
        revision=str(run.get("revision", "")),
        started_ns=int(run.get("started_ns") or 0),
        healed_ns=int(run.get("healed_ns") or 0),
        quiesced_ns=int(run.get("quiesced_ns") or 0),
        ended_ns=int(run.get("ended_ns") or 0),
        unix_less_monotonic_ns=int(load.get("unix_less_monotonic_ns") or 0),
        planned_cells=tuple(run.get("planned_cells", ())),
    )


def _history(path: Path) -> Iterator[ClientEvent]:
    decoder = msgspec.json.Decoder(Line)
    invoked: dict[int, ClientEvent] = {}
    with path.open("rb") as file:
        for text in file:
            line = decoder.decode(text)
            if line.type is EventType.INVOKE:
                invoked[line.op] = event = _invocation(line)
            else:
                event = invoked.pop(line.op)._replace(
                    type=line.type,
                    at_ns=line.at_ns,
                    status=line.status,
                    body_sha256=line.body_sha256,
                    body=line.body or "",
                    is_replayed=line.replayed,
                    is_deferred=line.deferred,
                    error=line.error,
                )
            yield event


def _invocation(line: Line) -> ClientEvent:
    return ClientEvent(
        op=line.op,
        type=line.type,
        at_ns=line.at_ns,
        kind=line.kind or OpKind.POST,
        merchant=line.merchant,
        mode=line.mode,
        key=line.key,
        fingerprint=line.fingerprint,
        amount_minor=line.amount,
        currency=line.currency,
        seller=line.seller,
        token=line.token,
        metadata=line.metadata,
        payment=line.payment,
        orders=line.orders,
    )


def _charges(path: Path) -> Mapping[str, Any]:
    charges: list[ChargeRecord] = []
    psps = _document(path)
    for psp, record in psps.items():
        charges += [_charge(psp, row) for row in record["charges"]]
        charges += [
            ChargeRecord(psp, "", key, "", "", 0, "", "canceled", 0, 0, 0)
            for key in record["burned_keys"]
        ]
    return {"charges": charges, "psps": tuple(psps)}


def _charge(psp: str, row: Mapping[str, Any]) -> ChargeRecord:
    return ChargeRecord(
        psp=psp,
        reference=row["reference"],
        psp_key=row["key"],
        merchant=row["merchant"],
        order_key=row["order_key"] or "",
        amount_minor=row["amount"],
        currency=row["currency"],
        status=row["status"],
        captured_minor=row["captured"],
        refunded_minor=row["refunded"],
        at_unix_ns=_unix_ns(row["at"]),
        charged_back_minor=row.get("charged_back", 0),
    )


def _unix_ns(text: str) -> int:
    since = datetime.fromisoformat(text) - _UNIX_BEGAN
    return since // timedelta(microseconds=1) * 1_000


def _queue(path: Path) -> Mapping[str, Any]:
    return {
        "queue": [
            QueueLeft(row["partition_index"], row["message_count"], row.get("entries_added"))
            for row in _document(path)["streams"]
        ]
    }


def _leaks(path: Path) -> Mapping[str, Any]:
    document = _document(path)
    return {
        "leaks": [LeakRecord(*row) for row in document["leaks"]],
        "leak_bytes_scanned": int(document["bytes_scanned"]),
    }


def _final(path: Path) -> Mapping[str, Any]:
    document = _document(path)
    return {
        "is_final_complete": document["is_complete"] is True,
        "unread": tuple(document["unread"]),
    }


def _faults(path: Path) -> Mapping[str, Any]:
    faults: list[FaultRecord] = []
    poison: list[PoisonRecord] = []
    for row in _lines(path):
        faults.append(
            FaultRecord(
                row["at_ns"], row["cell"], FaultPhase(row["phase"]), str(row.get("reason") or "")
            )
        )
        if "stream_id" in row:
            poison.append(
                PoisonRecord(
                    row["at_ns"], int(row["partition_index"]), row["stream_id"], row["cell"]
                )
            )
    return {"faults": faults, "poison": poison}


def _snapshots(path: Path) -> Mapping[str, Any]:
    return {"snapshots": [snapshot_record(row) for row in _lines(path)]}


def _webhooks(path: Path) -> Mapping[str, Any]:
    got = {}
    for who, ids in _document(path).items():
        merchant, _, mode = who.partition("|")
        got[merchant, mode] = frozenset(ids)
    return {"webhooks": got}


def _lines(path: Path) -> Sequence[Any]:
    return [msgspec.json.decode(line) for line in path.read_bytes().splitlines() if line]


def _document(path: Path) -> Any:
    # Not msgspec: sums in the books may be larger than 64 bits.
    return json.loads(path.read_bytes())
