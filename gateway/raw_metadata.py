"""A body of which only the metadata is looked at, its values unread: to say which key of it is wrong."""

from __future__ import annotations

import msgspec


class _RawMetadata(msgspec.Struct, frozen=True):
    metadata: dict[str, msgspec.Raw]


RAW_METADATA_DECODER = msgspec.json.Decoder(_RawMetadata)
