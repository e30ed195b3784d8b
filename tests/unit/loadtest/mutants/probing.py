"""Asks the product the same question with and without each mutant, each time in a process of its own.

``python -m tests.unit.loadtest.mutants.probing <file>`` writes what it found, as JSON. Both questions are
asked in forks of a process that has imported gateways and hosts whole, as a process of a stack has when
its mutant gets in.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import actors.building
import gateway.building
from loadtest.mutants import apply
from loadtest.mutants.catalogue import MUTANTS
from tests.unit.loadtest.mutants import (
    probes_books,
    probes_gateway,
    probes_operations,
    probes_owner,
    probes_queue,
)

Probe = Callable[[], object]

_BUILT = (actors.building, gateway.building)
_MODULES = (probes_gateway, probes_queue, probes_books, probes_owner, probes_operations)


def probe_of(name: str) -> Probe | None:
    """The function of the mutant's own name."""
    return next((vars(module)[name] for module in _MODULES if name in vars(module)), None)


def main(path: Path) -> None:
    """Probe everything."""
    assert all(_BUILT)
    gc.freeze()
    found: dict[str, object] = {}
    for name in MUTANTS:
        probe = probe_of(name)
        if probe is not None:
            found[name] = [_in_fork(None, probe), _in_fork(name, probe)]
    path.write_text(json.dumps(found))


def _in_fork(mutant: str | None, probe: Probe) -> object:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        status = 1
        try:
            if mutant is not None:
                apply(mutant)
            with os.fdopen(writing, "w") as answer:
                json.dump(probe(), answer)
            status = 0
        except BaseException:  # the fork must not go on as its parent, whatever happens
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading) as answer:
        text = answer.read()
    _, status = os.waitpid(pid, 0)
    return json.loads(text) if status == 0 else "the probe failed"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
