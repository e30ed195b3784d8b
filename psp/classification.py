"""What an HTTP answer of the sandbox PSP means for an attempt. Pure.

The rule is one-sided: NOT_SENT, DECLINED_FINAL and CANCELED only where the PSP's own words prove
it. Everything that we don't recognize is UNKNOWN, which costs a query; a wrong proof costs a second
charge.
"""

from __future__ import annotations

import msgspec

from payments.attempts import PspAnswer, ResultClass
from psp.simulator.wire import UNREADABLE, AnswerBody

MESSAGE_CHARACTERS_MAX = 200
"""The port's bound on a message."""

REFERENCE_CHARACTERS_MAX = 255
"""References of the PSPs we know have at most 64; ledger rows hold this one for ever."""

CODE_CHARACTERS_MAX = 64
URL_CHARACTERS_MAX = 2_048
"""What browsers and proxies take; it also keeps an open order's row within a page."""

_APPROVED = frozenset({"captured", "authorized"})
_ANSWER = msgspec.json.Decoder(AnswerBody)


def classify_send(psp_key: str, http_status: int, body: bytes) -> PspAnswer:
    """Return what the answer to a charge, capture, void or refund means for its own key."""
    try:
        answer = _ANSWER.decode(body)
    except UNREADABLE:
        return unknown(f"unreadable answer, HTTP {http_status}")
    if answer.key is not None and answer.key != psp_key:
        return unknown("the answer is about another key")
    if not _fits_the_books(answer):
        return unknown("the answer holds a text that can't be kept")
    return _answered(_result(http_status, answer), answer, http_status)


def classify_query(psp_key: str, http_status: int, body: bytes) -> PspAnswer:
    """Return what the answer to a query or cancel means for the key that it asked about."""
    return of_another_request(classify_send(psp_key, http_status, body))


def _fits_the_books(answer: AnswerBody) -> bool:
    """Whether its texts can be stored: a PSP's oversized field must not stop a partition."""
    return (
        _fits(answer.reference, REFERENCE_CHARACTERS_MAX)
        and _fits(answer.decline_code, CODE_CHARACTERS_MAX)
        and _fits(answer.next_action_url, URL_CHARACTERS_MAX)
        and "\0" not in answer.message
    )


def _fits(text: str | None, characters_max: int) -> bool:
    return text is None or ("\0" not in text and len(text) <= characters_max)


def of_another_request(answer: PspAnswer) -> PspAnswer:
    """Return a query's or cancel's answer as it regards the charge.

    That the *question* was not sent proves nothing about the charge, which may well have been.
    """
    if answer.result is ResultClass.NOT_SENT:
        return answer._replace(result=ResultClass.UNKNOWN)
    return answer


def unknown(message: str, *, is_silent: bool = False) -> PspAnswer:
    return PspAnswer(
        result=ResultClass.UNKNOWN,
        message=message[:MESSAGE_CHARACTERS_MAX],
        is_silent=is_silent,
    )


def not_sent(message: str) -> PspAnswer:
    """The PSP was not reached."""
    return PspAnswer(
        result=ResultClass.NOT_SENT, message=message[:MESSAGE_CHARACTERS_MAX], is_silent=True
    )


def _result(http_status: int, answer: AnswerBody) -> ResultClass:
    is_about_key = answer.key is not None
    match http_status, answer.code:
        case 200, None if is_about_key and answer.object != "charge":
            return ResultClass.APPROVED
        case 200, None if is_about_key and answer.status in _APPROVED:
            return ResultClass.APPROVED
        case 202, None if is_about_key and answer.status == "requires_action":
            return ResultClass.REQUIRES_ACTION
        case 402, None if is_about_key and answer.decline_code is not None:
            return ResultClass.DECLINED_FINAL
        case 410, _ if is_about_key:
            return ResultClass.CANCELED
        case (429, _) | (503, "did_not_run") if is_about_key:
            return ResultClass.NOT_SENT
        case _:
            # Among them 500, both kinds of 409, 404, a 503 of some proxy on the way, and a refusal that names no
            # request: it may be the answer to another one, and this one may have run.
            return ResultClass.UNKNOWN


def _answered(result: ResultClass, answer: AnswerBody, http_status: int) -> PspAnswer:
    is_charge = answer.object == "charge"
    is_held = is_charge and answer.status == "authorized"
    message = answer.message or ("" if answer.key is not None else f"HTTP {http_status}")
    return PspAnswer.__new__(
        PspAnswer,
        result=result,
        reference=answer.reference,
        decline_code=answer.decline_code,
        message=message[:MESSAGE_CHARACTERS_MAX],
        # Of a change its own amount, not what its charge has come to.
        captured_minor=answer.captured if is_charge else answer.amount or 0,
        authorized_minor=answer.amount or 0 if is_held else 0,
        currency=answer.currency,
        next_action_url=answer.next_action_url,
        effective_at=answer.at,
        retry_after_s=answer.retry_after_s,
    )
