"""Which PSP one decision sends an order to, given what takes orders while it decides."""

from __future__ import annotations

from payments.commands import PaymentCommand
from payments.decided import Planner
from payments.routing import Availability


class PspChoice:
    """Chooses for one batch. What is only being tried again gets as many new orders as it may probe with."""

    def __init__(self, planner: Planner, availability: Availability) -> None:
        self._planner = planner
        self._refusing = availability.refusing
        self._probes = dict(availability.probes)
        self._success_percents = availability.success_percents

    def is_refusing(self, psp: str) -> bool:
        return psp in self._refusing

    def first(self, command: PaymentCommand) -> str:
        """Where a new order goes: the first that can use it and takes orders; else where it belongs."""
        psp = self._route(command, self._refusing)
        if psp is None:
            return self._planner.home(command)
        self._count(psp)
        return psp

    def other_than(self, psp: str, command: PaymentCommand) -> str | None:
        """Another PSP that can use the order and takes orders; None when there is none."""
        other = self._route(command, self._refusing | {psp})
        if other is not None:
            self._count(other)
        return other

    def _route(self, command: PaymentCommand, avoiding: frozenset[str]) -> str | None:
        return self._planner.route(
            command, avoiding=avoiding, success_percents=self._success_percents
        )

    def _count(self, psp: str) -> None:
        left = self._probes.get(psp)
        if left is None:
            return
        self._probes[psp] = left - 1
        if left <= 1:
            self._refusing |= {psp}
