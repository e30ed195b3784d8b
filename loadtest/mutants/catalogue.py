"""All mutants by name."""

from __future__ import annotations

from collections.abc import Mapping

from loadtest.mutants.at_the_fence import AT_THE_FENCE
from loadtest.mutants.at_the_gateway import AT_THE_GATEWAY
from loadtest.mutants.at_the_owner import AT_THE_OWNER
from loadtest.mutants.at_the_psp import AT_THE_PSP
from loadtest.mutants.in_operations import IN_OPERATIONS
from loadtest.mutants.in_the_books import IN_THE_BOOKS
from loadtest.mutants.in_the_queue import IN_THE_QUEUE
from loadtest.mutants.patching import Mutant

MUTANTS: Mapping[str, Mutant] = {
    mutant.name: mutant
    for mutant in (
        *AT_THE_GATEWAY,
        *IN_THE_QUEUE,
        *IN_THE_BOOKS,
        *AT_THE_FENCE,
        *AT_THE_OWNER,
        *AT_THE_PSP,
        *IN_OPERATIONS,
    )
}
