"""Reading ``INFO replication`` for the replicas' lag."""

from __future__ import annotations

import pytest

from runtime.faults import StorageUnavailable
from storage.queue_status import ReplicaStatus, replicas_of

INFO = b"""\
# Replication\r
role:master\r
connected_slaves:2\r
slave0:ip=10.0.0.2,port=7404,state=online,offset=900,lag=1,type=replica\r
slave1:ip=10.0.0.3,port=7404,state=wait_bgsave,offset=0,lag=0,type=replica\r
master_repl_offset:1000\r
"""


def test_replicas_are_told_with_their_lag() -> None:
    """A replica that is online has its lag in bytes; one that is still being made has none."""
    assert list(replicas_of(INFO)) == [
        ReplicaStatus(address="10.0.0.2:7404", lag_bytes=100, silent_s=1)
    ]


def test_a_server_that_tells_no_offset_is_not_guessed_about() -> None:
    """Without the primary's offset no lag is known, so none is told."""
    with pytest.raises(StorageUnavailable):
        replicas_of(INFO.replace(b"master_repl_offset", b"other"))
