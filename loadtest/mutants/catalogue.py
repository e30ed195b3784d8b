"""All mutants by name."""

from __future__ import annotations

from collections.abc import Mapping

from loadtest.mutants.at_the_gateway import AT_THE_GATEWAY
from loadtest.mutants.patching import Mutant

MUTANTS: Mapping[str, Mutant] = {mutant.name: mutant for mutant in AT_THE_GATEWAY}
