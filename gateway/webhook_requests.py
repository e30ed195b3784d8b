"""What the routes of webhook endpoints and deliveries take."""

from __future__ import annotations

from typing import Annotated

import msgspec

from gateway.openapi.declarations import rule
from payments.event_types import EVERYTHING, TYPE_PATTERNS
from payments.webhook_targets import URL_CHARACTERS_MAX
from storage.webhook_ports import DeliveryState

# More patterns than there are types have no use.
TYPES_MAX = len(TYPE_PATTERNS)
# How long the secret before is valid beside a new one: a day for a deployment, a week at most.
OVERLAP_S_DEFAULT = 24 * 3600
OVERLAP_S_MAX = 7 * 24 * 3600
# What a range may name: what waits is tried anyway.
RESENT_STATES = (DeliveryState.DELIVERED, DeliveryState.DEAD)

_MOMENT = rule("RFC 3339 with an offset.", format="date-time")
_PATTERN = rule("One type, all of a kind of object, or all.", enum=sorted(TYPE_PATTERNS))


class EndpointRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """The body of ``POST /v1/webhook_endpoints``. Without types: all events."""

    url: Annotated[
        str,
        rule(
            "https, on a public address; http and this machine, too, in a sandbox.",
            maxLength=URL_CHARACTERS_MAX,
            # Further rules are about where it leads to, and told in the problem.
            pattern=(
                r"^https?://(?:[a-z][a-z0-9-]{0,30}[a-z0-9]\.){0,4}[a-z]{2,20}(?::[1-9][0-9]{0,3})?"
                r"(?:/[A-Za-z0-9._~-]{1,40}){0,6}/?$"
            ),
        ),
    ]
    types: Annotated[list[Annotated[str, _PATTERN]], rule(minItems=1, maxItems=TYPES_MAX)] = (
        msgspec.field(default_factory=lambda: [EVERYTHING])
    )


class RotationRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """The body of a rotation, which may be left out."""

    overlap_s: Annotated[int, rule("Seconds.", minimum=0, maximum=OVERLAP_S_MAX)] = (
        OVERLAP_S_DEFAULT
    )


class NothingRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """The body of what takes none: it may be left out, or be an empty object."""


class ResendRequest(
    msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True, rename={"since": "from"}
):
    """The body of a range: deliveries of events from a time up to another one."""

    since: Annotated[str, _MOMENT]
    to: Annotated[str, _MOMENT]
    state: (
        Annotated[str, rule("Both without it.", enum=[state.wire for state in RESENT_STATES])]
        | None
    ) = None
