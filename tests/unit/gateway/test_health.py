"""Health, metrics, the drain, and the page of problems."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import cast
from uuid import uuid4

import pytest

from gateway.checks import of_replication, worst_of
from gateway.health import Check, CheckResult, CheckState
from gateway.serving import LISTENING_COUNT, GatewayFailed, serve, shared_socket
from payments.lifecycle import PaymentState
from runtime.faults import StorageUnavailable
from storage.one_copy import OneCopyWatch
from storage.queue_settings import QueueMode, QueueSettings
from tests.unit.gateway.stack import GatewayStack, settings, until


def _check(state: CheckState, *, is_vital: bool) -> Check:
    async def run() -> CheckResult:
        return CheckResult(state=state)

    return Check(run=run, is_vital=is_vital)


async def _unavailable() -> CheckResult:
    raise StorageUnavailable("redis", "secret address")


async def _hanging() -> CheckResult:
    await asyncio.sleep(60)
    raise AssertionError("nobody waits that long")


@pytest.mark.parametrize(
    ("checks", "status", "word"),
    [
        ({}, 200, "ready"),
        ({"queue": _check(CheckState.OK, is_vital=True)}, 200, "ready"),
        ({"queue": _check(CheckState.DEGRADED, is_vital=True)}, 200, "degraded"),
        ({"books": _check(CheckState.FAILED, is_vital=False)}, 200, "degraded"),
        ({"queue": _check(CheckState.FAILED, is_vital=True)}, 503, "not_ready"),
        ({"queue": Check(run=_unavailable, is_vital=True)}, 503, "not_ready"),
        ({"queue": Check(run=_hanging, is_vital=True)}, 503, "not_ready"),
    ],
)
async def test_readiness_says_what_is_missing(
    checks: dict[str, Check], status: int, word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """503 exactly when nothing can be accepted; degraded when a copy or the books are missing."""
    monkeypatch.setattr("gateway.health.CHECK_TIMEOUT_S", 0.1)
    async with GatewayStack(checks=checks) as stack:
        answer = await stack.get("/readyz")
        assert (answer.status, answer.json["status"]) == (status, word)
        assert set(answer.json["checks"]) == {"gateway", *checks}
        assert b"secret" not in answer.body
        assert (await stack.get("/healthz")).status == 200


async def test_readiness_says_that_intake_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """Orders that nobody takes in are told of before the standby's silence is."""
    monkeypatch.setattr("gateway.health.INTAKE_LATE_S", 0.1)
    async with GatewayStack() as stack:
        await stack.pay(uuid4())
        assert (await stack.get("/readyz")).json["status"] == "ready"
        await asyncio.sleep(0.15)
        answer = await stack.get("/readyz")
        assert (answer.status, answer.json["status"]) == (200, "degraded")
        assert "for its intake" in answer.json["checks"]["gateway"]["detail"]
        stack.gateway.accepting.taken_in([stack.queued()[0].order_uuid])
        assert (await stack.get("/readyz")).json["status"] == "ready"


@pytest.mark.parametrize(
    ("online_count", "state"),
    [(0, CheckState.FAILED), (1, CheckState.DEGRADED), (2, CheckState.OK)],
)
def test_replicas_are_counted(online_count: int, state: CheckState) -> None:
    """Fewer replicas than promised is degraded, fewer than are waited for can accept nothing; one that
    is frozen or still copying counts for nothing."""
    queue = QueueSettings(
        url="redis://127.0.0.1:1",
        replicas_awaited=1,
        replica_count=2,
        stream_length_max=10,
        record_count_max=20,
    )
    lines = ["role:master", "connected_slaves:2"]
    lines += [f"slave{n}:ip=::1,port=1,state=online,offset=1,lag=0" for n in range(online_count)]
    lines += ["slave8:ip=::1,port=3,state=online,offset=1,lag=4"]
    lines += ["slave9:ip=::1,port=2,state=wait_bgsave,offset=0,lag=0"]
    assert of_replication("\r\n".join(lines).encode(), queue).state is state
    assert of_replication(b"role:slave\r\n", queue).state is CheckState.FAILED


def test_a_replica_that_nobody_awaits_is_a_fault_where_others_promote() -> None:
    """A Sentinel or a cluster may promote it, without what was acknowledged; of several servers the worst counts."""
    queue = QueueSettings(
        url="redis://127.0.0.1:1",
        mode=QueueMode.CLUSTER,
        replicas_awaited=1,
        replica_count=1,
        stream_length_max=10,
        record_count_max=20,
    )
    lines = ["role:master", "slave0:ip=::1,port=1,state=online,offset=1,lag=0"]
    good = of_replication("\r\n".join(lines).encode(), queue)
    lines += ["slave1:ip=::1,port=2,state=online,offset=1,lag=0"]
    bad = of_replication("\r\n".join(lines).encode(), queue)
    assert (good.state, bad.state) == (CheckState.OK, CheckState.FAILED)
    assert "nobody waits for" in bad.detail
    assert worst_of([good, bad, good]) is bad
    assert worst_of([good]) is good


