"""Which endpoints have a line now: those that are enabled, as the books say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence

from actors.dispatcher_settings import DispatcherSettings
from actors.endpoint_line import WAITING_MAX, WINDOW_MAX, EndpointLine
from storage.dispatch_ports import DispatchEndpoint, DispatchStore, StoppedEndpoint
from storage.webhook_ports import EndpointStatus


class LineKeeping:
    """The lines, by endpoint."""

    def __init__(self, settings: DispatcherSettings, store: DispatchStore) -> None:
        self._settings = settings
        self._store = store
        self._lines: dict[int, EndpointLine] = {}
        self.counts: Counter[str] = Counter()
        """Endpoints by the word for their status."""

    @property
    def lines(self) -> Collection[EndpointLine]:
        return self._lines.values()

    def line(self, endpoint_no: int) -> EndpointLine | None:
        return self._lines.get(endpoint_no)

    async def refresh(self) -> None:
        """Make lines of endpoints that were enabled, and end those of others. Raises StorageUnavailable."""
        endpoints = await self._store.endpoints()
        enabled = {
            one.endpoint_no: one for one in endpoints if one.status is EndpointStatus.ENABLED
        }
        self.counts = Counter(one.status.wire for one in endpoints)
        for endpoint_no in [number for number in self._lines if number not in enabled]:
            self._lines.pop(endpoint_no).stop()
        for endpoint_no, line in self._lines.items():
            # Where it is we know better; secrets may have changed.
            line.endpoint = enabled[endpoint_no]
        await self._add([one for number, one in enabled.items() if number not in self._lines])

    async def recount(self) -> None:
        """Count anew what waits: resends come from elsewhere. Raises StorageUnavailable."""
        counts = await self._store.waiting_counts(list(self._lines), count_max=WAITING_MAX)
        for endpoint_no, count in counts.items():
            if (line := self._lines.get(endpoint_no)) is not None:
                line.waiting_count = count

    def drop_stopped(self, stopped: Iterable[StoppedEndpoint]) -> None:
        """End the lines of endpoints that were written as stopped."""
        for one in stopped:
            self._lines.pop(one.endpoint_no, None)

    def drop_all(self) -> None:
        """End all lines: what they hold may differ from the books."""
        for line in self._lines.values():
            line.stop()
        self._lines.clear()

    async def _add(self, endpoints: Sequence[DispatchEndpoint]) -> None:
        if not endpoints:
            return
        numbers = [endpoint.endpoint_no for endpoint in endpoints]
        recorded = await self._store.recorded(numbers, count_max=WINDOW_MAX)
        waiting = await self._store.waiting_counts(numbers, count_max=WAITING_MAX)
        for endpoint in endpoints:
            number = endpoint.endpoint_no
            self._lines[number] = EndpointLine(
                endpoint,
                recorded=recorded.get(number, frozenset()),
                waiting_count=waiting.get(number, 0),
                in_flight_max=self._settings.connections_per_endpoint,
            )
