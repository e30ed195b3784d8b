"""What operators ask of the daemon: handed out once, answered once, taken back when nobody waits."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from click.exceptions import BadParameter

from ops.commands.stores import ONE_COPY_S_MAX, Term
from ops.stack.store_requests import (
    StoreAnswer,
    StoreRequest,
    answer,
    ask_daemon,
    forget_requests,
    take_requests,
)

REQUEST = StoreRequest(action="promote", store="redis", actor="test")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    directory = tmp_path / "run"
    directory.mkdir()
    return directory


def test_a_request_is_handed_out_once_and_answered(run: Path) -> None:
    """Whoever asks gets the answer to its own request, and leaves no file behind."""
    told = StoreAnswer(is_done=True, text="valkey_2 leads")

    def serve() -> None:
        while not (taken := take_requests(run)):
            pass
        assert taken[0][1] == REQUEST
        assert take_requests(run) == []
        answer(run, taken[0][0], told)

    daemon = threading.Thread(target=serve)
    daemon.start()
    assert ask_daemon(run.parent, REQUEST, timeout_s=10) == told
    daemon.join()
    assert list(run.iterdir()) == []


def test_a_request_without_an_answer_is_taken_back(run: Path) -> None:
    """A daemon that comes later does not promote what nobody waits for any more."""
    assert ask_daemon(run.parent, REQUEST, timeout_s=0.15) is None
    assert take_requests(run) == []


def test_what_is_no_request_is_answered_too(run: Path) -> None:
    """A request of another version is refused, not ignored."""
    (run / "store-request-x").write_bytes(b"{}")
    assert take_requests(run) == []
    assert b"not understood" in (run / "store-answer-x").read_bytes()


def test_a_new_daemon_forgets_old_requests(run: Path) -> None:
    """A request to a daemon that died is not served by the next one."""
    (run / "store-request-x").write_bytes(b"{}")
    forget_requests(run)
    assert list(run.iterdir()) == []


@pytest.mark.parametrize(("text", "term_s"), [("90s", 90.0), ("15m", 900.0), ("2h", 7200.0)])
def test_times_are_written_with_their_unit(text: str, term_s: float) -> None:
    """Seconds, minutes and hours."""
    assert Term().convert(text, None, None) == term_s


@pytest.mark.parametrize("text", ["", "90", "0s", "1d", "-5m", "1.5h", "٣m", "13h", "99999h"])
def test_other_times_are_refused(text: str) -> None:
    """Without a unit nobody knows what was meant; beyond the bound it is no emergency."""
    assert ONE_COPY_S_MAX == 12 * 3600
    with pytest.raises(BadParameter):
        Term().convert(text, None, None)
