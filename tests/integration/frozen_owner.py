"""An owner that freezes itself inside a flush: run as a process of its own by test_ledger_faults.

Arguments: the owner's DSN, the partition, the probe point. Prints one word a line: ``claimed``, then,
after it was thawed, the name of the fault that its flush met, and of the one that a second try met.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from uuid import UUID

from runtime.faults import Fault
from storage.connections import Connector
from storage.ledger import PostgresLedger
from storage.ownership import PostgresOwnership
from tests.books import Writer


async def own(dsn: str, partition_index: int, point: str) -> None:
    is_frozen_before = False

    def freeze(reached: str) -> None:
        nonlocal is_frozen_before
        if reached == point and not is_frozen_before:
            is_frozen_before = True
            os.kill(os.getpid(), signal.SIGSTOP)

    connector = Connector(dsn, application_name="frozen-owner")
    ledger = PostgresLedger(connector, lane_count=1, probe=freeze)
    ownership = PostgresOwnership(connector, ledger)
    state = await ownership.claim(
        partition_index=partition_index, epoch_seen=0, incarnation=UUID(int=5), lane_index=0
    )
    if state is None:
        raise SystemExit("somebody else owns the partition")
    sys.stdout.write("claimed\n")
    sys.stdout.flush()
    flush = Writer(state.head).take_in(5)
    for _ in range(2):
        try:
            await ledger.lanes[0].append(flush)
            sys.stdout.write("written\n")
        except Fault as fault:
            sys.stdout.write(f"{type(fault).__name__}\n")
    await ownership.close()
    await ledger.close()


if __name__ == "__main__":
    asyncio.run(own(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
