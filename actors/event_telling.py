"""PSPs' events that a person has to look at: told once each, after their result is in the books."""

from __future__ import annotations

import structlog

from payments.decided import Decided
from payments.event_rows import EventVerdict

_log = structlog.get_logger(__name__)

_ODD = frozenset({EventVerdict.CONTRADICTS, EventVerdict.UNMATCHED})


def tell_odd_events(decided: Decided) -> None:
    """Log the events that contradict the books, and those whose order never came."""
    for row in decided.psp_event_results:
        if row.result in _ODD:
            _log.error(
                "psp_event_odd",
                result=EventVerdict(row.result).name.lower(),
                partition=row.partition_index,
                order=row.order_no,
                event_uuid=str(row.event_uuid),
                reason=row.detail,
            )
