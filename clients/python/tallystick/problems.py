"""One class for each code of a problem. Written by a program from docs/problems.md; not by hand.

An answer with a code that is not here is an error of its family all the same.
"""

from __future__ import annotations

from collections.abc import Mapping

from tallystick import errors


class Declined(errors.PaymentFailed):
    """The payment was declined."""

    code = "declined"


class PspUnavailable(errors.PaymentFailed):
    """No payment service provider ran the payment."""

    code = "psp_unavailable"


class NotCharged(errors.PaymentFailed):
    """The payment was not charged."""

    code = "not_charged"


class OrderDiscarded(errors.PaymentFailed):
    """The order could not be run and was discarded."""

    code = "order_discarded"


class PaymentNotAuthorized(errors.StateConflict):
    """Nothing of the payment is authorized."""

    code = "payment_not_authorized"


class PaymentNotCaptured(errors.StateConflict):
    """Nothing of the payment was captured."""

    code = "payment_not_captured"


class CaptureExceedsAuthorized(errors.Refused):
    """More than is authorized can't be captured."""

    code = "capture_exceeds_authorized"


class RefundExceedsCaptured(errors.Refused):
    """More than was captured can't be refunded."""

    code = "refund_exceeds_captured"


class RequestMalformed(errors.BadRequest):
    """The request is not valid HTTP."""

    code = "request_malformed"


class JsonInvalid(errors.BadRequest):
    """The body is not valid JSON."""

    code = "json_invalid"


class JsonMemberRepeated(errors.BadRequest):
    """A JSON object names a member twice."""

    code = "json_member_repeated"


class FieldUnknown(errors.BadRequest):
    """A field is not known."""

    code = "field_unknown"


class FieldMissing(errors.BadRequest):
    """A required field is missing."""

    code = "field_missing"


class FieldTypeInvalid(errors.BadRequest):
    """A field has the wrong type."""

    code = "field_type_invalid"


class ParameterUnknown(errors.BadRequest):
    """A query parameter is not known."""

    code = "parameter_unknown"


class ParameterInvalid(errors.BadRequest):
    """A query parameter has an invalid value."""

    code = "parameter_invalid"


class IdempotencyKeyMissing(errors.BadRequest):
    """The Idempotency-Key header is missing."""

    code = "idempotency_key_missing"


class IdempotencyKeyInvalid(errors.BadRequest):
    """The Idempotency-Key is not a UUID."""

    code = "idempotency_key_invalid"


class VersionUnknown(errors.BadRequest):
    """The API version is not known."""

    code = "version_unknown"


class WebhookInvalid(errors.BadRequest):
    """The webhook can't be read."""

    code = "webhook_invalid"


class ApiKeyMissing(errors.AuthenticationFailed):
    """An API key is needed."""

    code = "api_key_missing"


class ApiKeyInvalid(errors.AuthenticationFailed):
    """The API key is not valid."""

    code = "api_key_invalid"


class MerchantKeyRequired(errors.PermissionDenied):
    """This needs a merchant's API key."""

    code = "merchant_key_required"


class OperatorKeyRequired(errors.PermissionDenied):
    """This needs an operator's API key."""

    code = "operator_key_required"


class WebhookSignatureInvalid(errors.PermissionDenied):
    """The webhook is not signed by its PSP."""

    code = "webhook_signature_invalid"


class WebhookTimestampInvalid(errors.PermissionDenied):
    """The webhook was signed too long ago."""

    code = "webhook_timestamp_invalid"


class NotFound(errors.ResourceMissing):
    """There is no such route."""

    code = "not_found"


class PaymentNotFound(errors.ResourceMissing):
    """There is no such payment."""

    code = "payment_not_found"


class CheckoutNotFound(errors.ResourceMissing):
    """There is no such checkout."""

    code = "checkout_not_found"


class WalletNotFound(errors.ResourceMissing):
    """There is no such wallet."""

    code = "wallet_not_found"


class DeadLetterNotFound(errors.ResourceMissing):
    """There is no such dead letter."""

    code = "dead_letter_not_found"


class RefundNotFound(errors.ResourceMissing):
    """There is no such refund."""

    code = "refund_not_found"


class DisputeNotFound(errors.ResourceMissing):
    """There is no such dispute."""

    code = "dispute_not_found"


class EventNotFound(errors.ResourceMissing):
    """There is no such event."""

    code = "event_not_found"


