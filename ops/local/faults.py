"""What can go wrong with local servers, each with the fields and the next step for the operator."""

from __future__ import annotations

from pathlib import Path

from runtime.faults import Fault


class LocalFault(Fault):
    """Base of the faults of the local stack: the text always says what to do."""


class HomeNotOurs(LocalFault):
    """The home directory was made by another user; its servers would refuse the files."""

    def __init__(self, root: Path, owner_uid: int, our_uid: int) -> None:
        super().__init__(
            f"{root} belongs to uid {owner_uid}, this process runs as uid {our_uid}. "
            "Run as that user, or choose another directory by TALLY_HOME."
        )
        self.root = root
        self.owner_uid = owner_uid


class HomeUnusable(LocalFault):
    """The home can't be made, read or written by this user."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"{path} can't be used: {reason}. "
            "Mend its owner and permissions, or choose another directory by TALLY_HOME."
        )
        self.path = path
        self.reason = reason


class SecretUnusable(LocalFault):
    """A secret is lost that can't be made anew: what was made with the old one would be void."""

    def __init__(self, path: Path, state: str, purpose: str) -> None:
        super().__init__(
            f"{path} is {state}: {purpose}. Nothing was started. "
            "Restore the file from a backup; tally reset deletes all data and starts anew."
        )
        self.path = path
        self.state = state


class HomeInUse(LocalFault):
    """Another live process runs the servers of this home."""

    def __init__(self, root: Path) -> None:
        super().__init__(
            f"the servers of {root} are already run by another process. "
            "Stop it first (tally down), or choose another directory by TALLY_HOME."
        )
        self.root = root


class PortInUse(LocalFault):
    """A port that this stack needs is taken by somebody else."""

    def __init__(self, name: str, port: int) -> None:
        super().__init__(
            f"port {port}, wanted for {name}, is in use. "
            f"See who listens: ss -ltnp 'sport = :{port}'. Stop that process, "
            "or move this stack: set TALLY_PORT_BASE to another number (0 picks free ports)."
        )
        self.name = name
        self.port = port


class ServerFailed(LocalFault):
    """A server ended, or was not ready in time; `log_tail` holds its last lines."""

    def __init__(self, name: str, reason: str, log_path: Path, log_tail: str) -> None:
        super().__init__(f"{name}: {reason}. Its log is {log_path}; the last lines:\n{log_tail}")
        self.name = name
        self.reason = reason
        self.log_path = log_path
        self.log_tail = log_tail


class ToolFailed(LocalFault):
    """A one-shot program (initdb, psql, pg_basebackup) failed or took too long."""

    def __init__(self, tool: str, reason: str, output: str) -> None:
        super().__init__(f"{tool} failed: {reason}\n{output}")
        self.tool = tool
        self.reason = reason
        self.output = output


class ServerMissing(LocalFault):
    """The server's program is not installed, or cannot be run by this user."""

    def __init__(self, server: str, advice: str) -> None:
        super().__init__(f"no usable {server}: {advice}")
        self.server = server


class DataRefused(LocalFault):
    """Starting on this data could lose or fork it; a person must decide."""

    def __init__(self, server: str, reason: str, advice: str) -> None:
        super().__init__(f"{server} is not started: {reason}. {advice}")
        self.server = server
        self.reason = reason


class PromotionRefused(LocalFault):
    """No other copy may take the primary's place; the text says why, and what would help."""
