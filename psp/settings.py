"""Which PSP accounts exist, and how each is reached."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from yarl import URL

PspKind = Literal["simulator", "in_process", "stripe"]

CONNECTIONS_MAX = 256
"""Connections to one PSP from one process. At least the owner's bound on calls in flight: a call
that waits a second for a free one ends as not sent.
"""


# Secret keys of Stripe, and its restricted ones, say by their beginning whether money is real.
_TEST_KEYS = ("sk_test_", "rk_test_")
_LIVE_KEYS = ("sk_live_", "rk_live_")

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class PspSettingsInvalid(ValueError):
    """The settings of a PSP contradict themselves. Carries its name."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"PSP {name!r}: {reason}")
        self.name = name
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class PspSettings:
    """One account at one PSP. Raises PspSettingsInvalid where the fields don't fit together."""

    name: str
    kind: PspKind
    url: str | None = None
    """Where it is asked, such as ``http://127.0.0.1:8100``; None for one in process."""
    account: str = "default"
    seed: int = 1
    """What an in-process PSP draws by; a simulator has its own."""
    connections_max: int = CONNECTIONS_MAX
    secret_key: str = field(default="", repr=False)
    """What Stripe is asked with; shown nowhere."""
    is_live: bool = False
    """Whether Stripe's money is real."""
    return_url: str = ""
    """Where Stripe sends a buyer's browser after 3-D Secure."""

    def __post_init__(self) -> None:
        if not self.name:
            raise PspSettingsInvalid(self.name, "a PSP needs a name")
        if self.kind not in get_args(PspKind):
            raise PspSettingsInvalid(self.name, f"unknown kind {self.kind!r}")
        if self.connections_max < 1:
            raise PspSettingsInvalid(self.name, "connections_max has to be at least 1")
        if self.kind == "in_process":
            if self.url is not None:
                raise PspSettingsInvalid(self.name, "an in-process PSP has no url")
            return
        if self.kind == "stripe":
            self._check_stripe()
        if self.url is None:
            raise PspSettingsInvalid(self.name, f"a PSP of kind {self.kind} needs its url")
        if not _is_plain(self.url):
            raise PspSettingsInvalid(self.name, f"{self.url!r} is no plain http(s) URL")

    def _check_stripe(self) -> None:
        prefixes = _LIVE_KEYS if self.is_live else _TEST_KEYS
        if not self.secret_key.startswith(prefixes) or not _is_header(self.secret_key):
            mode = "live" if self.is_live else "test"
            raise PspSettingsInvalid(
                self.name,
                f"its secret key is none of {mode} mode: it begins with none of {prefixes}",
            )
        if self.return_url and not self.return_url.startswith(("https://", "http://")):
            raise PspSettingsInvalid(self.name, f"return_url {self.return_url!r} is no URL")
        is_remote = self.url is not None and URL(self.url).host not in _LOOPBACK
        if self.url is not None and is_remote and URL(self.url).scheme != "https":
            # The secret key would cross the network for all to read.
            raise PspSettingsInvalid(self.name, f"{self.url!r} has to be https")


def _is_plain(text: str) -> bool:
    url = URL(text)
    is_http = url.scheme in ("http", "https")
    return is_http and bool(url.host) and not url.query and not url.user


def _is_header(text: str) -> bool:
    return text.isascii() and text.isprintable() and " " not in text
