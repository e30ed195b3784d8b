"""The refusals that bad requests must get: code, status and ``param``, as the API documents them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Refusal:
    """One documented answer. ``param`` is None where the problem names no place."""

    status: int
    code: str
    param: str | None = None

    def at(self, param: str) -> Refusal:
        """Return the same refusal, of another place."""
        return Refusal(self.status, self.code, param)

    def __str__(self) -> str:
        return f"{self.status} {self.code}" + ("" if self.param is None else f" at {self.param}")


REQUEST_MALFORMED = Refusal(400, "request_malformed")
JSON_INVALID = Refusal(400, "json_invalid", "$")
JSON_MEMBER_REPEATED = Refusal(400, "json_member_repeated", "$")
FIELD_UNKNOWN = Refusal(400, "field_unknown", "$")
FIELD_MISSING = Refusal(400, "field_missing", "$")
FIELD_TYPE_INVALID = Refusal(400, "field_type_invalid", "$")
PARAMETER_UNKNOWN = Refusal(400, "parameter_unknown", "query")
PARAMETER_INVALID = Refusal(400, "parameter_invalid", "query")
KEY_MISSING = Refusal(400, "idempotency_key_missing", "header:Idempotency-Key")
KEY_INVALID = Refusal(400, "idempotency_key_invalid", "header:Idempotency-Key")
VERSION_UNKNOWN = Refusal(400, "version_unknown", "header:Tallystick-Version")
API_KEY_MISSING = Refusal(401, "api_key_missing", "header:Authorization")
API_KEY_INVALID = Refusal(401, "api_key_invalid", "header:Authorization")
WEBHOOK_SIGNATURE_INVALID = Refusal(403, "webhook_signature_invalid", "header:webhook-signature")
NOT_FOUND = Refusal(404, "not_found")
PSP_NOT_FOUND = Refusal(404, "psp_not_found")
PAYMENT_NOT_FOUND = Refusal(404, "payment_not_found")
WALLET_NOT_FOUND = Refusal(404, "wallet_not_found")
METHOD_NOT_ALLOWED = Refusal(405, "method_not_allowed")
REQUEST_TIMEOUT = Refusal(408, "request_timeout")
BODY_TOO_LARGE = Refusal(413, "body_too_large")
CONTENT_TYPE_UNSUPPORTED = Refusal(415, "content_type_unsupported", "header:Content-Type")
EXPECTATION_FAILED = Refusal(417, "expectation_failed")
AMOUNT_TOO_SMALL = Refusal(422, "amount_too_small", "$.amount")
AMOUNT_TOO_LARGE = Refusal(422, "amount_too_large", "$.amount")
CURRENCY_NOT_SUPPORTED = Refusal(422, "currency_not_supported", "$.currency")
SELLER_UNKNOWN = Refusal(422, "seller_unknown", "$.seller")
SELLER_INVALID = Refusal(422, "seller_invalid", "$.id")
FEE_INVALID = Refusal(422, "fee_invalid", "$.fee")
PAYMENT_METHOD_INVALID = Refusal(422, "payment_method_invalid", "$.payment_method")
CAPTURE_INVALID = Refusal(422, "capture_invalid", "$.capture")
DESCRIPTION_TOO_LONG = Refusal(422, "description_too_long", "$.description")
METADATA_INVALID = Refusal(422, "metadata_invalid", "$.metadata")
BUYER_INVALID = Refusal(422, "buyer_invalid", "$.buyer")
TEXT_INVALID = Refusal(422, "text_invalid", "$.description")
PAN_NOT_ACCEPTED = Refusal(422, "pan_not_accepted")
