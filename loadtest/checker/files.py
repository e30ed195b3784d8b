"""The run directory: which file holds what. Whoever runs a load writes them, the checker reads them."""

from __future__ import annotations

RUN_NAME = "run.json"
"""By whoever makes the run: ``home`` of the stack, seed, mix, revision, ``planned_cells``, and when it
started, healed, was quiet, ended (monotonic ns).
"""

FAULTS_NAME = "faults.jsonl"
"""By whoever makes the faults: ``at_ns``, ``cell``, ``phase`` (begin, end, skipped), ``reason``. A line
of a poison cell also names ``partition_index`` and ``stream_id`` of the message that it added.
"""

BOOKS_NAME = "books.json"
"""By the collector: the books' tables, of one moment after quiescence (storage/sql/recount.sql)."""

ORACLE_NAME = "oracle.json"
"""By the collector: each PSP's own record of charges, by the PSP's name."""

QUEUE_NAME = "queue.json"
"""By whoever makes the run, else by the collector: ``streams``, a list of ``partition_index``,
``message_count`` and, where the server tells it, ``entries_added``.
"""

LEAKS_NAME = "leaks.json"
"""By the collector: what of the load's canaries and the stack's secrets stands in logs and dumps."""

WEBHOOKS_NAME = "webhooks.json"
"""By whoever makes the run, if its storefronts had webhook endpoints: the ids that each got, by ``merchant|mode``."""
