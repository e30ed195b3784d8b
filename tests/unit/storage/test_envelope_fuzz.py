"""The envelope's decoder under a coverage-guided fuzzer, and the fuzzer under decoders that are broken."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import pytest

from tests.fuzz.envelope import DECODED, REASONS, TARGET, seeds
from tests.fuzz.guided import Findings, PromiseBroken, Target, fuzz

# Two or three seconds; `python -m tests.fuzz.envelope` looks for as long as you like.
INPUTS = 3_000


@pytest.mark.interpreted
def test_any_bytes_decode_or_raise_the_one_fault() -> None:
    """Whatever lies on the stream is a command that stays itself when encoded again, or is set aside."""
    found = fuzz(TARGET, seeds(), seed=1, is_over=lambda found: found.input_count >= INPUTS)
    assert found.results == {*REASONS, DECODED}, "some refusal was never reached"
    assert len(found.corpus) > 2 * len(seeds())


def test_the_same_seed_tries_the_same() -> None:
    """What a run found can be found again."""
    first, second = (
        fuzz(TARGET, seeds(), seed=3, is_over=lambda found: found.input_count >= 150)
        for _ in range(2)
    )
    assert first.corpus == second.corpus
    assert first.jumps == second.jumps


def _target(check: Callable[[bytes], str]) -> Target[bytes]:
    def change(chance: random.Random, data: bytes, corpus: Sequence[bytes]) -> bytes:
        kept = data[: chance.randint(0, len(data))]
        return kept + chance.randbytes(1)

    return Target(files={__file__}, check=check, change=change, size_bytes=len)


def _gives_up(found: Findings[bytes]) -> bool:
    return found.input_count >= 30_000


def _broken_behind_three_bytes(data: bytes) -> str:
    if data[:1] == b"F":
        if data[1:2] == b"U":
            if data[2:3] == b"Z":
                raise IndexError("behind three bytes")
            return "two"
        return "one"
    return "none"


def _greedy(data: bytes) -> str:
    return "short" if len(data) < 2 else str(len(bytearray(3 * 1024 * 1024)))


@pytest.mark.parametrize(
    ("check", "why"), [(_broken_behind_three_bytes, "IndexError"), (_greedy, "bytes of memory")]
)
def test_a_broken_decoder_is_found(check: Callable[[bytes], str], why: str) -> None:
    """Step by step the fuzzer finds what chance alone needs sixteen million tries for, and greed too."""
    with pytest.raises(PromiseBroken, match=why):
        fuzz(_target(check), [b""], seed=1, is_over=_gives_up)
