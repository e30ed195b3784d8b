"""The durable queue on Redis or Valkey Streams: what other packages use of it.

``queue_gateway`` appends, ``queue_owner`` reads and removes, ``replies`` answers; all three through
``queue_connection``, which never reconnects unseen.
"""

from __future__ import annotations

from storage.queue_gateway import APPEND_ENTRIES_MAX, RedisGatewayQueue
from storage.queue_keys import reply_channel
from storage.queue_owner import KEY_RECORD_TTL_S, REMOVAL_AGE_S_MAX, RedisOwnerQueue
from storage.queue_settings import QueueAddress, QueueSettings, QueueSettingsInvalid

__all__ = [
    "APPEND_ENTRIES_MAX",
    "KEY_RECORD_TTL_S",
    "REMOVAL_AGE_S_MAX",
    "QueueAddress",
    "QueueSettings",
    "QueueSettingsInvalid",
    "RedisGatewayQueue",
    "RedisOwnerQueue",
    "reply_channel",
]
