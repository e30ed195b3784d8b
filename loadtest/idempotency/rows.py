"""The table's rows: a promise, and the function that tries it; and what such functions are given."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from uuid import uuid4

from loadtest.idempotency.processes import Victims
from loadtest.idempotency.psp_record import PspRecord
from loadtest.idempotency.storefront import Storefront
from loadtest.idempotency.verdicts import NotTestable, expect


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """What is tried, and what the rows were given to try it with."""

    shop: Storefront
    other_shop: Storefront | None = None
    """Another merchant's."""
    live_shop: Storefront | None = None
    """The same merchant's, with its live key."""
    victims: Victims | None = None
    """The processes that may be killed; None where the deployment is not of this machine."""
    psp_records: Sequence[PspRecord] = ()
    """What the simulated providers hold, where they can be asked."""
    delay_s: float = 5.0
    """How long a late repeat waits."""

    def another_merchant(self) -> Storefront:
        """Return the second merchant's storefront. Raises NotTestable without one."""
        if self.other_shop is None:
            raise NotTestable("needs a second merchant's key: --second-key")
        return self.other_shop

    def killable(self) -> Victims:
        """Return whose processes may be killed. Raises NotTestable without."""
        if self.victims is None:
            raise NotTestable("needs a stack on this machine to kill processes of: --home")
        return self.victims

    async def new_seller(self, shop: Storefront | None = None) -> str:
        """Create a seller without a fee and return its id."""
        seller = f"idem-{uuid4()}"
        reply = await (shop or self.shop).create_seller(seller)
        expect(reply.status == 201, f"creating a seller was answered {reply}, not 201")
        return seller


Check = Callable[[Deployment], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One promise."""

    name: str
    section: str
    promise: str
    """What must hold, in one sentence."""
    check: Check = field(repr=False)
    """Returns when it holds. Raises Violated, or NotTestable."""
    is_disruptive: bool = False
    """Kills processes, so it runs alone, after all others."""


class RowList:
    """Collects rows in the order in which their functions are written."""

    def __init__(self, section: str, *, is_disruptive: bool = False) -> None:
        self.rows: list[Row] = []
        self._section = section
        self._is_disruptive = is_disruptive

    def row(self, promise: str) -> Callable[[Check], Check]:
        """Make the decorated function a row under its own name."""

        def add(check: Check) -> Check:
            self.add(check.__name__, promise, check)
            return check

        return add

    def add(self, name: str, promise: str, check: Check) -> None:
        """Add a row whose name is made up from data."""
        self.rows.append(
            Row(
                name=name,
                section=self._section,
                promise=promise,
                check=check,
                is_disruptive=self._is_disruptive,
            )
        )


def new_key() -> str:
    """Return a key that was never used."""
    return str(uuid4())
