"""Disputes at the sandbox PSP: one a charge, with one end, told by webhooks in terms of the port."""

from __future__ import annotations

import msgspec
import pytest

from payments.attempts import ResultClass
from payments.disputes import DisputeState
from psp.in_process import InProcessPsp
from psp.port import ChargeTerms
from psp.sandbox_webhooks import read_sandbox_webhook
from psp.simulator.records import ChangeRecord
from psp.simulator.webhooks import told_by
from psp.simulator.wire import ChangeKind
from psp.webhooks import WebhookUnreadable
from runtime.clock import SystemClock
from tests.queue_commands import a_command

COMMAND = a_command()


async def charged(psp: InProcessPsp) -> str:
    """The reference of a charge of 1,000 that was captured."""
    terms = ChargeTerms(1_000, "USD", "tok_approve", "m", COMMAND.idempotency_key, capture=True)
    answer = await psp.charge("key.1", psp.canonical_charge(terms), timeout_s=1.0)
    assert answer.reference is not None
    return answer.reference


@pytest.fixture
def psp() -> InProcessPsp:
    return InProcessPsp(name="simulator", account="default", seed=3, clock=SystemClock())


async def test_a_disputed_amount_is_not_refunded_until_it_is_won(psp: InProcessPsp) -> None:
    """What the buyer's bank holds can't be given back a second time."""
    reference = await charged(psp)
    await psp.dispute(reference, ChangeKind.DISPUTE, 700)
    refused = await psp.refund("r.1", reference, 400, timeout_s=1.0)
    assert (refused.result, refused.decline_code) == (
        ResultClass.DECLINED_FINAL,
        "amount_above_captured",
    )
    await psp.dispute(reference, ChangeKind.DISPUTE_WON)
    await psp.dispute(reference, ChangeKind.DISPUTE_LOST)
    assert (await psp.refund("r.2", reference, 1_000, timeout_s=1.0)).result is ResultClass.APPROVED
    (row,) = psp.oracle_rows()
    assert (row.refunded, row.charged_back, row.changed) == (1_000, 0, psp.totals().changes)


async def test_a_lost_dispute_is_in_the_record(psp: InProcessPsp) -> None:
    """The oracle tells what was charged back, once, whatever is said afterwards."""
    reference = await charged(psp)
    await psp.dispute(reference, ChangeKind.DISPUTE_LOST)
    await psp.dispute(reference, ChangeKind.DISPUTE)
    await psp.dispute(reference, ChangeKind.DISPUTE_LOST)
    await psp.dispute(reference, ChangeKind.DISPUTE_LOST)
    await psp.dispute(reference, ChangeKind.DISPUTE)
    (row,) = psp.oracle_rows()
    assert (row.captured, row.charged_back) == (1_000, 1_000)
    assert psp.totals().by_currency["USD"].charged_back == 1_000


@pytest.mark.parametrize(
    ("kind", "state"),
    [
        (ChangeKind.DISPUTE, DisputeState.OPENED),
        (ChangeKind.DISPUTE_WON, DisputeState.WON),
        (ChangeKind.DISPUTE_LOST, DisputeState.LOST),
    ],
)
async def test_a_webhook_of_a_dispute_is_read(
    psp: InProcessPsp, kind: ChangeKind, state: DisputeState
) -> None:
    """It names the charge's key, the dispute and its amount, and tells nothing of the key itself."""
    reference = await charged(psp)
    await psp.dispute(reference, ChangeKind.DISPUTE, 300)
    record = ChangeRecord(
        charge_key="key.1", kind=kind, key=None, amount=300, fingerprint=0, refusal=None, at_ms=1
    )
    body = told_by(psp.state, record)
    assert body is not None
    notice = read_sandbox_webhook(msgspec.json.encode(body))
    assert notice is not None
    assert notice.dispute is not None
    assert notice.psp_key == "key.1"
    assert notice.answer.result is ResultClass.UNKNOWN
    assert (notice.dispute.state, notice.dispute.amount_minor) == (state, 300)
    assert notice.dispute.dispute_id == reference.replace("ch_", "dp_", 1)
    broken = msgspec.structs.replace(body, data=msgspec.structs.replace(body.data, disputed=0))
    with pytest.raises(WebhookUnreadable):
        read_sandbox_webhook(msgspec.json.encode(broken))
