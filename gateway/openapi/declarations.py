"""What there is to say of a route, declared beside its handler: ``gateway.openapi.document`` makes OpenAPI of it.

``@documented(Declaration(...))`` stands above the handler. Who may call it, and what every such route answers, is
known already (``gateway.openapi.common``): a declaration names only what is its own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, TypeVar

import msgspec

from gateway.problems import Code, Problem, problem_body
from payments.json_schema import Schema

JSON = "application/json"
HTML = "text/html"

EXAMPLE_REQUEST_ID = "req_bcpdbjhtmrbgkjqfntjcnksbkbdgkbfm"

F = TypeVar("F", bound=Callable[..., Awaitable[object]])

_DECLARED: dict[object, Declaration] = {}
"""By the handler's function: in the compiled form it takes no attributes."""


class Tag(Enum):
    """The chapters of the document, in its order; the value says what each is about."""

    PAYMENTS = "Take payment orders, and follow them."
    DISPUTES = "What buyers' banks took back."
    CHECKOUTS = "Have a buyer pay for several sellers at once."
    SELLERS = "Whose wallets are credited, and for which fee."
    WALLETS = "What a seller may have of us."
    EVENTS = "Read what happened, or be told at once."
    WEBHOOKS = "Where events are sent to, and what became of each."
    REQUESTS = "What you asked, and what was answered."
    PROVIDERS = "What payment service providers tell us."
    OPERATORS = "For those who run this deployment."
    HEALTH = "For load balancers and monitors."
    DOCUMENTATION = "This document, and its pages."

    @property
    def wire(self) -> str:
        return self.name.capitalize()


class Access(Enum):
    """Who may call a route: told by the door's wrapper around its handler."""

    PUBLIC = "public"
    MERCHANT = "merchant_key"
    OPERATOR = "operator_key"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One parameter. ``place`` is ``path``, ``query`` or ``header``; those in the path are required."""

    name: str
    place: str
    text: str
    schema: Schema
    is_required: bool = False
    is_deep_object: bool = False
    """Whether the schema's members are written as ``name[member]=value``."""
    example: object = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """One header of an answer."""

    name: str
    text: str
    schema: Schema
    is_required: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """What can be asked next: ``parameters`` by name, from the answer as OpenAPI's expressions tell."""

    name: str
    operation: str
    parameters: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """One answer of a route that is no problem of ``gateway.problems``. No schema: no body."""

    status: int
    text: str
    schema: Schema | None = None
    content_type: str = JSON
    headers: tuple[Header, ...] = ()
    links: tuple[Link, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """What a route takes: a msgspec type, whose fields carry their rules (``rule``), or a schema."""

    of: type[msgspec.Struct] | Schema
    text: str
    is_required: bool = True
    more: Schema = field(default_factory=dict)
    """Rules of the body as a whole, which no field can carry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A request with its answer. A test sends it, and gets that answer back; see tests/openapi."""

    name: str
    text: str
    status: int
    answer: object = None
    """None where the answer is no JSON."""
    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: object = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """All there is to say of one route."""

    name: str
    """Its ``operationId``, such as ``create_payment``."""
    tag: Tag
    summary: str
    text: str = ""
    """Markdown."""
    parameters: tuple[Parameter, ...] = ()
    body: Body | None = None
    answers: tuple[Answered, ...]
    problems: tuple[Code, ...] = ()
    """Those of this route alone."""
    refuses_unknown_parameters: bool = True
    examples: tuple[Example, ...] = ()


def problem_answer(problem: Problem) -> object:
    """Return a problem as it is answered, for an example."""
    return msgspec.json.decode(problem_body(problem, EXAMPLE_REQUEST_ID))


def documented(declaration: Declaration) -> Callable[[F], F]:
    """Return the decorator that ties a declaration to its handler."""

    def tie(handler: F) -> F:
        _DECLARED[handler] = declaration
        return handler

    return tie


def declaration_of(handler: Callable[..., Any]) -> Declaration | None:
    """Return what was declared for a handler, or None: then a test says so."""
    return _DECLARED.get(getattr(handler, "__func__", handler))


def rule(text: str = "", **keywords: object) -> msgspec.Meta:
    """Return the description of a field of a request, and what it must be, as keywords of JSON Schema.

    msgspec enforces none of it: that is the refusals' task, which name the code. Tests hold both together.
    """
    return msgspec.Meta(description=text or None, extra_json_schema=dict(keywords) or None)
