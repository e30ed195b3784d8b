"""``python translating.py DIRECTORY MODULE...``: mypyc's part, in a process of its own.

Run in the root of a copy. Prints a line for each shared library, as JSON: its name, sources and include directories.
"""

from __future__ import annotations

import json
import sys


def main(directory: str, modules: list[str]) -> None:
    """Write the C of these modules, given as paths, and tell how it is to be compiled."""
    from mypyc.build import mypycify

    # No configuration: what is strict was checked before, and a copy is to depend on its files alone.
    options = ["--config-file=", "--cache-dir=/dev/null"]
    # One group: calls among the modules are calls of C. Several files: they are compiled side by side.
    for extension in mypycify([*options, *modules], multi_file=True, target_dir=directory):
        fields = extension.name, extension.sources, extension.include_dirs
        print("unit", json.dumps(fields), sep="\t")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
