"""Logs: JSON lines, without card numbers and secrets."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from runtime.logs import (
    CARD_NUMBER_REMOVED,
    SECRET_REMOVED,
    TEXT_CHARACTERS_MAX,
    configure_logs,
    get_logger,
    scrub_text,
)

PAN = "4111 1111 1111 1111"
API_KEY = "sk_test_aaaaaaaaaaaa_bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    written = io.StringIO()
    configure_logs(process_name="gateway-0", stream=written)
    yield written
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


def _lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_json_with_its_context(stream: io.StringIO) -> None:
    """Each event is one JSON object that says when, which process, which part and how bad."""
    with structlog.contextvars.bound_contextvars(partition_index=3):
        get_logger("gateway.test").info("batch_flushed", count=2, is_late=False)
    get_logger("gateway.test").debug("too_fine")
    (line,) = _lines(stream)
    assert line.pop("at").endswith("Z")
    assert line == {
        "event": "batch_flushed",
        "level": "info",
        "process": "gateway-0",
        "component": "gateway.test",
        "partition_index": 3,
        "count": 2,
        "is_late": False,
    }


@pytest.mark.parametrize(
    "value",
    [PAN, f"card {PAN} of", 4111111111111111, {"deep": [{"er": PAN}]}, {PAN: 1}, (PAN,), {PAN}],
)
def test_card_numbers_never_reach_a_line(stream: io.StringIO, value: object) -> None:
    """A card number is removed wherever it stands, and no digit of it stays."""
    get_logger("test").warning("something", value=value)
    assert "1111" not in stream.getvalue()
    assert CARD_NUMBER_REMOVED in stream.getvalue()


@pytest.mark.parametrize(
    ("fields", "secret"),
    [
        ({"payment_method": "tok_approve"}, "tok_approve"),
        ({"nested": {"password": "hunter2"}}, "hunter2"),
        ({"note": f"with {API_KEY}"}, "bbbbbbbb"),
        ({"dsn": "postgresql://tally:hunter2@[::1]:5432/tally"}, "hunter2"),
        ({"note": "whsec_c2VjcmV0"}, "c2VjcmV0"),
    ],
)
def test_secrets_never_reach_a_line(
    stream: io.StringIO, fields: dict[str, object], secret: str
) -> None:
    """Secrets are removed by their field's name or by their form."""
    get_logger("test").warning("something", **fields)
    assert secret not in stream.getvalue()
    assert SECRET_REMOVED in stream.getvalue()


def test_tracebacks_are_scrubbed_too(stream: io.StringIO) -> None:
    """An exception's message is no way around the scrubber."""
    try:
        raise ValueError(f"bad key {API_KEY}")
    except ValueError:
        get_logger("test").error("failed", exc_info=True)
    (line,) = _lines(stream)
    assert "ValueError" in line["exception"]
    assert API_KEY not in line["exception"]


def test_libraries_come_out_the_same_way(stream: io.StringIO) -> None:
    """What libraries log is JSON and scrubbed, from warnings on."""
    logging.getLogger("aiohttp.server").warning("got %s", PAN)
    logging.getLogger("asyncio").info("chatter")
    (line,) = _lines(stream)
    assert line["event"] == CARD_NUMBER_REMOVED
    assert line["process"] == "gateway-0"


def test_a_long_text_is_cut() -> None:
    """A document in a log line is cut, with its length told."""
    assert len(scrub_text("x" * 100_000)) < TEXT_CHARACTERS_MAX + 40


def test_a_cycle_ends(stream: io.StringIO) -> None:
    """A value that contains itself is cut, not followed."""
    value: list[object] = []
    value.append(value)
    get_logger("test").warning("something", value=value)
    assert len(_lines(stream)) == 1


def test_an_unknown_level_is_refused() -> None:
    """A misspelt level stops the start instead of silencing the process."""
    with pytest.raises(ValueError, match="loud"):
        configure_logs(process_name="x", level="loud")
