"""How commands end when they can't do what was asked."""

from __future__ import annotations

from ops.exit_codes import ExitCode
from runtime.faults import Fault


class CommandFailed(Exception):
    """Ends the command with a text for the operator and an exit code."""

    def __init__(self, text: str, code: ExitCode = ExitCode.FAILED) -> None:
        super().__init__(text)
        self.text = text
        self.code = code


class GatewayUnreachable(Fault):
    """Nobody answered there, or not in HTTP."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"no answer from {url}: {reason}. Is the stack running? See: tally status")
        self.url = url


class EventStreamRefused(Fault):
    """The gateway answered, and wants no such stream."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(f"the event stream was refused: {status} {detail}".rstrip())
        self.status = status
