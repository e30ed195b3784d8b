"""What a charge is registered with when its buyer pays on a page of the PSP."""

from __future__ import annotations

from typing import Annotated

import msgspec

URL_CHARACTERS_MAX = 2_048
"""What browsers and proxies take."""

PageUrl = Annotated[str, msgspec.Meta(pattern="^https?://[!-~]+$", max_length=URL_CHARACTERS_MAX)]


class HostedTerms(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where the page leads back to, and which charges of a merchant it shows together."""

    success_url: PageUrl
    cancel_url: PageUrl
    session: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    description: str = ""
    """In the log alone: what the page calls the charge."""
