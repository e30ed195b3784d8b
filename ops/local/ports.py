"""Which loopback port each server of a stack gets: chosen once, then kept in a state file."""

from __future__ import annotations

import errno
import json
import secrets
import socket
import sys
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from ops.local.durable import write_durably
from ops.local.faults import PortInUse
from ops.local.layout import StackHome
from runtime.config import GATEWAYS_MAX

LOOPBACK = "127.0.0.1"

# Away from the ports that servers and other stacks usually have: 5432, 6379, 8080.
PORT_BASE_DEFAULT = 7400

PORTS_FILE = "ports.json"

# Offsets from the port base. Add new names at the end: a stack made by an older version then
# keeps its ports, and gets the new one beside them.
PORT_NAMES: tuple[str, ...] = (
    "gateway",
    "postgres_1",
    "postgres_2",
    "valkey_1",
    "valkey_2",
    "psp_simulator",
    "ray_gcs",
    "ray_dashboard",
    "ray_client",
    "ray_node",
    "ray_object",
    "metrics",
    "psp_simulator_b",
)
# From "metrics" on each of GATEWAYS_MAX gateway processes takes one: what was added later stands behind them.
_OFFSETS: Mapping[str, int] = {"psp_simulator_b": 80}
STORE_PORT_NAMES: tuple[str, ...] = ("postgres_1", "postgres_2", "valkey_1", "valkey_2")

# Free ports are looked for below the range that Linux hands to outgoing connections (32768 and
# up by default): a port from there could be taken by any client between two starts of the stack.
FREE_PORT_MIN = 20_000
# From here on whole stretches are drawn, one for the gateways of a stack: nobody else's port lies within them.
FREE_STRETCHES_MIN = 26_000
FREE_PORT_MAX = 32_000
# A machine where that many tries in a row hit taken ports is out of ports; say so.
FREE_PORT_TRIES_MAX = 500

# Claims are names of Linux's abstract sockets: nobody else can have one, and it ends with its process at the latest.
_CLAIM = "\0tallystick-port-{port}"
# Several stacks' ports; the oldest are listened on since, or not wanted any more.
CLAIMS_KEPT_MAX = 64
_claims: deque[socket.socket] = deque()


def claim_ports(
    home: StackHome, port_base: int | None, names: tuple[str, ...] = PORT_NAMES
) -> dict[str, int]:
    """The port of each name: from the state file, else port_base + offset (0: free ones).

    A stack that was given another base than last time moves to it; base 0 keeps what it has. None
    is the base of last time, and PORT_BASE_DEFAULT for a new stack.
    """
    path = home.run / PORTS_FILE
    if port_base is None:
        port_base = kept_port_base(home.root)
    ports: dict[str, int] = {}
    if path.exists():
        state = json.loads(path.read_text(encoding="utf-8"))
        if state["port_base"] == port_base:
            ports = state["ports"]
    missing = [name for name in names if name not in ports]
    if not missing:
        return ports
    taken = set(ports.values())
    for name in missing:
        if port_base:
            ports[name] = port_base + port_offset(name)
        else:
            ports[name] = free_stretch() if name == "metrics" else free_port(taken)
            taken.add(ports[name])
    write_durably(path, json.dumps({"port_base": port_base, "ports": ports}, indent=1) + "\n")
    return ports


def port_offset(name: str) -> int:
    """How far a port of PORT_NAMES is from the base."""
    return _OFFSETS.get(name, PORT_NAMES.index(name))


def kept_port_base(root: Path) -> int:
    """The base that the home at `root` had last time; PORT_BASE_DEFAULT for a new one."""
    try:
        state = json.loads((root / "run" / PORTS_FILE).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return PORT_BASE_DEFAULT
    return int(state["port_base"])


def free_port(taken: Iterable[int] = ()) -> int:
    """A loopback port that nobody listens on now, that is not in `taken`, and that no other process has drawn.

    A stack's servers listen some seconds after their ports were drawn: another stack must not draw the same ones
    meanwhile. Raises PortInUse when there is none.
    """
    return _drawn(range(FREE_PORT_MIN, FREE_STRETCHES_MIN), set(taken))


def free_stretch() -> int:
    """The first of GATEWAYS_MAX ports that ``free_port`` never gives, and of which no other process has drawn one.

    Raises PortInUse when there is none.
    """
    last = FREE_PORT_MAX - GATEWAYS_MAX
    return _drawn(range(FREE_STRETCHES_MIN, last + 1, GATEWAYS_MAX), frozenset())


def _drawn(ports: Sequence[int], unwanted: Collection[int]) -> int:
    for _ in range(FREE_PORT_TRIES_MAX):
        port = ports[secrets.randbelow(len(ports))]
        if port not in unwanted and is_free(port) and _claimed(port):
            return port
    raise PortInUse("any server", ports[0])


def _claimed(port: int) -> bool:
    """Claim a port among all processes that draw some; False when another has it, or we had it a moment ago."""
    if sys.platform != "linux":
        return True
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        claim.bind(_CLAIM.format(port=port))
    except OSError as error:
        claim.close()
        if error.errno != errno.EADDRINUSE:
            raise
        return False
    _claims.append(claim)
    if len(_claims) > CLAIMS_KEPT_MAX:
        _claims.popleft().close()
    return True


def is_free(port: int) -> bool:
    """Can a server listen on this loopback port now?"""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As the servers do: connections of a former run in TIME_WAIT don't hold the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise
    return True


def require_free(ports: Mapping[str, int], names: Iterable[str]) -> None:
    """Raise PortInUse for the first of these names whose port somebody else has."""
    for name in names:
        if not is_free(ports[name]):
            raise PortInUse(name, ports[name])
