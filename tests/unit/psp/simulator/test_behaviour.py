"""The sandbox tokens, references and latencies."""

from __future__ import annotations

import re
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from psp.simulator.behaviour import (
    FOR_EVER_MS,
    SCRIPTS,
    SLOW_MS_MAX,
    UNKNOWN_TOKEN,
    VARIED_TOKEN,
    FirstTry,
    Latency,
    Script,
    digest_of_key,
    digest_of_reference,
    drawn_token,
    fingerprint_of_request,
    reference_of_digest,
    script_of,
    varied_token,
)
from psp.simulator.wire import Denial

SEEDS = st.integers(min_value=0, max_value=2**63 - 1)


@pytest.mark.parametrize(
    ("token", "script"),
    [
        ("tok_approve", Script()),
        ("tok_decline_do_not_honor", Script(decline_code="do_not_honor")),
        ("tok_limit_2000", Script(decline_code="insufficient_funds", limit_minor=2_000)),
        ("tok_3ds", Script(needs_action=True)),
        ("tok_slow_250", Script(answer_delay_ms=250)),
        ("tok_timeout_before", Script(first_try=FirstTry.HANGS)),
        ("tok_charge_then_timeout", Script(drops_answer=True)),
        (
            "tok_charge_then_refuse",
            Script(drops_answer=True, denial=Denial.REFUSED, denies_ms=3_000),
        ),
        (
            "tok_conflict_409",
            Script(drops_answer=True, denial=Denial.IN_PROGRESS, denies_ms=3_000),
        ),
        (
            "tok_lie_not_found",
            Script(drops_answer=True, denial=Denial.NOT_FOUND, denies_ms=3_000),
        ),
        ("tok_stored_500", Script(denial=Denial.FAILED, denies_ms=FOR_EVER_MS)),
        ("tok_error_500", Script(first_try=FirstTry.FAILS)),
        ("tok_rate_limited", Script(first_try=FirstTry.RATE_LIMITED)),
        ("tok_down", Script(is_refused_while_down=True)),
    ],
)
def test_every_documented_token_does_what_its_row_says(token: str, script: Script) -> None:
    """Each row of the published table of sandbox tokens is one script."""
    assert script_of(token) == script


@pytest.mark.parametrize(
    "token",
    [
        "",
        "tok_",
        "tok_decline_",
        "tok_decline_A1",
        "tok_slow_",
        "tok_slow_-1",
        "tok_limit_",
        "tok_approve\n",
    ],
)
def test_anything_else_is_an_invalid_token(token: str) -> None:
    """What isn't in the table is declined as such, and never approved by accident."""
    assert script_of(token) is UNKNOWN_TOKEN


def test_no_token_is_slow_for_ever() -> None:
    """The longest delay is bounded, whatever the token asks for."""
    assert script_of("tok_slow_999999").answer_delay_ms == SLOW_MS_MAX


def test_only_the_approving_token_has_no_trick() -> None:
    """No two tokens of the table do the same, and only ``tok_approve`` simply approves."""
    assert len(set(SCRIPTS.values())) == len(SCRIPTS)
    assert [token for token, script in SCRIPTS.items() if script == Script()] == ["tok_approve"]


@given(seed=SEEDS, key=st.text(min_size=1))
def test_a_reference_never_looks_like_a_card_number(seed: int, key: str) -> None:
    """A reference has no digit at all, and leads back to the digest that it was made from."""
    digest = digest_of_key(seed, key)
    reference = reference_of_digest(digest)
    assert re.fullmatch("ch_[a-z]{24}", reference)
    assert digest_of_reference(reference) == digest


@pytest.mark.parametrize("reference", ["", "ch_", "ch_" + "a" * 24, "re_" + "b" * 24, "x"])
def test_a_foreign_reference_has_no_digest(reference: str) -> None:
    """What we never gave out is recognized as such."""
    assert digest_of_reference(reference) is None


def test_seed_and_key_draw_everything() -> None:
    """The same seed and key repeat a draw; another seed or another key changes it."""
    slow = Latency(median_ms=50, sigma=0.5)
    assert slow.delay_s(1, "a") == slow.delay_s(1, "a")
    assert len({slow.delay_s(1, "a"), slow.delay_s(2, "a"), slow.delay_s(1, "b")}) == 3
    assert digest_of_key(1, "a") == digest_of_key(1, "a") != digest_of_key(2, "a")


def test_latencies_have_the_median_that_was_asked_for() -> None:
    """Half of the keys take less than the median, and with a shape of 0 each takes exactly that."""
    drawn = [Latency(median_ms=80, sigma=0.6).delay_s(3, f"key.{n}") for n in range(2_000)]
    assert median(drawn) == pytest.approx(0.080, rel=0.05)
    assert max(drawn) > 3 * median(drawn)
    assert Latency(median_ms=80).delay_s(3, "key") == pytest.approx(0.080)
    assert Latency().delay_s(3, "key") == 0


@given(request=st.binary())
def test_a_fingerprint_is_exact_in_json(request: bytes) -> None:
    """A fingerprint stays below 2**56, so that every JSON reader keeps it as it was."""
    assert 0 <= fingerprint_of_request(request) < 2**56


@given(seed=SEEDS)
def test_faults_are_drawn_by_seed_and_key(seed: int) -> None:
    """The same keys fare the same again, about as many as asked for, and only those that ask for nothing."""
    rates = {"tok_error_500": 0.2, "tok_charge_then_timeout": 0.3}
    keys = [f"key-{n}" for n in range(400)]
    drawn = [drawn_token(rates, seed, key, "tok_approve") for key in keys]
    assert drawn == [drawn_token(rates, seed, key, "tok_approve") for key in keys]
    assert 30 < drawn.count("tok_error_500") < 140
    assert 60 < drawn.count("tok_charge_then_timeout") < 190
    assert drawn.count("tok_approve") > 100
    assert {drawn_token(rates, seed, key, "tok_3ds") for key in keys} == {"tok_3ds"}
    assert {drawn_token({}, seed, key, "tok_approve") for key in keys} == {"tok_approve"}
    assert {drawn_token({"tok_down": 1.0}, seed, key, "tok_approve") for key in keys} == {
        "tok_down"
    }


def test_a_varied_token_fares_by_its_simulators_shares() -> None:
    """Drawn by seed and key; without shares it simply approves, and no other token varies."""
    shares = {"tok_decline_issuer_unavailable": 0.2}
    keys = [f"key-{n}" for n in range(2_000)]
    drawn = [varied_token(shares, 1, key, VARIED_TOKEN) for key in keys]
    assert drawn == [varied_token(shares, 1, key, VARIED_TOKEN) for key in keys]
    assert 300 < drawn.count("tok_decline_issuer_unavailable") < 500
    assert set(drawn) == {"tok_approve", "tok_decline_issuer_unavailable"}
    assert varied_token({}, 1, "key", VARIED_TOKEN) == "tok_approve"
    assert varied_token(shares, 1, "key", "tok_3ds") == "tok_3ds"
    assert script_of(VARIED_TOKEN) == Script()


def test_a_limit_declines_what_is_above_it_alone() -> None:
    """A token with a limit pays up to it; one without an amount in it declines everything or nothing."""
    limited = script_of("tok_limit_2000")
    assert [limited.decline_of(amount) for amount in (1, 2_000, 2_001)] == [
        *(None, None),
        "insufficient_funds",
    ]
    assert script_of("tok_decline_do_not_honor").decline_of(1) == "do_not_honor"
    assert script_of("tok_approve").decline_of(10**15) is None
