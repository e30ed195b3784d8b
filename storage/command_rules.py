"""What a command must fulfil to cross the queue: the same rules for writing and for reading it.

The gateway has refused bad requests long before, in words for people. These rules keep its own
mistakes, and those of gateways of other versions, out of the owners' books.
"""

from __future__ import annotations

import re
from functools import lru_cache

import msgspec

from payments.commands import HOSTED_METHOD, OperationCommand, PaymentCommand
from payments.currencies import EXPONENTS
from payments.fingerprint import FINGERPRINT_BYTES, SPLIT_VERSION, VERSION
from payments.identity import is_order_uuid, operation_uuid
from payments.money import AMOUNT_MINOR_MAX
from payments.splits import splits_refusal
from storage.sealing import DECODE_FAULTS

# What Postgres keeps merchant_no and seller_no in: integer.
NUMBER_MAX = 2**31 - 1
MERCHANT_ID_LENGTH_MAX = 64
PAYMENT_METHOD_LENGTH_MAX = 255
# The API's limits for one request.
DESCRIPTION_LENGTH_MAX = 500
REASON_LENGTH_MAX = 500
METADATA_KEY_COUNT_MAX = 50
METADATA_KEY_LENGTH_MAX = 40
METADATA_VALUE_LENGTH_MAX = 500
# What browsers and proxies take.
PAGE_URL_LENGTH_MAX = 2_048
# A checkout's id has 35.
PAGE_SESSION_LENGTH_MAX = 64
# A channel name: `reply:` and a gateway's id.
REPLY_TO_BYTES_MAX = 64

# Longer is malformed, whichever of the names it is.
_NAME_LENGTH_MAX = max(MERCHANT_ID_LENGTH_MAX, REPLY_TO_BYTES_MAX)

REPLY_TO = re.compile(b"[!-~]{0,%d}" % REPLY_TO_BYTES_MAX)
_MERCHANT_ID = re.compile(f"[a-zA-Z0-9_.-]{{1,{MERCHANT_ID_LENGTH_MAX}}}")
_API_VERSION = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}")

_metadata_decoder = msgspec.json.Decoder(dict[str, str])
_object_decoder = msgspec.json.Decoder(dict[str, object])


def problem_of(command: PaymentCommand) -> str | None:
    """Return the first rule that a command breaks, or None. The same for writing and reading."""
    numbers_fit = 1 <= command.merchant_no <= NUMBER_MAX and 1 <= command.seller_no <= NUMBER_MAX
    if not numbers_fit:
        return f"merchant_no or seller_no is outside 1..{NUMBER_MAX}"
    if not 1 <= command.amount_minor <= AMOUNT_MINOR_MAX:
        return f"amount_minor is outside 1..{AMOUNT_MINOR_MAX}"
    if not 0 <= command.fee_minor <= command.amount_minor:
        return "fee_minor is outside 0..amount_minor"
    if command.currency not in EXPONENTS:
        return "currency is not one of ISO 4217"
    # Of a newer gateway's version: comparing it would stop the partition, so it is set aside.
    version = VERSION if command.splits is None else SPLIT_VERSION
    if len(command.fingerprint) != FINGERPRINT_BYTES or command.fingerprint[0] != version:
        return f"fingerprint is not {FINGERPRINT_BYTES} bytes of version {version}"
    if command.splits is not None and (problem := _problem_of_splits(command)) is not None:
        return problem
    problem = problem_of_names(command.merchant_id, command.api_version, command.reply_to)
    if problem is not None:
        return problem
    # Identity is derived, so a payload under another order's key can't be charged.
    if not is_order_uuid(
        command.order_uuid, command.merchant_id, command.mode, command.idempotency_key
    ):
        return "order_uuid does not follow from merchant, mode and idempotency_key"
    return _problem_of_texts(command) or _problem_of_page(command)


def _problem_of_splits(command: PaymentCommand) -> str | None:
    splits = command.splits or ()
    if any(not 1 <= split.seller_no <= NUMBER_MAX for split in splits):
        return f"a split's seller_no is outside 1..{NUMBER_MAX}"
    if (refusal := splits_refusal(splits, command.amount_minor)) is not None:
        return f"{refusal.path} {refusal.reason}"
    if sum(split.fee_minor for split in splits) != command.fee_minor:
        return "fee_minor is not the sum of the splits' fees"
    return None


def problem_of_names(merchant_id: str, api_version: str, reply_to: str) -> str | None:
    """Return what is wrong with the names that every command carries, or None."""
    return _problem_of_names(
        merchant_id[: _NAME_LENGTH_MAX + 1],
        api_version[: _NAME_LENGTH_MAX + 1],
        reply_to[: _NAME_LENGTH_MAX + 1],
    )


