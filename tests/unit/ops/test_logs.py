"""`tally logs tail`: one line a request, each shown once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

import pytest

from ops.commands.logs import LOOK_BACK_S, Unseen, document, line_of
from ops.exit_codes import ExitCode
from payments.identity import request_id
from payments.mode import Mode
from storage.request_rows import LoggedRequest, RequestHead
from tests.unit.ops.test_cli import run


def head(at_ms: int, code: str | None = None) -> RequestHead:
    request = LoggedRequest(
        request_no=UUID(int=at_ms << 80),
        merchant_no=1,
        mode=Mode.TEST,
        method="POST",
        route="/v1/payments",
        status=201 if code is None else 422,
        code=code,
        idempotency_key=None if code else UUID(int=5),
        duration_us=12_345,
        bodies=b"",
    )
    return RequestHead("mrc_a", request)


def test_without_a_stack_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It asks the books of a running stack."""
    assert run(monkeypatch, tmp_path, "logs", "tail", "--merchant", "mrc_a") == ExitCode.NOT_RUNNING


def test_a_line_has_what_one_searches_for() -> None:
    """Merchant, route, status, problem, time, request id and key stand in one line, and in its JSON."""
    line = line_of(head(5))
    for part in (
        "mrc_a test",
        "POST /v1/payments",
        "201",
        "1970-01-01T00:00:00.005",
        "12.3 ms",
        request_id(UUID(int=5 << 80)),
    ):
        assert part in line
    assert str(UUID(int=5)) in line
    refused = line_of(head(5, "amount_too_small"))
    assert "422 amount_too_small" in refused
    assert "key" not in refused
    assert document(head(5))["idempotency_key"] == str(UUID(int=5))


def test_a_follower_shows_each_request_once_also_a_late_one() -> None:
    """A request that was held for its outcome is written late: it is shown all the same, and none twice."""
    back_ms = LOOK_BACK_S * 1_000
    log = [head(back_ms + number) for number in (0, 10, 20)]
    unseen = Unseen(log[::-1])

    def look() -> Sequence[RequestHead]:
        found = [each for each in log if each.request.request_no > unseen.after]
        return unseen.of(sorted(found, key=lambda each: each.request.request_no, reverse=True))

    assert look() == []
    late, new = head(back_ms + 15), head(back_ms + 30)
    log += [late, new]
    assert look() == [new, late]
    assert look() == []
    far = head(10 * back_ms)
    log.append(far)
    assert look() == [far]
    assert unseen.after == UUID(int=9 * back_ms << 80)
    assert look() == []


def test_what_came_before_the_first_line_is_not_shown_later() -> None:
    """Who asked for the last twenty does not get the twenty-first a second later."""
    unseen = Unseen([head(100_000), head(99_990)])
    assert unseen.after == UUID(int=99_990 << 80)
    assert Unseen([]).after == UUID(int=0)
