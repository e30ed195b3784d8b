"""Key stores: the key of a name is the same for everybody, and outlives whoever asked first."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from tallystick import FileKeyStore, KeyStore, KeyStoreFailed, MemoryKeyStore

Factory = Callable[[], KeyStore]

_KEEPER = """
import sys, uuid
from tallystick import FileKeyStore
print(FileKeyStore(sys.argv[1]).keep("cart-1", uuid.uuid4()), flush=True)
sys.stdin.read()
"""


@pytest.fixture(params=["memory", "file"])
def factory(request: pytest.FixtureRequest, tmp_path: Path) -> Factory:
    """Opens the store; the file's twice over, as two processes would."""
    if request.param == "file":
        return lambda: FileKeyStore(tmp_path / "keys.db")
    store = MemoryKeyStore()
    return lambda: store


def test_the_first_key_of_a_name_stays(factory: Factory) -> None:
    """Whoever comes later gets the key that is there, from another opening of the store, too."""
    first, second = uuid4(), uuid4()
    assert factory().keep("cart-1", first) == first
    assert factory().keep("cart-1", second) == first
    assert factory().keep("cart-2", second) == second


def test_only_the_key_that_is_meant_is_forgotten(factory: Factory) -> None:
    """Two that forget at once can't throw away the key of the new try that one of them began."""
    first, second = uuid4(), uuid4()
    store = factory()
    store.keep("cart-1", first)
    store.forget("cart-1", second)
    assert store.keep("cart-1", second) == first
    store.forget("cart-1", first)
    assert store.keep("cart-1", second) == second
    store.forget("cart-1", first)
    assert store.keep("cart-1", first) == second


def test_threads_agree_on_one_key(factory: Factory) -> None:
    """Of many that ask at the same moment all get the same key."""
    found: set[UUID] = set()
    together = threading.Barrier(8)

    def keep() -> None:
        store = factory()
        together.wait()
        found.add(store.keep("cart-1", uuid4()))

    threads = [threading.Thread(target=keep) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 1


def test_a_key_outlives_a_process_that_is_killed(tmp_path: Path) -> None:
    """What was kept is kept, though its process was killed in the next moment."""
    path = tmp_path / "keys.db"
    with subprocess.Popen(
        [sys.executable, "-c", _KEEPER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as keeper:
        assert keeper.stdout is not None
        printed = keeper.stdout.readline().strip()
        keeper.send_signal(signal.SIGKILL)
    assert str(FileKeyStore(path).keep("cart-1", uuid4())) == printed


def test_a_forked_child_uses_the_file_and_not_its_parents_connection(tmp_path: Path) -> None:
    """Web servers fork: parent and child go on with the same keys."""
    store = FileKeyStore(tmp_path / "keys.db")
    kept = store.keep("cart-1", uuid4())
    child = os.fork()
    if child == 0:
        is_same = store.keep("cart-1", uuid4()) == kept
        os._exit(0 if is_same else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert store.keep("cart-1", uuid4()) == kept
    store.close()


def test_keys_that_nobody_needs_any_more_are_forgotten_by_age(tmp_path: Path) -> None:
    """The file does not grow for ever, and what is younger stays."""
    now = [1_000.0]
    store = FileKeyStore(tmp_path / "keys.db", clock=lambda: now[0])
    store.keep("old", uuid4())
    now[0] = 2_000.0
    young = store.keep("young", uuid4())
    assert store.forget_older(500.0) == 1
    assert store.keep("young", uuid4()) == young


def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    """Names of carts are nobody else's business."""
    FileKeyStore(tmp_path / "keys.db").close()
    assert stat.S_IMODE((tmp_path / "keys.db").stat().st_mode) == 0o600


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    """A key that can't be kept is an error before anything is sent."""
    broken = tmp_path / "keys.db"
    broken.write_bytes(b"this is no database, and long enough to be looked at" * 30)
    with pytest.raises(KeyStoreFailed, match=r"keys\.db"):
        FileKeyStore(broken)
    with pytest.raises(KeyStoreFailed):
        FileKeyStore(tmp_path / "nowhere" / "keys.db")
