"""From an operation's function to a client's method, with its signature and its documentation.

Each operation is written once, and both clients name it: what differs is who takes the steps.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Protocol, TypeVar, overload

from tallystick.operations import Listing, Operation
from tallystick.record import Record

if TYPE_CHECKING:
    from tallystick.async_stream import AsyncEventStream
    from tallystick.sync_stream import EventStream

P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R", bound=Record)


class SyncRunner(Protocol):
    """Takes an operation's steps, and blocks meanwhile."""

    def run(self, operation: Operation[T]) -> T: ...


class SyncClient(SyncRunner, Protocol):
    """Opens streams, too."""

    def follow(self, after: str | None) -> EventStream: ...


class AsyncRunner(Protocol):
    """Takes an operation's steps on an event loop."""

    async def run(self, operation: Operation[T]) -> T: ...


class AsyncClient(AsyncRunner, Protocol):
    """Opens streams, too."""

    def follow(self, after: str | None) -> AsyncEventStream: ...


class SyncResource:
    """What one client can do with one kind of thing."""

    def __init__(self, runner: SyncClient) -> None:
        self._runner = runner


class AsyncResource:
    """What one client can do with one kind of thing."""

    def __init__(self, runner: AsyncClient) -> None:
        self._runner = runner


class _Bound(Generic[P, T]):
    """A descriptor: the operation's function, to be called through a resource."""

    def __init__(self, operation: Callable[P, Any], wrapped: Callable[..., T]) -> None:
        self._operation = operation
        self._wrapped = wrapped
        self.__doc__ = operation.__doc__

    @overload
    def __get__(self, resource: None, owner: type[Any]) -> _Bound[P, T]: ...

    @overload
    def __get__(self, resource: Any, owner: type[Any]) -> Callable[P, T]: ...

    def __get__(self, resource: Any, owner: type[Any]) -> _Bound[P, T] | Callable[P, T]:
        if resource is None:
            return self
        operation, wrapped, runner = self._operation, self._wrapped, resource._runner  # noqa: SLF001

        @functools.wraps(operation)
        def call(*arguments: P.args, **named: P.kwargs) -> T:
            return wrapped(runner, operation(*arguments, **named))

        return call


def sync_method(operation: Callable[P, Operation[T]]) -> _Bound[P, T]:
    """Bind an operation to a blocking client."""
    return _Bound(operation, lambda runner, wanted: runner.run(wanted))


def async_method(operation: Callable[P, Operation[T]]) -> _Bound[P, Coroutine[Any, Any, T]]:
    """Bind an operation to an async client."""
    return _Bound(operation, lambda runner, wanted: runner.run(wanted))


def sync_iterator(listing: Callable[P, Listing[R]]) -> _Bound[P, Iterator[R]]:
    """Bind a list of many pages to a blocking client."""
    return _Bound(listing, _pages)


def async_iterator(listing: Callable[P, Listing[R]]) -> _Bound[P, AsyncIterator[R]]:
    """Bind a list of many pages to an async client."""
    return _Bound(listing, _pages_async)


def _pages(runner: SyncRunner, listing: Listing[R]) -> Iterator[R]:
    call = listing.first
    while True:
        page = runner.run(call)
        yield from page.data
        following = listing.after(page)
        if following is None:
            return
        call = following


async def _pages_async(runner: AsyncRunner, listing: Listing[R]) -> AsyncIterator[R]:
    call = listing.first
    while True:
        page = await runner.run(call)
        for record in page.data:
            yield record
        following = listing.after(page)
        if following is None:
            return
        call = following
