"""Lua scripts as package files, called by their digest."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisScript:
    """One script: its source, and the SHA-1 that the server knows it by once it is loaded."""

    source: bytes
    sha: bytes

    @classmethod
    def from_package(cls, name: str) -> RedisScript:
        """Read ``storage/lua/<name>.lua``."""
        source = files("storage").joinpath("lua", f"{name}.lua").read_bytes()
        # Redis' own name for a script; nothing secret hangs on it.
        digest = hashlib.sha1(source, usedforsecurity=False).hexdigest()
        return cls(source=source, sha=digest.encode())
