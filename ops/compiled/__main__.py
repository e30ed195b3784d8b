"""``python -m ops.compiled``: make the compiled form of this checkout, unless it is there.

With ``--path`` it makes nothing, and prints where the one of this very code lies.
"""

from __future__ import annotations

import sys

from ops.compiled.building import CompilingFailed, ToolMissing, compile_checkout
from ops.compiled.form import CHECKOUT, present_form


def main() -> int:
    """Return 0 also where there is no compiler: then everything is interpreted."""
    if sys.argv[1:] == ["--path"]:
        form = present_form({})
        if form.root is None:
            print(f"tallystick: {form}", file=sys.stderr)
            return 1
        print(form.root)
        return 0
    try:
        compile_checkout(CHECKOUT, lambda text: print(text, flush=True))
    except ToolMissing as missing:
        print(
            f"Not compiled: {missing} Everything runs interpreted, which is slower and the same in all else."
        )
    except (CompilingFailed, OSError) as failed:
        print(f"tallystick: compiling failed: {failed}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
