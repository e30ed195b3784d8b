"""What mutants are made of: a name, what is wrong, and how it gets in."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from actors.lane_worker import LanePorts, LaneWorker
    from actors.settings import HostSettings
    from storage.ports import Lane
    from storage.redis_script import RedisScript


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One defect. ``put_in`` changes modules of the present process for good."""

    name: str
    defect: str
    """What it does wrong, in words for the report."""
    breaks: tuple[str, ...]
    """The invariants that it breaks, by number, such as ``I1``; which of them is seen depends on the faults.

    Empty: none by number, but the books contradict themselves.
    """
    mix: str
    """The mix of faults under which it shows on real servers."""
    cells: tuple[str, ...] = ()
    """The fault of that mix which it needs, as patterns of cells; none: the load alone, or the whole mix."""
    is_simulated: bool = True
    """False: it is in SQL alone, or in what GET answers, which the simulation has not."""
    put_in: Callable[[], None]


class MutantOutdated(Exception):
    """The place that a mutant changes is not there any more: the mutant must follow the product."""


def replace_attribute(owner: object, name: str, value: object) -> None:
    """Put ``value`` in place of a function, method or constant. Raises MutantOutdated where there is none."""
    if not hasattr(owner, name):
        raise MutantOutdated(f"{owner!r} has no {name}")
    setattr(owner, name, value)


def replace_text(text: str, old: str, new: str) -> str:
    """Return a statement or script with one part changed. Raises MutantOutdated unless it occurs once."""
    if text.count(old) != 1:
        raise MutantOutdated(f"{old!r} occurs {text.count(old)} times")
    return text.replace(old, new)


def change_statement(module: ModuleType, name: str, change: Callable[[str], str]) -> None:
    """Change one of the SQL statements that a module has loaded. Raises MutantOutdated without it."""
    statements = vars(module).get("_SQL", {})
    if name not in statements:
        raise MutantOutdated(f"{module.__name__} has no statement {name}")
    replace_attribute(module, "_SQL", {**statements, name: change(statements[name])})


def change_script(name: str, *changes: tuple[str, str]) -> None:
    """Change parts of a Lua script for whoever reads it from now on. Raises MutantOutdated."""
    from storage.redis_script import RedisScript

    read = RedisScript.from_package

    def from_package(wanted: str) -> RedisScript:
        script = read(wanted)
        if wanted != name:
            return script
        text = script.source.decode()
        for old, new in changes:
            text = replace_text(text, old, new)
        source = text.encode()
        digest = hashlib.sha1(source, usedforsecurity=False).hexdigest()
        return RedisScript(source=source, sha=digest.encode())

    from_package(name)
    replace_attribute(RedisScript, "from_package", staticmethod(from_package))


def wrap_lanes(wrap: Callable[[Lane], Lane]) -> None:
    """Give every lane worker that is built from now on a lane with something wrong around it."""
    from actors.lane_worker import LaneWorker

    build = LaneWorker.__init__

    def build_on_wrapped(worker: LaneWorker, settings: HostSettings, ports: LanePorts) -> None:
        build(worker, settings, replace(ports, lane=wrap(ports.lane)))

    replace_attribute(LaneWorker, "__init__", build_on_wrapped)


def keep_pledges() -> None:
    """Let a lane write for its partitions also on a connection that their claims know nothing of.

    Not a mutant: the second half of those that take the fence away, which this check would hide.
    """
    from storage.lane import PostgresLane
    from storage.sessions import Session

    opened = vars(PostgresLane)["_open"]

    async def open_pledged(lane: PostgresLane) -> Session:
        session: Session = await opened(lane)
        pledged = vars(lane)["_pledged"]
        pledged.update(dict.fromkeys(pledged, session.backend))
        return session

    replace_attribute(PostgresLane, "_open", open_pledged)
