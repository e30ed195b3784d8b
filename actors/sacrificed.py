"""What the sacrificial child does (actors/sacrificing.py): decode and decide single entries, from memory alone."""

from __future__ import annotations

import mmap
import os
import pickle
import signal
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import BinaryIO, NamedTuple

from actors.isolating import decide
from actors.planning import OrderedPlanner
from actors.sacrificing import (
    ENDED,
    ENTRY_S_MAX,
    LENGTH,
    READY,
    SURVIVED,
    AnswerJob,
    Job,
    MessageJob,
    RowJob,
)
from payments.book import PartitionBook
from payments.decided import Batch, Planner
from payments.defects import InvariantViolation
from payments.open_order import OpenOrder
from payments.retry_policy import RetryPolicy
from payments.rows import TimerKind
from payments.state import OpenOrderRecord, PartitionHead, PartitionState
from psp.directory import open_psps
from psp.settings import PspSettings
from runtime.clock import SystemClock
from runtime.crash_points import CrashPoints
from storage.checkout_envelope import KIND_CHECKOUT, decode_checkout
from storage.envelope import decode_fields, read_header
from storage.event_envelope import KIND_PSP_WEBHOOK, decode_event
from storage.open_orders import open_order_record
from storage.operation_envelope import OPERATION_KINDS, decode_operation
from storage.sealing import EnvelopeUnreadable

# Whatever is decided here is thrown away.
_NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Setting(NamedTuple):
    """What a host tells its child once."""

    psps: tuple[PspSettings, ...]
    policy: RetryPolicy
    is_sandbox: bool


def serve(incoming: BinaryIO, outgoing: BinaryIO, environment: Mapping[str, str]) -> None:
    """Try what comes in until it ends."""
    body = _receive(incoming)
    if body is None:
        return
    # From the host's own memory, over a pipe that nobody else has.
    setting: Setting = pickle.loads(body)  # noqa: S301
    psps = open_psps(setting.psps, clock=SystemClock())
    trial = Trial(
        OrderedPlanner(psps),
        setting.policy,
        CrashPoints.from_environment(environment, is_sandbox=setting.is_sandbox),
    )
    _answer(outgoing, READY)
    # Shared with the forks: whether one is at an entry.
    is_trying = mmap.mmap(-1, 1)
    while True:
        pid = os.fork()
        if pid == 0:
            _try_all(trial, incoming, outgoing, is_trying)
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        if status == 0:
            return
        if is_trying[0]:
            # An entry ended it; else whoever did knows nothing of entries.
            is_trying[0] = 0
            _answer(outgoing, ENDED)


def _try_all(trial: Trial, incoming: BinaryIO, outgoing: BinaryIO, is_trying: mmap.mmap) -> None:
    """Try entries until no more come, or until one ends this process, be it by what it raises."""
    while (body := _receive(incoming)) is not None:
        is_trying[0] = 1
        # From the host's own memory, over a pipe that nobody else has.
        jobs: Sequence[Job] = pickle.loads(body)  # noqa: S301
        for number, job in enumerate(jobs, start=1):
            # Its default action ends this process, also in the middle of C code.
            signal.setitimer(signal.ITIMER_REAL, ENTRY_S_MAX)
            trial.run(job)
            signal.setitimer(signal.ITIMER_REAL, 0)
            is_trying[0] = number < len(jobs)
            _answer(outgoing, SURVIVED)


class Trial:
    """Does with one entry what a host does with it, and nothing else."""

    def __init__(self, planner: Planner, policy: RetryPolicy, crash_points: CrashPoints) -> None:
        self._planner = planner
        self._policy = policy
        self._crash_points = crash_points

    def run(self, job: Job) -> None:
        """Survive it, or not. What only raises is survived."""
        try:
            match job:
                case MessageJob(head, raw):
                    self._crash_points.meet(raw)
                    decide(self._book(head), _batch_of(raw))
                case RowJob(head, row):
                    record = open_order_record(
                        head.partition_index, row, meets=self._crash_points.meet
                    )
                    for step in TimerKind:
                        due = [(record.order_no, step)]
                        decide(self._book(head, record), Batch(due=due, now=_NOW))
                case AnswerJob(head, order, answer):
                    record = _record_of(order)
                    decide(self._book(head, record), Batch(answers=[answer], now=_NOW))
        except (EnvelopeUnreadable, InvariantViolation):
            return

    def _book(self, head: PartitionHead, *open_orders: OpenOrderRecord) -> PartitionBook:
        state = PartitionState(head=head, open_orders=list(open_orders), recorded_at=_NOW)
        return PartitionBook(state, self._planner, self._policy)


def _batch_of(raw: tuple[bytes, ...]) -> Batch:
    """Raises EnvelopeUnreadable."""
    header = read_header(raw)
    if header.kind == KIND_PSP_WEBHOOK:
        return Batch(psp_events=[decode_event(raw, header)], now=_NOW)
    if header.kind in OPERATION_KINDS:
        # Without its payment it is only refused; but decoded it was.
        return Batch(operations=[decode_operation(raw, header)], now=_NOW)
    if header.kind == KIND_CHECKOUT:
        return Batch(checkouts=[decode_checkout(raw, header)], now=_NOW)
    return Batch(commands=[decode_fields(raw, header)], now=_NOW)


def _record_of(order: OpenOrder) -> OpenOrderRecord:
    values = order._asdict()
    return OpenOrderRecord(parked_reason=values.pop("parked"), has_timer=True, **values)


def _receive(incoming: BinaryIO) -> bytes | None:
    head = incoming.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    (length,) = LENGTH.unpack(head)
    body = incoming.read(length)
    return body if len(body) == length else None


def _answer(outgoing: BinaryIO, word: bytes) -> None:
    outgoing.write(word)
    outgoing.flush()
