from __future__ import annotations

from pathlib import Path

from ops.local.logs import log_tail, rotate_if_larger


def test_a_log_stays_bounded_while_its_writer_goes_on(tmp_path: Path) -> None:
    """An oversized log is moved aside, the writer's next line starts the new one."""
    path = tmp_path / "server.log"
    with path.open("ab", buffering=0) as writer:
        for number in range(6):
            writer.write(b"%d" % number * 100)
            assert rotate_if_larger(path, bytes_max=50, copies_kept=3)
        writer.write(b"last")
    assert path.read_bytes() == b"last"
    copies = {copy.name: copy.read_bytes()[:1] for copy in tmp_path.glob("server.log.*")}
    assert copies == {"server.log.1": b"5", "server.log.2": b"4", "server.log.3": b"3"}


def test_a_small_log_is_left_alone(tmp_path: Path) -> None:
    """Rotation waits for the bound, and doesn't mind a log that isn't there."""
    path = tmp_path / "server.log"
    assert not rotate_if_larger(path, bytes_max=50)
    path.write_bytes(b"x" * 50)
    assert not rotate_if_larger(path, bytes_max=50)
    assert path.stat().st_size == 50


def test_the_tail_is_the_end_of_the_log(tmp_path: Path) -> None:
    """A message shows the last lines, whatever the log's size or bytes."""
    path = tmp_path / "server.log"
    assert log_tail(path) == ""
    path.write_bytes(b"\xff\n" * 100_000 + b"first\nsecond\n")
    assert log_tail(path, lines=2) == "first\nsecond"
