"""Where a host serves its metrics."""

from __future__ import annotations

import pytest

from actors.metrics_serving import listen_address


@pytest.mark.parametrize(
    ("metrics_address", "name", "expected"),
    [
        ("127.0.0.1:0", "host-3", ("127.0.0.1", 0)),
        ("127.0.0.1:9500", "host-0", ("127.0.0.1", 9_500)),
        ("0.0.0.0:9500", "host-12", ("0.0.0.0", 9_512)),
        ("127.0.0.1:9500", "only", ("127.0.0.1", 9_500)),
        ("[::1]:9500", "host-1", ("::1", 9_501)),
        ("", "host-0", None),
    ],
)
def test_hosts_of_one_machine_do_not_meet(
    metrics_address: str, name: str, expected: tuple[str, int] | None
) -> None:
    """One configuration gives each host a port of its own, any free one, or none."""
    assert listen_address(metrics_address, name) == expected
