"""`tally listen` and `tally trigger` on a stack: a local program is told of what was provoked, signed."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

from psp.webhooks import (
    HEADER_ID,
    HEADER_SIGNATURE,
    HEADER_TIMESTAMP,
    WebhookVerifier,
    secret_bytes,
)
from tests.acceptance.running_stack import COMMAND_TIMEOUT_S, RunningStack


@contextmanager
def receiver() -> Iterator[tuple[str, list[tuple[dict[str, str], bytes]]]]:
    """A program that takes webhooks: its URL, and what it got."""
    got: list[tuple[dict[str, str], bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got.append(({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/webhooks", got
        finally:
            server.shutdown()
            thread.join()


def test_what_is_triggered_is_heard(stack: RunningStack) -> None:
    """The event of a payment that was provoked reaches a local receiver, signed with the secret that was printed."""
    with receiver() as (url, got):
        listening = subprocess.Popen(
            [
                *(sys.executable, "-P", "-m", "ops.cli", "--home", str(stack.home), "listen"),
                *(
                    "--forward-to",
                    url,
                    "--type",
                    "payment_order.succeeded",
                    "--count",
                    "1",
                    "--json",
                ),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert listening.stderr is not None
            said = listening.stderr.readline()
            triggered = None
            # The stream begins a moment after the line above; what came before it is not told.
            while listening.poll() is None:
                triggered = stack.json("trigger", "payment_order.succeeded")
            out, errors = listening.communicate(timeout=COMMAND_TIMEOUT_S)
        finally:
            listening.kill()
    assert listening.returncode == 0, errors
    assert triggered is not None
    told = json.loads(out)
    ((headers, body),) = got
    assert told["status"] == 204
    event = json.loads(body)
    assert event["type"] == told["type"] == "payment_order.succeeded"
    assert headers[HEADER_ID] == event["id"] == told["event_id"]
    secret = said.rstrip().rpartition(" ")[2]
    refusal = WebhookVerifier([secret_bytes(secret)], tolerance_s=300).refusal(
        headers[HEADER_ID],
        headers[HEADER_TIMESTAMP],
        headers[HEADER_SIGNATURE],
        body,
        now_s=int(headers[HEADER_TIMESTAMP]),
    )
    assert refusal is None
