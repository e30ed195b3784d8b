"""The command line: usage, exit codes, and what works without a stack."""

from __future__ import annotations

import errno
import io
import json
import os
import shlex
import socket
import sys
from pathlib import Path

import pytest

from ops import cli
from ops.commands.lifecycle import _print_what_next
from ops.context import API_KEY_VARIABLE, CommandContext
from ops.doctor import _listeners, address_text, listeners
from ops.exit_codes import ExitCode
from ops.output import Output
from ops.stack.state import Addresses, Phase, ProcessRecord, Role, StackState
from runtime.config import ConfigError

ADDRESSES = Addresses(
    gateway_url="http://127.0.0.1:1",
    psp_url="http://127.0.0.1:2",
    postgres_primary="127.0.0.1:3",
    postgres_standbys=["127.0.0.1:4"],
    redis_primary="127.0.0.1:5",
    redis_replicas=["127.0.0.1:6"],
)


def run(monkeypatch: pytest.MonkeyPatch, home: Path, *arguments: str, port_base: str = "0") -> int:
    """Run `tally` in this process and return its exit code."""
    monkeypatch.setattr(sys, "argv", ["tally", *arguments])
    monkeypatch.setenv("TALLY_HOME", str(home))
    monkeypatch.setenv("TALLY_PORT_BASE", port_base)
    try:
        cli.main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else ExitCode.FAILED
    return ExitCode.OK


@pytest.mark.parametrize("name", sorted(cli._MODULES))
def test_every_command_is_there_and_explains_itself(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    name: str,
) -> None:
    """Each command of the list exists, and has a help text."""
    assert run(monkeypatch, tmp_path, name, "--help") == ExitCode.OK
    assert f"Usage: tally {name}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ("pay", "--amount", "100"),
        ("payments", "show", "3f1e0000-0000-4000-8000-000000000000"),
        ("payments", "unpark", "3f1e0000-0000-4000-8000-000000000000", "--reason", "mended"),
        ("wallet",),
        ("merchants", "create", "Shop"),
        ("scale", "--hosts", "2"),
        ("migrate",),
        ("status",),
        ("top",),
        ("top", "--once", "--json"),
        ("verify",),
    ],
)
def test_without_a_stack_commands_say_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    """Whatever needs a running stack exits with 3 when there is none."""
    assert run(monkeypatch, tmp_path, *arguments) == ExitCode.NOT_RUNNING


