"""What a client is told once: where the gateway is, whose key it uses, how it tries."""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import urlsplit

from tallystick.keys import KeyStore
from tallystick.retrying import RetryPolicy

__version__ = "0.1.0"

API_VERSION = "2026-11-01"
"""The version of the API that this client speaks."""

# Where Tallystick.from_environment looks.
URL_VARIABLE = "TALLYSTICK_URL"
KEY_VARIABLE = "TALLYSTICK_API_KEY"

_API_KEY = re.compile(r"[sr]k_(test|live)_[!-~]{1,200}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Raises ValueError for what can't be. The API key never appears in its repr."""

    url: str
    api_key: str = field(repr=False)
    policy: RetryPolicy = field(default_factory=RetryPolicy)
    key_store: KeyStore | None = None
    is_plain_http_allowed: bool = False

    def __post_init__(self) -> None:
        if _API_KEY.fullmatch(self.api_key) is None:
            raise ValueError("api_key must be an sk_test_… or sk_live_… key")
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("url must be https://host[:port]")
        if parts.path.rstrip("/") or parts.query or parts.fragment or parts.username:
            raise ValueError("url must be https://host[:port], and nothing behind it")
        if parts.scheme == "http" and not (
            self.is_plain_http_allowed or _is_loopback(parts.hostname)
        ):
            raise ValueError(
                "url must be https: over plain http everybody on the way reads the API key"
                " (is_plain_http_allowed=True, where the way is your own)"
            )

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], **more: object) -> Options:
        """Read the gateway's URL and the API key. Raises ValueError for one that is missing."""
        for name in (URL_VARIABLE, KEY_VARIABLE):
            if not environment.get(name):
                raise ValueError(f"{name} is not set")
        return cls(url=environment[URL_VARIABLE], api_key=environment[KEY_VARIABLE], **more)  # type: ignore[arg-type]

    def headers(self) -> dict[str, str]:
        """The headers of every request."""
        return {
            "Authorization": f"Bearer {self.api_key}",
            "Tallystick-Version": API_VERSION,
            "User-Agent": f"tallystick-python/{__version__} Python/{platform.python_version()}",
        }


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
