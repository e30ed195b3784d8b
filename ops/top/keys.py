"""What ends the live view: q, Ctrl-C, or a terminal that is gone."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager

QUIT_KEYS = b"qQ"


@contextmanager
def quit_on_key(stop: asyncio.Event) -> Iterator[None]:
    """Set ``stop`` when q or Ctrl-C is pressed; leaves the terminal as it was."""
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signum, stop.set)
    if not sys.stdin.isatty():
        yield
        return
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)

    def pressed() -> None:
        keys = os.read(descriptor, 64)
        # Nothing to read any more means that the terminal is gone.
        if not keys or any(key in QUIT_KEYS for key in keys):
            stop.set()

    tty.setcbreak(descriptor)
    loop.add_reader(descriptor, pressed)
    try:
        yield
    finally:
        loop.remove_reader(descriptor)
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
