from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from ops.local import ports
from ops.local.faults import PortInUse
from ops.local.layout import StackHome
from ops.local.ports import (
    FREE_PORT_MAX,
    FREE_PORT_MIN,
    FREE_STRETCHES_MIN,
    LOOPBACK,
    PORT_BASE_DEFAULT,
    PORT_NAMES,
    STORE_PORT_NAMES,
    claim_ports,
    free_port,
    is_free,
    require_free,
)
from runtime.config import GATEWAYS_MAX


@pytest.fixture
def home(tmp_path: Path) -> StackHome:
    return StackHome.prepare(tmp_path / "var")


def test_a_base_gives_every_server_its_own_port(home: StackHome) -> None:
    """Ports follow the base, none is given twice, and none is Ray's 6379."""
    named = claim_ports(home, 18_400)
    assert named["gateway"] == 18_400
    assert len(set(named.values())) == len(PORT_NAMES)
    assert [port - 18_400 for port in named.values()] == [*range(12), 80]
    gateways_own = range(named["metrics"], named["metrics"] + GATEWAYS_MAX)
    assert not set(gateways_own) & {named[name] for name in PORT_NAMES if name != "metrics"}


def test_free_ports_are_kept(home: StackHome) -> None:
    """A second start gets the ports of the first, and servers added since get new ones."""
    stores = claim_ports(home, 0, STORE_PORT_NAMES)
    assert claim_ports(home, 0, STORE_PORT_NAMES) == stores
    everything = claim_ports(home, 0)
    assert {name: everything[name] for name in STORE_PORT_NAMES} == stores
    assert len(set(everything.values())) == len(PORT_NAMES)
    assert all(FREE_PORT_MIN <= port < FREE_PORT_MAX for port in everything.values())


def test_another_base_moves_the_stack(home: StackHome) -> None:
    """The way out of a port conflict works also for a stack that has run before."""
    claim_ports(home, 18_400)
    assert claim_ports(home, 19_400)["gateway"] == 19_400


def test_a_stack_stays_with_its_base(home: StackHome) -> None:
    """Whoever doesn't name a base again gets the ports of last time; a new home the default."""
    assert claim_ports(home, None)["gateway"] == PORT_BASE_DEFAULT
    moved = claim_ports(home, 18_400)
    assert claim_ports(home, None) == moved
    free = claim_ports(home, 0)
    assert claim_ports(home, None) == free


def test_a_taken_port_is_named_with_the_way_out() -> None:
    """The fault carries name and port, and tells how to see who listens and what to set."""
    with socket.create_server((LOOPBACK, 0)) as taken:
        port = taken.getsockname()[1]
        assert not is_free(port)
        with pytest.raises(PortInUse, match=r"ss -ltnp.*TALLY_PORT_BASE") as fault:
            require_free({"gateway": port}, ["gateway"])
    assert (fault.value.name, fault.value.port) == ("gateway", port)


def test_no_port_is_given_twice() -> None:
    """What is already promised to another server is not given out again, but refused."""
    with pytest.raises(PortInUse):
        free_port(range(FREE_PORT_MIN, FREE_PORT_MAX))


@pytest.mark.skipif(sys.platform != "linux", reason="claims are Linux's abstract sockets")
def test_two_stacks_that_start_together_draw_different_ports() -> None:
    """A port that another process has drawn, and does not listen on yet, is not given out; once it ended it is."""
    drawn = free_port()
    script = f"""
import secrets
secrets.randbelow = lambda _: {drawn - FREE_PORT_MIN}
from ops.local import ports
print(ports.free_port(), flush=True)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 1
    assert "PortInUse" in done.stderr
    while ports._claims:
        ports._claims.popleft().close()
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == f"{drawn}\n", done.stderr


def test_no_other_port_lies_among_those_of_the_gateways(tmp_path: Path) -> None:
    """Gateways after the first listen on the ports behind the one that was drawn, and nobody has claimed those."""
    all_ports = [claim_ports(StackHome.prepare(tmp_path / str(number)), 0) for number in range(3)]
    stretches = [range(one["metrics"], one["metrics"] + GATEWAYS_MAX) for one in all_ports]
    drawn = [port for one in all_ports for port in one.values()]
    for stretch in stretches:
        assert [port for port in drawn if port in stretch] == [stretch.start]
        assert stretch.stop <= FREE_PORT_MAX
    assert not {free_port() for _ in range(50)} & set(range(FREE_STRETCHES_MIN, FREE_PORT_MAX))


def test_claims_are_bounded() -> None:
    """Whoever draws ports again and again holds no more than the last ones."""
    for _ in range(ports.CLAIMS_KEPT_MAX + 5):
        free_port()
    assert len(ports._claims) <= ports.CLAIMS_KEPT_MAX
