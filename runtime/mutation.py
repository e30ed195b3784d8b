"""A deliberate defect in this process, so that whoever checks the product can prove that they would see it.

``TALLY_MUTANT=<name>`` puts one in, from the catalogue of ``loadtest.mutants``; the code of the product
knows nothing of it but this. Only a sandbox deployment whose environment also says
``TALLY_TEST_STACK=1`` takes one: elsewhere the process refuses to start.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping

from runtime.config import ConfigError

MUTANT_VARIABLE = "TALLY_MUTANT"
TEST_STACK_VARIABLE = "TALLY_TEST_STACK"

# By name, because what measures is not imported by what it measures.
_CATALOGUE_MODULE = "loadtest.mutants"


class MutantRefused(ConfigError):
    """This is no test stack, or there is no such mutant."""


def mutate(environment: Mapping[str, str], *, is_sandbox: bool) -> str | None:
    """Put the mutant in that the environment names, and return its name; None where it names none.

    Call it before anything of the process is built. Raises MutantRefused.
    """
    name = environment.get(MUTANT_VARIABLE, "")
    if not name:
        return None
    if not is_sandbox or environment.get(TEST_STACK_VARIABLE) != "1":
        raise MutantRefused(
            f"{MUTANT_VARIABLE} is refused: only a sandbox with {TEST_STACK_VARIABLE}=1 takes a defect"
        )
    apply: Callable[[str], None] = importlib.import_module(_CATALOGUE_MODULE).apply
    try:
        apply(name)
    except KeyError as unknown:
        raise MutantRefused(f"{MUTANT_VARIABLE}={name}: there is no such mutant") from unknown
    # The command line imports this module for its names alone, and logs nothing.
    from runtime.logs import get_logger

    get_logger(__name__).warning("mutant_active", mutant=name)
    return name
