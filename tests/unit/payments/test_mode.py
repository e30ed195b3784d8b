from __future__ import annotations

from payments.mode import Mode


def test_stored_numbers_never_change() -> None:
    """Rows written years ago keep their meaning."""
    assert {mode.name: mode.value for mode in Mode} == {"TEST": 1, "LIVE": 2}


def test_wire_words_lead_back() -> None:
    """Every mode has its own word, and no other word is a mode."""
    assert {mode.wire: Mode.parse(mode.wire) for mode in Mode} == {
        "test": Mode.TEST,
        "live": Mode.LIVE,
    }
    assert [Mode.parse(word) for word in ("", "TEST", "Live", "sandbox")] == [None] * 4