def problem_of_page_url(url: str) -> str | None:
    """Return what is wrong with a URL that a PSP's page leads back to, or None."""
    is_plain = url.isascii() and url.isprintable() and " " not in url
    if not 1 <= len(url) <= PAGE_URL_LENGTH_MAX or not is_plain:
        return f"a URL is not 1..{PAGE_URL_LENGTH_MAX} printable ASCII characters"
    return None


def _problem_of_page(command: PaymentCommand) -> str | None:
    page = command.hosted
    if (page is not None) != (command.payment_method == HOSTED_METHOD):
        return f"a page's URLs and the payment method {HOSTED_METHOD} go together"
    if page is None:
        return None
    if not (1 <= len(page.session) <= PAGE_SESSION_LENGTH_MAX and page.session.isascii()):
        return "a page's session is malformed"
    return problem_of_page_url(page.success_url) or problem_of_page_url(page.cancel_url)


def problem_of_operation(command: OperationCommand) -> str | None:
    """Return the first rule that an operation breaks, or None. The same for writing and reading."""
    if not 1 <= command.merchant_no <= NUMBER_MAX:
        return f"merchant_no is outside 1..{NUMBER_MAX}"
    if command.amount_minor is not None and not 1 <= command.amount_minor <= AMOUNT_MINOR_MAX:
        return f"amount_minor is outside 1..{AMOUNT_MINOR_MAX}"
    if len(command.fingerprint) != FINGERPRINT_BYTES or command.fingerprint[0] != VERSION:
        return f"fingerprint is not {FINGERPRINT_BYTES} bytes of version {VERSION}"
    problem = _problem_of_names(
        command.merchant_id[: _NAME_LENGTH_MAX + 1],
        command.api_version[: _NAME_LENGTH_MAX + 1],
        command.reply_to[: _NAME_LENGTH_MAX + 1],
    )
    if problem is not None:
        return problem
    if not command.kind.is_of_storefronts:
        return "kind is not a storefront's to ask for"
    if command.reason is not None and len(command.reason) > REASON_LENGTH_MAX:
        return f"reason is over {REASON_LENGTH_MAX} characters"
    # Identity is derived twice, so nothing can be done to another merchant's payment.
    if not is_order_uuid(
        command.payment_uuid, command.merchant_id, command.mode, command.payment_key
    ):
        return "payment_uuid does not follow from merchant, mode and payment_key"
    derived = operation_uuid(command.payment_uuid, command.kind.wire, command.idempotency_key)
    if command.operation_uuid != derived:
        return "operation_uuid does not follow from payment, kind and idempotency_key"
    return None


# The same few merchants and gateways write nearly all commands. What is longer than any name of theirs
# was cut before it gets here: it stays malformed, and can't fill the memory.
@lru_cache(maxsize=4_096)
def _problem_of_names(merchant_id: str, api_version: str, reply_to: str) -> str | None:
    if _MERCHANT_ID.fullmatch(merchant_id) is None:
        return "merchant_id is malformed"
    if _API_VERSION.fullmatch(api_version) is None:
        return "api_version is not a date"
    if REPLY_TO.fullmatch(reply_to.encode(errors="replace")) is None:
        return f"reply_to is not printable or over {REPLY_TO_BYTES_MAX} bytes"
    return None


def _problem_of_texts(command: PaymentCommand) -> str | None:
    if not 1 <= len(command.payment_method) <= PAYMENT_METHOD_LENGTH_MAX:
        return f"payment_method is not 1..{PAYMENT_METHOD_LENGTH_MAX} characters"
    if command.description is not None and len(command.description) > DESCRIPTION_LENGTH_MAX:
        return f"description is over {DESCRIPTION_LENGTH_MAX} characters"
    try:
        if command.buyer_json is not None:
            _object_decoder.decode(command.buyer_json)
    except DECODE_FAULTS:
        return "buyer_json is no JSON object"
    return problem_of_metadata(command.metadata_json)


def problem_of_metadata(metadata_json: str | None) -> str | None:
    """Return what is wrong with metadata, or None."""
    if metadata_json is None:
        return None
    try:
        metadata = _metadata_decoder.decode(metadata_json)
    except DECODE_FAULTS:
        return "metadata_json is no JSON object of strings"
    if len(metadata) > METADATA_KEY_COUNT_MAX:
        return f"metadata has over {METADATA_KEY_COUNT_MAX} keys"
    for key, value in metadata.items():
        if len(key) > METADATA_KEY_LENGTH_MAX or len(value) > METADATA_VALUE_LENGTH_MAX:
            return "a metadata key or value is too long"
        # Postgres' jsonb refuses it, and one such row would fail the flush of all its neighbours.
        if "\0" in key or "\0" in value:
            return "metadata holds a zero character"
    return None
