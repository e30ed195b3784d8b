"""``tally payments list``: what it shows of payments that have not ended."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest

from ops.commands import open_payments
from ops.context import CommandContext
from ops.exit_codes import ExitCode
from payments.identity import psp_key
from storage.open_payments import OpenPayment
from tests.unit.ops.test_cli import run

PAYMENT = OpenPayment(
    order_uuid=UUID(int=5),
    idempotency_key=UUID(int=6),
    merchant_id="mrc_x",
    amount_minor=1999,
    currency="USD",
    status="processing",
    is_outcome_known=False,
    attempt_no=2,
    psp="simulator",
    next_retry_at=None,
    accepted_at=datetime(2026, 1, 1, tzinfo=UTC),
)


def test_without_a_stack_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It asks the books of a running stack."""
    assert run(monkeypatch, tmp_path, "payments", "list", "--unknown") == ExitCode.NOT_RUNNING


@pytest.mark.parametrize("option", [(), ("--json",)])
def test_unknown_payments_are_listed_with_every_id(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    option: tuple[str, ...],
) -> None:
    """A line has the key that `show` takes, and the order that other lists name; JSON the PSP's key."""
    asked: list[bool] = []

    async def read(
        _context: CommandContext, *, is_unknown: bool, limit: int
    ) -> tuple[Sequence[OpenPayment], int]:
        asked.append(is_unknown)
        return [PAYMENT][:limit], 7

    monkeypatch.setattr(CommandContext, "running_state", lambda _context: None)
    monkeypatch.setattr(open_payments, "_read", read)
    assert run(monkeypatch, tmp_path, "payments", "list", "--unknown", *option) == ExitCode.OK
    text = capsys.readouterr().out
    assert asked == [True]
    for part in (UUID(int=6), UUID(int=5), "mrc_x", "unknown", 7):
        assert str(part) in text
    assert (psp_key(UUID(int=5), 2) in text) == bool(option)
    assert "None" not in text
