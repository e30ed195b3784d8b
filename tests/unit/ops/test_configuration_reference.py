"""The configuration's reference, held to the code."""

from __future__ import annotations

import json
import re
from pathlib import Path

import msgspec
import pytest

from runtime.config import (
    ActorsConfig,
    DeploymentConfig,
    GatewayConfig,
    PostgresConfig,
    PspConfig,
    RayConfig,
    RedisConfig,
    SecretsConfig,
    ShardConfig,
)

DOCUMENT = Path(__file__).parents[3] / "docs" / "configuration.md"

SECTIONS: dict[str, type[msgspec.Struct]] = {
    "[deployment]": DeploymentConfig,
    "[postgres]": PostgresConfig,
    "[[postgres.shards]]": ShardConfig,
    "[redis]": RedisConfig,
    "[gateway]": GatewayConfig,
    "[actors]": ActorsConfig,
    "[[psps]]": PspConfig,
    "[ray]": RayConfig,
    "[secrets]": SecretsConfig,
}

_ROW = re.compile(r"^\| `([a-z_]+)` \| (.+?) \| (.+) \|$", re.MULTILINE)


def documented(section: str) -> dict[str, str]:
    """The section's keys and defaults, as the page gives them."""
    text = DOCUMENT.read_text(encoding="utf-8")
    body = text.split(f"## `{section}`\n", 1)[1].split("\n## ", 1)[0]
    return {key: default for key, default, _ in _ROW.findall(body)}


def defined(struct: type[msgspec.Struct]) -> dict[str, str]:
    """The same from the code."""
    found: dict[str, str] = {}
    for field in msgspec.structs.fields(struct):
        default = field.default
        if field.default_factory is not msgspec.NODEFAULT:
            default = field.default_factory()
        is_required = default is msgspec.NODEFAULT
        found[field.name] = "required" if is_required else f"`{json.dumps(default)}`"
    return found


@pytest.mark.parametrize("section", SECTIONS)
def test_every_key_is_documented_with_its_default(section: str) -> None:
    """The page names exactly the keys that the code knows, and their defaults."""
    assert documented(section) == defined(SECTIONS[section])


def test_every_section_is_documented() -> None:
    """No section of the page is unknown to the code, and none is missing."""
    text = DOCUMENT.read_text(encoding="utf-8")
    assert re.findall(r"^## `(\[.+\])`$", text, re.MULTILINE) == list(SECTIONS)