class WebhookEndpointNotFound(errors.ResourceMissing):
    """There is no such webhook endpoint."""

    code = "webhook_endpoint_not_found"


class WebhookDeliveryNotFound(errors.ResourceMissing):
    """There is no such delivery."""

    code = "webhook_delivery_not_found"


class PspNotFound(errors.ResourceMissing):
    """No PSP of that name sends webhooks."""

    code = "psp_not_found"


class MethodNotAllowed(errors.BadRequest):
    """The method is not allowed here."""

    code = "method_not_allowed"


class RequestTimeout(errors.BadRequest):
    """The request did not arrive in time."""

    code = "request_timeout"


class PaymentInProgress(errors.StateConflict):
    """The payment has not ended yet."""

    code = "payment_in_progress"


class SellerExists(errors.StateConflict):
    """A seller of that id exists already."""

    code = "seller_exists"


class DeadLetterClosed(errors.StateConflict):
    """The dead letter was dealt with otherwise."""

    code = "dead_letter_closed"


class TooManyEndpoints(errors.StateConflict):
    """There are as many webhook endpoints as there may be."""

    code = "too_many_endpoints"


class BodyTooLarge(errors.BadRequest):
    """The body is too large."""

    code = "body_too_large"


class ContentTypeUnsupported(errors.BadRequest):
    """The content type is not supported."""

    code = "content_type_unsupported"


class ExpectationFailed(errors.BadRequest):
    """The Expect header can't be met."""

    code = "expectation_failed"


class AmountTooSmall(errors.Refused):
    """The amount is too small."""

    code = "amount_too_small"


class AmountTooLarge(errors.Refused):
    """The amount is too large."""

    code = "amount_too_large"


class CurrencyNotSupported(errors.Refused):
    """The currency is not supported."""

    code = "currency_not_supported"


class SellerUnknown(errors.Refused):
    """The seller is not known."""

    code = "seller_unknown"


class SellerInvalid(errors.Refused):
    """The seller can't be created so."""

    code = "seller_invalid"


class FeeInvalid(errors.Refused):
    """The fee is not valid."""

    code = "fee_invalid"


class PaymentMethodInvalid(errors.Refused):
    """The payment method can't be used."""

    code = "payment_method_invalid"


class SandboxTokenRefused(errors.Refused):
    """A sandbox token can't be used with a live key."""

    code = "sandbox_token_refused"


class CaptureInvalid(errors.Refused):
    """The capture mode is not known."""

    code = "capture_invalid"


class SplitsInvalid(errors.Refused):
    """The charge can't be shared so."""

    code = "splits_invalid"


class OperationsExhausted(errors.Refused):
    """Too much was done to the payment already."""

    code = "operations_exhausted"


class CheckoutInvalid(errors.Refused):
    """The checkout can't be made so."""

    code = "checkout_invalid"


class ReturnUrlInvalid(errors.Refused):
    """The buyer can't be sent back to this URL."""

    code = "return_url_invalid"


class OrderIdReused(errors.Refused):
    """An order's id was used with another request."""

    code = "order_id_reused"


class DescriptionTooLong(errors.Refused):
    """The description is too long."""

    code = "description_too_long"


class ReasonInvalid(errors.Refused):
    """The reason can't be kept."""

    code = "reason_invalid"


class WebhookUrlInvalid(errors.Refused):
    """The URL can't receive webhooks."""

    code = "webhook_url_invalid"


class WebhookTypesInvalid(errors.Refused):
    """The types of events are not known."""

    code = "webhook_types_invalid"


class WebhookOverlapInvalid(errors.Refused):
    """Two secrets can't be valid for so long."""

    code = "webhook_overlap_invalid"


class ResendRangeInvalid(errors.Refused):
    """The range of deliveries is not valid."""

    code = "resend_range_invalid"


class MetadataInvalid(errors.Refused):
    """The metadata is over its limits."""

    code = "metadata_invalid"


class BuyerInvalid(errors.Refused):
    """The buyer's data is over its limits."""

    code = "buyer_invalid"


class TextInvalid(errors.Refused):
    """A text holds a character that can't be stored."""

    code = "text_invalid"


class PanNotAccepted(errors.Refused):
    """Card numbers are not accepted."""

    code = "pan_not_accepted"


class IdempotencyKeyReused(errors.Refused):
    """The key was used with another request."""

    code = "idempotency_key_reused"


