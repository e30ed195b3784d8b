"""The configuration's reference, held to the code."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import msgspec
import pytest

from payments.retry_policy import Strategy
from runtime.config import (
    ActorsConfig,
    DeploymentConfig,
    GatewayConfig,
    PostgresConfig,
    RayConfig,
    RedisConfig,
    RequestLogConfig,
    SecretsConfig,
    ShardConfig,
    WebhooksConfig,
)
from runtime.psp_config import BreakerConfig, PspConfig, RetryConfig, RuleConfig
from runtime.routing_config import RoutingConfig, RoutingRuleConfig

DOCUMENT = Path(__file__).parents[3] / "docs" / "configuration.md"

SECTIONS: dict[str, type[msgspec.Struct]] = {
    "[deployment]": DeploymentConfig,
    "[postgres]": PostgresConfig,
    "[[postgres.shards]]": ShardConfig,
    "[redis]": RedisConfig,
    "[gateway]": GatewayConfig,
    "[actors]": ActorsConfig,
    "[[psps]]": PspConfig,
    "[routing]": RoutingConfig,
    "[[routing.rules]]": RoutingRuleConfig,
    "[retry]": RetryConfig,
    "[retry.not_sent]": RuleConfig,
    "[breaker]": BreakerConfig,
    "[request_log]": RequestLogConfig,
    "[webhooks]": WebhooksConfig,
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
        found[field.name] = "required" if is_required else f"`{_as_toml(default)}`"
    return found


def _as_toml(default: object) -> str:
    """A default as one would write it into the file."""
    if isinstance(default, RuleConfig):
        bare = msgspec.to_builtins(RuleConfig(strategy=Strategy.IMMEDIATE))
        said = msgspec.to_builtins(default)
        keys = [key for key in said if key == "strategy" or said[key] != bare[key]]
        return f"{{{', '.join(f'{key} = {json.dumps(said[key])}' for key in keys)}}}"
    return json.dumps(default)


def test_a_rule_of_the_page_is_read_as_it_stands() -> None:
    """What the page gives as defaults can be copied into the file, and says the same."""
    for name, default in documented("[retry]").items():
        table = tomllib.loads(f"[retry]\n{name} = {default.strip('`')}")
        read = msgspec.convert(table["retry"], RetryConfig)
        assert getattr(read, name) == getattr(RetryConfig(), name)


@pytest.mark.parametrize("section", SECTIONS)
def test_every_key_is_documented_with_its_default(section: str) -> None:
    """The page names exactly the keys that the code knows, and their defaults."""
    assert documented(section) == defined(SECTIONS[section])


def test_every_section_is_documented() -> None:
    """No section of the page is unknown to the code, and none is missing."""
    text = DOCUMENT.read_text(encoding="utf-8")
    assert re.findall(r"^## `(\[.+\])`$", text, re.MULTILINE) == list(SECTIONS)
