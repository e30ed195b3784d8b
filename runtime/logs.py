"""Logs: one JSON object a line on stderr, scrubbed of card numbers and secrets.

Events have snake_case names and key-values; ids are bound through context variables. One line a
batch or a burst of refusals, never one a payment: payments are counted, not told.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, TextIO

import structlog

from payments.card_numbers import contains_card_number

CARD_NUMBER_REMOVED = "[a card number was removed]"
SECRET_REMOVED = "[removed]"  # noqa: S105  # what stands in a secret's place

# Values under these names never reach a log, whatever they look like.
SECRET_NAMES = frozenset(
    {
        "api_key",
        "authorization",
        "buyer",
        "buyer_json",
        "description",
        "operator_key",
        "password",
        "payment_method",
        "secret",
        "token",
    }
)

# API keys and webhook secrets by their prefixes, and the password of a server's address.
_SECRET_TEXT = re.compile(
    r"\b(?:sk|op)_(?:test|live)_\w+|\bwhsec_[\w+/=]+|(?<=://)([^\s:/@]*):[^\s@]+(?=@)"
)

# Deeper values are cut: a log line is no place for documents, and cycles end here.
_DEPTH_MAX = 6
# A line longer than this is a defect of whoever wrote it; readers and disks are spared.
TEXT_CHARACTERS_MAX = 8_192


def scrub_text(text: str) -> str:
    """Return the text without secrets, or a placeholder alone when a card number stands in it."""
    if len(text) > TEXT_CHARACTERS_MAX:
        text = f"{text[:TEXT_CHARACTERS_MAX]}… ({len(text)} characters)"
    if contains_card_number(text):
        return CARD_NUMBER_REMOVED
    return _SECRET_TEXT.sub(_secret_placeholder, text)


def scrub_event(_logger: object, _method: str, event: MutableMapping[str, Any]) -> dict[str, Any]:
    """Scrub a whole event: the last step before it is rendered."""
    return {
        scrub_text(name): SECRET_REMOVED if name in SECRET_NAMES else _scrubbed(value, 0)
        for name, value in event.items()
    }


def configure_logs(*, process_name: str, level: str = "info", stream: TextIO | None = None) -> None:
    """Set up structlog and the standard library's logging, once, at a process's entry.

    ``process_name`` (such as ``gateway-0``) stands in every line. Libraries that use ``logging``
    (aiohttp, asyncio, redis) come out in the same form, from ``warning`` on. Raises ValueError for
    a level that does not exist.
    """
    level_number = logging.getLevelNamesMapping().get(level.upper())
    if level_number is None:
        raise ValueError(f"log level {level!r} is none of debug, info, warning, error, critical")
    output = stream if stream is not None else sys.stderr

    def with_process(
        _logger: object, _method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        event["process"] = process_name
        return event

    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        with_process,
        structlog.processors.format_exc_info,
    ]
    rendering: list[structlog.typing.Processor] = [
        scrub_event,
        structlog.processors.JSONRenderer(),
    ]
    structlog.configure(
        processors=[*shared, *rendering],
        wrapper_class=structlog.make_filtering_bound_logger(level_number),
        logger_factory=structlog.PrintLoggerFactory(output),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(output)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(level_number, logging.WARNING))


def get_logger(name: str) -> structlog.typing.FilteringBoundLogger:
    """Return a logger whose lines carry ``component: name``."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger(component=name)
    return logger


def _scrubbed(value: object, depth: int) -> object:
    if isinstance(value, str):
        return scrub_text(value)
    if isinstance(value, bool | float) or value is None:
        return value
    if isinstance(value, int):
        # An integer of 13 digits or more may be a card number as well as a text.
        return CARD_NUMBER_REMOVED if contains_card_number(str(value)) else value
    if depth >= _DEPTH_MAX:
        return "…"
    if isinstance(value, Mapping):
        return {
            scrub_text(str(name)): (
                SECRET_REMOVED if name in SECRET_NAMES else _scrubbed(item, depth + 1)
            )
            for name, item in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [_scrubbed(item, depth + 1) for item in value]
    return scrub_text(str(value))


def _secret_placeholder(match: re.Match[str]) -> str:
    user = match[1]
    return SECRET_REMOVED if user is None else f"{user}:{SECRET_REMOVED}"