@pytest.mark.parametrize(
    "arguments",
    [
        ("pay",),
        ("pay", "--amount", "0"),
        ("dance",),
        ("payments", "show", "3f1e"),
        ("payments", "unpark", "3f1e", "--reason", "mended", "--timeout-s", "-1"),
        ("scale", "--hosts", "-1"),
        ("scale", "--hosts", "0"),
        ("status", "-o", "x"),
        ("top", "--interval", "0"),
        ("top", "--interval", "nan"),
        ("bench", "--seconds", "nan"),
        ("listen", "--forward-to", "http://127.0.0.1:1/", "--type", "payment_order.paid"),
    ],
)
def test_wrong_usage_exits_with_two(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    """Missing, impossible and unknown arguments exit with 2."""
    assert run(monkeypatch, tmp_path, *arguments) == ExitCode.USAGE


def test_a_port_base_that_is_no_number_is_wrong_usage(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A mistake in the environment exits with 2 before anything is started."""
    assert run(monkeypatch, tmp_path, "up", port_base="many") == ExitCode.USAGE
    assert not list(tmp_path.iterdir())


def test_a_home_that_cannot_be_made_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A home in a place where nobody can write is named with the reason, and exits with 1."""
    home = Path("/proc/tallystick")
    assert run(monkeypatch, home, "up") == ExitCode.FAILED
    complaint = capsys.readouterr().err.splitlines()[-1]
    assert complaint.startswith(f"tally: {home} can't be used: ")


@pytest.mark.parametrize("command", ["up", "status", "pay"])
def test_a_home_of_another_user_is_one_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    command: str,
) -> None:
    """A state that this user may not read is named, and exits with 1."""

    def refuse(path: Path) -> bytes:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    arguments = ("pay", "--amount", "1") if command == "pay" else (command,)
    assert run(monkeypatch, tmp_path, *arguments) == ExitCode.FAILED
    complaint = capsys.readouterr().err.splitlines()[-1]
    assert complaint.startswith(f"tally: {tmp_path / 'run' / 'stack.json'} can't be used: ")


def test_a_mistake_in_the_configuration_is_wrong_usage(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A daemon that ended by the operator's own file makes `up` exit with 2, with its reason."""

    def refuse(*_: object) -> None:
        raise ConfigError("overrides.toml: unknown key")

    monkeypatch.setattr("ops.commands.lifecycle.start_stack", refuse)
    assert run(monkeypatch, tmp_path, "up") == ExitCode.USAGE
    assert "overrides.toml: unknown key" in capsys.readouterr().err


def test_down_and_reset_without_a_stack_do_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Stopping and deleting what is not there succeeds, and makes nothing."""
    assert run(monkeypatch, tmp_path, "down") == ExitCode.OK
    assert run(monkeypatch, tmp_path, "reset", "--yes") == ExitCode.OK
    assert not list(tmp_path.iterdir())


def test_status_as_json_is_json_without_a_stack_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A program that asks for JSON gets it whatever the state."""
    run(monkeypatch, tmp_path, "status", "--json")
    assert json.loads(capsys.readouterr().out)["healthy"] is False


def test_the_version_is_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """`tally --version` names the program and its version."""
    assert run(monkeypatch, tmp_path, "--version") == ExitCode.OK
    assert capsys.readouterr().out.startswith("tally ")


def test_doctor_names_a_port_in_use(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A port that somebody has is named, and the exit code says that a stack can't start."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        code = run(monkeypatch, tmp_path, "doctor", port_base=str(port))
    assert code == ExitCode.FAILED
    assert f"{port} (gateway)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("hexadecimal", "text"),
    [
        ("0100007F", "127.0.0.1"),
        ("00000000", "0.0.0.0"),
        ("00000000000000000000000001000000", "::1"),
        ("0000000000000000FFFF00000100007F", "127.0.0.1"),
    ],
)
def test_the_kernels_addresses_are_read(hexadecimal: str, text: str) -> None:
    """Addresses of /proc/net/tcp come out as people write them (on a little-endian machine)."""
    if sys.byteorder == "little":
        assert address_text(hexadecimal) == text


def test_our_own_listeners_are_found() -> None:
    """A listening socket of a process is found, with its address, by the process's pid."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        found = [listener for listener in listeners({os.getpid()}) if listener.port == port]
    assert [(listener.address, listener.is_loopback) for listener in found] == [("127.0.0.1", True)]


def a_running_state() -> StackState:
    """What a stack would tell whose only process is this one."""
    me = ProcessRecord.of("gateway-0", os.getpid(), Role.GATEWAY)
    return StackState(
        phase=Phase.RUNNING,
        stack_id="of no process",
        daemon_pid=me.pid,
        daemon_start_ticks=me.start_ticks,
        started_at="2026-01-01T00:00:00.000+00:00",
        is_ray_used=False,
        processes=[me],
        addresses=ADDRESSES,
    )


def test_an_address_with_several_sockets_is_listed_once() -> None:
    """A gateway that listens on one address with several sockets has it once in its line."""
    state = a_running_state()
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as server:
        address = server.getsockname()
        with socket.create_server(address, reuse_port=True):
            [finding] = [item for item in _listeners(state) if "gateway-0" in item.subject]
    assert finding.detail.count(f"127.0.0.1:{address[1]}") == 1


@pytest.mark.parametrize("is_home_given", [True, False])
def test_a_hint_repeats_the_home_that_was_given(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    is_home_given: bool,
) -> None:
    """Whoever named a home by the option is told to start that stack, not another one."""
    home = tmp_path / "the shop's"
    option = ("--home", str(home)) if is_home_given else ()
    assert run(monkeypatch, home, *option, "verify") == ExitCode.NOT_RUNNING
    command = f"tally --home {shlex.quote(str(home))} up" if is_home_given else "tally up"
    assert capsys.readouterr().err.rstrip().endswith(f"Start it: {command}")


@pytest.mark.parametrize("is_home_given", [True, False])
def test_what_to_do_next_repeats_the_home_that_was_given(
    tmp_path: Path, is_home_given: bool
) -> None:
    """Each `tally` command that `up` ends with is for the stack that it started."""
    out = io.StringIO()
    environment = {API_KEY_VARIABLE: "key"}
    context = CommandContext(
        root=tmp_path,
        environment=environment,
        output=Output(environment, out=out, err=io.StringIO()),
        is_home_given=is_home_given,
    )
    _print_what_next(a_running_state(), context)
    option = f"--home {tmp_path} " if is_home_given else ""
    for command in ("pay --amount", "status\n", "down\n"):
        assert f" {option}{command}" in out.getvalue()
    assert ("--home" in out.getvalue()) == is_home_given
