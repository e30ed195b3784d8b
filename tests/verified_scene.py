"""A copy of the verified books with a record of its own, for tests that alter one or the other."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from rich.console import Console

from ops.verify import checks
from ops.verify.progress import VerifyProgress
from ops.verify.report import CheckResult, Report
from ops.verify.verification import step_count, verify
from runtime.config import Config
from storage.verifying import Plain
from tests.verified_books import PSP, TEMPLATE, OracleStandIn, VerifiedBooks, ask

_COPIES = itertools.count(1)


@dataclass(slots=True, kw_only=True)
class Scene:
    """A copy of the books with a record of its own, and the orders that things are done to."""

    dsn: str
    config: Config
    oracle: OracleStandIn
    names: Mapping[str, int | str] = field(default_factory=dict)
    """What the SQL of a corruption may name: see ``_VICTIMS``."""

    async def report(self) -> Report:
        console = Console(quiet=True)
        with VerifyProgress(console, step_count=step_count(self.config)) as progress:
            return await verify(self.config, progress)

    async def plant(self, sql: str) -> None:
        """Do what no role of ours may do."""
        await ask(self.dsn, sql.format(**self.names))

    def charge_index(self, victim: str) -> int:
        """Which row of the record is of this order."""
        key = self.names[f"{victim}_key"]
        return next(i for i, row in enumerate(self.oracle.rows) if row.order_key == key)


# One order of each kind, in the middle of its partition: $1 is the state it stands in.
_VICTIMS = """
SELECT o.partition_index, o.order_no, o.idempotency_key::text AS order_key, o.order_uuid::text,
       coalesce(ended.batch_seq, 0) AS batch_seq, coalesce(moved.debit_account_no, 0) AS debit,
       coalesce(moved.credit_account_no, 0) AS credit, held.order_no_last AS last
FROM payment_order AS o
JOIN partition AS held USING (partition_index)
LEFT JOIN order_outcome AS ended USING (partition_index, order_no)
LEFT JOIN open_order AS running USING (partition_index, order_no)
LEFT JOIN transfer AS moved
    ON moved.partition_index = o.partition_index AND moved.order_no = o.order_no AND moved.step = 1
LEFT JOIN payment_standing AS stands
    ON stands.partition_index = o.partition_index AND stands.order_no = o.order_no
WHERE coalesce(ended.status, running.status) = $1
    -- Of those that were authorized the one that still is.
    AND ($1 <> 4 OR stands.status = 4)
ORDER BY o.order_no IN (1, held.order_no_last), running.is_outcome_known DESC NULLS LAST,
         held.order_no_last DESC, o.partition_index, o.order_no
LIMIT 1
"""

_STANDINGS = (("paid", 5), ("failed", 7), ("open", 2), ("acting", 3), ("held", 4))


def copy_name() -> str:
    """The name of a database that no other test has."""
    return f"verified_{next(_COPIES)}"


@asynccontextmanager
async def a_scene(books: VerifiedBooks) -> AsyncIterator[Scene]:
    """Copy the books, and serve what the PSP recorded meanwhile."""
    database = copy_name()
    dsn = books.servers.create_database(database, template=TEMPLATE)
    async with AsyncExitStack() as stack:
        stack.callback(books.servers.drop_database, database)
        oracle = OracleStandIn(books.charges)
        await stack.enter_async_context(oracle.serving())
        names: dict[str, int | str] = {}
        for victim, status in _STANDINGS:
            row = (await ask(dsn, _VICTIMS, status))[0]
            for short, column in (
                *(("p", "partition_index"), ("n", "order_no"), ("key", "order_key")),
                *(("uuid", "order_uuid"), ("batch", "batch_seq"), ("debit", "debit")),
                *(("credit", "credit"), ("last", "last")),
            ):
                names[f"{victim}_{short}"] = row[column]
            names[victim] = "partition_index = {partition_index} AND order_no = {order_no}".format(
                **row
            )
        place = f"array_position(partition_indexes, {names['paid_p']}::smallint)"
        names |= {"at_line": place, "line": f"batch_seqs[{place}] = {names['paid_batch']}"}
        yield Scene(dsn=dsn, config=books.config(database, oracle.url), oracle=oracle, names=names)


def result(report: Report, name: str) -> CheckResult:
    """One check's result; those of a PSP's record go by its name as well."""
    shown = f"{name}:{PSP}" if name in checks.ORACLE else name
    return next(check for check in report.checks if check.name == shown)


def names_order(found: CheckResult, partition_index: int | str, order_no: int | str) -> bool:
    """Whether the place, or a row of the story, is of this order."""
    assert found.first is not None
    place = found.first.place
    rows: list[Mapping[str, Plain]] = [row for part in found.first.story.values() for row in part]
    return any(
        {**place, **row}.get("order_no") == order_no
        and {**place, **row}.get("partition_index") == partition_index
        for row in [place, *rows]
    )
