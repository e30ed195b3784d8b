"""Messages on the streams that nobody can take in: of each class, written past every gateway."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from uuid import UUID

import msgspec

from loadtest.chaos.cells import HOST_KILLING_TEXT
from loadtest.chaos.failures import NotNow
from loadtest.chaos.faults.port import Detail, Scene
from ops.local.resp import RespError
from payments.answer import API_VERSION
from payments.fingerprint import FINGERPRINT_BYTES, VERSION
from payments.identity import MERCHANT_ID_RANDOM_BYTES, new_merchant_id, order_uuid
from payments.mode import Mode
from storage.envelope_payload import PAYLOAD_BYTES_MAX
from storage.queue_keys import stream_key

_NESTED = 2_000
_MERCHANT_ID = new_merchant_id(bytes(MERCHANT_ID_RANDOM_BYTES))

Fields = list[tuple[bytes, bytes]]


def good_fields(draw: random.Random) -> Fields:
    """The fields of a message that could be taken in but for its merchant, whom nobody knows."""
    key = UUID(int=draw.getrandbits(128), version=4)
    return [
        (b"c", b"payment"),
        (b"m", b"2000000000|test"),
        (b"k", str(order_uuid(_MERCHANT_ID, Mode.TEST, key)).encode()),
        (b"f", bytes([VERSION]) + draw.randbytes(FINGERPRINT_BYTES - 1)),
        (b"v", b"1|0"),
        (b"t", b"1767225600000"),
        (b"r", b""),
        (b"p", _payload(key, amount_minor=1_000)),
    ]


def _payload(key: UUID, *, amount_minor: int) -> bytes:
    return msgspec.msgpack.encode(
        [
            key.bytes,
            _MERCHANT_ID,
            1,
            amount_minor,
            "USD",
            0,
            "tok_approve",
            None,
            None,
            None,
            API_VERSION,
        ]
    )


def _with(
    name: bytes, value: Callable[[random.Random], bytes]
) -> Callable[[random.Random], Fields]:
    def make(draw: random.Random) -> Fields:
        fields = good_fields(draw)
        return [(key, value(draw) if key == name else old) for key, old in fields]

    return make


def _field_twice(draw: random.Random) -> Fields:
    return [*good_fields(draw), (b"c", b"payment")]


def _payload_missing(draw: random.Random) -> Fields:
    return [(key, value) for key, value in good_fields(draw) if key != b"p"]


def _amount_negative(draw: random.Random) -> bytes:
    return _payload(UUID(int=draw.getrandbits(128), version=4), amount_minor=-5)


MAKERS: Mapping[str, Callable[[random.Random], Fields]] = {
    "command_unknown": _with(b"c", lambda _: b"teleport"),
    "version_unknown": _with(b"v", lambda _: b"99|0"),
    "encryption_unknown": _with(b"v", lambda _: b"1|9"),
    "field_twice": _field_twice,
    "merchant_unreadable": _with(b"m", lambda draw: draw.randbytes(12)),
    "order_unreadable": _with(b"k", lambda _: b"no-uuid"),
    "fingerprint_short": _with(b"f", lambda draw: draw.randbytes(3)),
    "time_unreadable": _with(b"t", lambda _: b"yesterday"),
    "reply_unreadable": _with(b"r", lambda _: b"\xff\xfe\x00"),
    "payload_missing": _payload_missing,
    "payload_too_large": _with(b"p", lambda _: bytes(PAYLOAD_BYTES_MAX + 1)),
    "payload_garbage": _with(b"p", lambda draw: b"\xc1" + draw.randbytes(40)),
    "payload_nested": _with(b"p", lambda _: b"\x91" * _NESTED + b"\xc0"),
    "amount_negative": _with(b"p", _amount_negative),
    "kills_host": _with(b"c", lambda _: HOST_KILLING_TEXT.encode()),
}


class Poison:
    """One message of a class, into a stream of its own drawing."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene

    async def begin(self) -> Detail:
        scene = self._scene
        index = scene.draw.randrange(scene.stack.state().partition_count)
        fields = MAKERS[scene.cell.step](scene.draw)
        words = [word for field in fields for word in field]
        try:
            (reply,) = await scene.stack.ask_redis(("XADD", stream_key(index), "*", *words))
        except RespError as error:
            raise NotNow(f"the queue takes no message: {error}") from error
        return {"partition_index": index, "stream_id": str(reply)}

    async def heal(self) -> Detail:
        return {}