async def test_metrics_count_what_happens(stack: GatewayStack) -> None:
    """Answers, verdicts and problems are counted, by route template and never by payment."""
    key = uuid4()
    await stack.pay(key)
    await stack.get(f"/v1/payments/{key}")
    await stack.get("/nowhere")
    text = (await stack.get("/metrics")).body.decode()
    assert 'answers_total{route="/v1/payments",status="202"} 1.0' in text
    assert 'answers_total{route="/v1/payments/{id}",status="200"} 1.0' in text
    assert 'answers_total{route="none",status="404"} 1.0' in text
    assert 'verdicts_total{verdict="accepted"} 1.0' in text
    assert 'problems_total{code="not_found"} 1.0' in text
    assert str(key) not in text


async def test_problems_lead_to_a_page(stack: GatewayStack) -> None:
    """The type of every problem is a link to a page of ours with a section for its code."""
    problem = (await stack.get("/nowhere")).json
    path, _, fragment = problem["type"].partition("#")
    page = await stack.get(path)
    assert page.status == 200
    assert f'id="{fragment}"' in page.body.decode()


async def test_a_drain_finishes_what_is_in_flight(capsys: pytest.CaptureFixture[str]) -> None:
    """After a stop the port is closed, held requests get their answer, and serving ends."""
    stack = GatewayStack(gateway_settings=settings(drain_notice_s=0.2))
    listening = shared_socket("127.0.0.1", 0)
    host, port = listening.getsockname()
    stop = asyncio.Event()
    serving = asyncio.create_task(
        serve(stack.gateway, stack.settings, stop=stop, listening=listening)
    )
    async with stack.client(f"http://{host}:{port}"):
        asked = asyncio.create_task(stack.pay(uuid4(), headers={"Prefer": "wait=10"}))
        await until(stack.queued)
        stop.set()
        await asyncio.sleep(0.05)
        assert (await stack.get("/readyz")).status == 503
        await asyncio.sleep(0.3)
        assert not serving.done()
        stack.take_in(PaymentState.SUCCEEDED)
        assert (await asked).status == 201
    async with asyncio.timeout(2):
        await serving
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(host, port)


async def test_several_sockets_accept_side_by_side(stack: GatewayStack) -> None:
    """A burst of new clients is accepted by several sockets a turn of the loop; all end with the drain."""
    listening = shared_socket("127.0.0.1", 0)
    port = listening.getsockname()[1]
    stop = asyncio.Event()
    serving = asyncio.create_task(
        serve(stack.gateway, stack.settings, stop=stop, listening=listening)
    )
    await until(lambda: _listening_count(port) == LISTENING_COUNT)
    stop.set()
    await serving
    assert _listening_count(port) == 0


def _listening_count(port: int) -> int:
    """How many sockets the kernel has in the state LISTEN (0A) on a port."""
    lines = Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]
    fields = [line.split() for line in lines]
    return sum(field[1].endswith(f":{port:04X}") and field[3] == "0A" for field in fields)


async def test_processes_share_a_port() -> None:
    """Several processes may listen on one port at the same time."""
    first = shared_socket("127.0.0.1", 0)
    second = shared_socket("127.0.0.1", first.getsockname()[1])
    first.close()
    second.close()


async def test_a_dead_part_ends_the_process(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """When a lane dies of a defect, serving ends with an error instead of hanging requests."""
    stack = GatewayStack()

    async def die(*_args: object) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr("tests.fakes.fake_queue.FakeGatewayQueue.append", die)
    listening = shared_socket("127.0.0.1", 0)
    host, port = listening.getsockname()
    serving = asyncio.create_task(
        serve(stack.gateway, stack.settings, stop=asyncio.Event(), listening=listening)
    )
    async with stack.client(f"http://{host}:{port}"):
        answer = await stack.pay(uuid4())
        assert answer.status == 503
    async with asyncio.timeout(5):
        with pytest.raises(GatewayFailed, match="a defect"):
            await serving


async def test_one_accepted_copy_is_degraded_and_accepts() -> None:
    """While an operator accepts one copy, a queue without replicas is no reason to refuse orders."""

    class Accepted:
        is_accepted = True

    queue = QueueSettings(
        url="redis://127.0.0.1:1",
        replicas_awaited=1,
        replica_count=1,
        stream_length_max=10,
        record_count_max=20,
        one_copy=cast(OneCopyWatch, Accepted()),
    )
    result = of_replication(b"role:master\r\nconnected_slaves:0\r\n", queue)
    assert result.state is CheckState.DEGRADED
    assert "one copy is accepted" in result.detail
