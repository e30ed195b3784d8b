"""What a signal does to a long measurement: it ends it as an error would, so that its stack is stopped."""

from __future__ import annotations

import asyncio
import signal


def cancel_on_signals() -> None:
    """Cancel the calling task when SIGTERM or SIGINT comes, so that what it started is put away.

    Once: told again it goes on putting away. A second cancellation would leave half of it to nobody.
    """
    running = asyncio.current_task()
    assert running is not None
    is_told = False

    def stop() -> None:
        nonlocal is_told
        if not is_told:
            is_told = True
            running.cancel()

    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, stop)
