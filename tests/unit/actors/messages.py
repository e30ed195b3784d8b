"""What owners' inboxes are filled with in tests."""

from __future__ import annotations

from datetime import datetime

from payments.attempts import Attempt, PspAnswer, ResultClass
from payments.open_order import CallAnswer, PspCall
from payments.rows import TimerKind
from storage.queue_messages import message_of
from storage.queue_ports import Message
from tests.queue_commands import an_entry
from tests.scenario import START


def a_message(number: int = 0, *, partition_index: int = 0) -> Message:
    """A message as read, with its number as its stream id."""
    return message_of(
        an_entry(partition_index).fields,
        partition_index=partition_index,
        stream_id=f"{number}-0",
        generation=1,
        read_at_s=0.0,
    )


def an_answer(order_no: int, *, partition_index: int = 0) -> CallAnswer:
    """An unknown answer to an order's first attempt."""
    return CallAnswer(
        partition_index=partition_index,
        order_no=order_no,
        step=TimerKind.SEND,
        attempt_no=1,
        answer=PspAnswer(result=ResultClass.UNKNOWN),
    )


def a_call(
    order_no: int,
    *,
    partition_index: int = 0,
    psp: str = "psp",
    account: str = "main",
    step: TimerKind = TimerKind.SEND,
    send_before: datetime | None = None,
) -> PspCall:
    """A call of an order's first attempt."""
    return PspCall(
        send_before=send_before,
        partition_index=partition_index,
        order_no=order_no,
        step=step,
        attempt=Attempt(
            attempt_no=1,
            psp=psp,
            psp_account=account,
            psp_key=f"key-{order_no}",
            request=b"{}",
            epoch=1,
            created_at=START,
            is_tainted=False,
        ),
        psp_reference=None,
    )
