"""From a cell to the fault that it names."""

from __future__ import annotations

from loadtest.chaos.cells import GATEWAY_POINTS, HOST_POINTS, FaultKind
from loadtest.chaos.faults.clock import ClockStep
from loadtest.chaos.faults.control_service import CONTROL_SERVICE, KillControlService
from loadtest.chaos.faults.filling import DiskFull
from loadtest.chaos.faults.network import EdgeFails, ReplicationFails
from loadtest.chaos.faults.node import NodeDown
from loadtest.chaos.faults.poison import Poison
from loadtest.chaos.faults.port import Fault, Scene
from loadtest.chaos.faults.processes import AtStep, Freeze, Kill
from loadtest.chaos.faults.psp import PspMisbehaves
from loadtest.chaos.faults.starting import DoubleStart

_POINTS = frozenset((*HOST_POINTS, *GATEWAY_POINTS))


def make_fault(scene: Scene) -> Fault:
    """Return the fault of a cell, not begun."""
    cell = scene.cell
    match cell.fault:
        case FaultKind.KILL:
            return _kill(scene)
        case FaultKind.FREEZE:
            return AtStep(scene, "freeze") if cell.step in _POINTS else Freeze(scene)
        case FaultKind.NETWORK:
            if cell.target == "node":
                return NodeDown(scene)
            is_edge = not cell.target.endswith("->primary")
            return EdgeFails(scene) if is_edge else ReplicationFails(scene)
        case FaultKind.DISK:
            return DiskFull(scene)
        case FaultKind.PSP:
            return PspMisbehaves(scene)
        case FaultKind.POISON:
            return Poison(scene)
        case FaultKind.DOUBLE_START:
            return DoubleStart(scene)
        case FaultKind.CLOCK:
            return ClockStep(scene)


def _kill(scene: Scene) -> Fault:
    if scene.cell.target == CONTROL_SERVICE:
        return KillControlService(scene)
    return AtStep(scene, "kill") if scene.cell.step in _POINTS else Kill(scene)
