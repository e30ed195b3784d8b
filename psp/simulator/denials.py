"""How the sandbox PSP speaks against the truth about a charge that it made. Pure.

A charge that is denied is in the oracle all the same: only the answers about its key are wrong, some for
a while, some for ever.
"""

from __future__ import annotations

from psp.simulator.charges import Charge
from psp.simulator.replies import DID_NOT_RUN, FAILED, IN_PROGRESS, NOT_FOUND, Reply
from psp.simulator.wire import Denial

_SENT = {
    Denial.REFUSED: DID_NOT_RUN,
    Denial.IN_PROGRESS: IN_PROGRESS,
    Denial.FAILED: FAILED,
}
_ASKED = {
    Denial.REFUSED: DID_NOT_RUN,
    Denial.IN_PROGRESS: IN_PROGRESS,
    Denial.NOT_FOUND: NOT_FOUND,
}


def denied_send(charge: Charge, now_ms: int) -> Reply | None:
    """What a second send of the charge's key is told against the truth; None for the truth."""
    return _SENT.get(charge.denial) if charge.refuses_until_ms > now_ms else None


def denied_query(charge: Charge, now_ms: int) -> Reply | None:
    """What a question about the charge is told against the truth; None for the truth."""
    return _ASKED.get(charge.denial) if charge.refuses_until_ms > now_ms else None