class TooManyStreams(errors.TooManyRequests):
    """Too many streams are open."""

    code = "too_many_streams"


class InternalError(errors.ServerFailed):
    """Something went wrong on our side."""

    code = "internal_error"


class QueueBackpressure(errors.ServerFailed):
    """Too much is waiting; try again soon."""

    code = "queue_backpressure"


class StoreUnavailable(errors.ServerFailed):
    """A store can't be reached; try again soon."""

    code = "store_unavailable"


BY_CODE: Mapping[str, type[errors.ApiError]] = {
    "declined": Declined,
    "psp_unavailable": PspUnavailable,
    "not_charged": NotCharged,
    "order_discarded": OrderDiscarded,
    "payment_not_authorized": PaymentNotAuthorized,
    "payment_not_captured": PaymentNotCaptured,
    "capture_exceeds_authorized": CaptureExceedsAuthorized,
    "refund_exceeds_captured": RefundExceedsCaptured,
    "request_malformed": RequestMalformed,
    "json_invalid": JsonInvalid,
    "json_member_repeated": JsonMemberRepeated,
    "field_unknown": FieldUnknown,
    "field_missing": FieldMissing,
    "field_type_invalid": FieldTypeInvalid,
    "parameter_unknown": ParameterUnknown,
    "parameter_invalid": ParameterInvalid,
    "idempotency_key_missing": IdempotencyKeyMissing,
    "idempotency_key_invalid": IdempotencyKeyInvalid,
    "version_unknown": VersionUnknown,
    "webhook_invalid": WebhookInvalid,
    "api_key_missing": ApiKeyMissing,
    "api_key_invalid": ApiKeyInvalid,
    "merchant_key_required": MerchantKeyRequired,
    "operator_key_required": OperatorKeyRequired,
    "webhook_signature_invalid": WebhookSignatureInvalid,
    "webhook_timestamp_invalid": WebhookTimestampInvalid,
    "not_found": NotFound,
    "payment_not_found": PaymentNotFound,
    "checkout_not_found": CheckoutNotFound,
    "wallet_not_found": WalletNotFound,
    "dead_letter_not_found": DeadLetterNotFound,
    "refund_not_found": RefundNotFound,
    "dispute_not_found": DisputeNotFound,
    "event_not_found": EventNotFound,
    "webhook_endpoint_not_found": WebhookEndpointNotFound,
    "webhook_delivery_not_found": WebhookDeliveryNotFound,
    "psp_not_found": PspNotFound,
    "method_not_allowed": MethodNotAllowed,
    "request_timeout": RequestTimeout,
    "payment_in_progress": PaymentInProgress,
    "seller_exists": SellerExists,
    "dead_letter_closed": DeadLetterClosed,
    "too_many_endpoints": TooManyEndpoints,
    "body_too_large": BodyTooLarge,
    "content_type_unsupported": ContentTypeUnsupported,
    "expectation_failed": ExpectationFailed,
    "amount_too_small": AmountTooSmall,
    "amount_too_large": AmountTooLarge,
    "currency_not_supported": CurrencyNotSupported,
    "seller_unknown": SellerUnknown,
    "seller_invalid": SellerInvalid,
    "fee_invalid": FeeInvalid,
    "payment_method_invalid": PaymentMethodInvalid,
    "sandbox_token_refused": SandboxTokenRefused,
    "capture_invalid": CaptureInvalid,
    "splits_invalid": SplitsInvalid,
    "operations_exhausted": OperationsExhausted,
    "checkout_invalid": CheckoutInvalid,
    "return_url_invalid": ReturnUrlInvalid,
    "order_id_reused": OrderIdReused,
    "description_too_long": DescriptionTooLong,
    "reason_invalid": ReasonInvalid,
    "webhook_url_invalid": WebhookUrlInvalid,
    "webhook_types_invalid": WebhookTypesInvalid,
    "webhook_overlap_invalid": WebhookOverlapInvalid,
    "resend_range_invalid": ResendRangeInvalid,
    "metadata_invalid": MetadataInvalid,
    "buyer_invalid": BuyerInvalid,
    "text_invalid": TextInvalid,
    "pan_not_accepted": PanNotAccepted,
    "idempotency_key_reused": IdempotencyKeyReused,
    "too_many_streams": TooManyStreams,
    "internal_error": InternalError,
    "queue_backpressure": QueueBackpressure,
    "store_unavailable": StoreUnavailable,
}
