"""Which PSP accounts exist, and how each is reached."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from yarl import URL

PspKind = Literal["simulator", "in_process"]

CONNECTIONS_MAX = 256
"""Connections to one PSP from one process. At least the owner's bound on calls in flight: a call
that waits a second for a free one ends as not sent.
"""


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
    """Where a simulator listens, such as ``http://127.0.0.1:8100``; None for one in process."""
    account: str = "default"
    seed: int = 1
    """What an in-process PSP draws by; a simulator has its own."""
    connections_max: int = CONNECTIONS_MAX

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
        if self.url is None:
            raise PspSettingsInvalid(self.name, "a simulator needs its url")
        url = URL(self.url)
        if url.scheme not in ("http", "https") or not url.host or url.query or url.user:
            raise PspSettingsInvalid(self.name, f"{self.url!r} is no plain http(s) URL")
