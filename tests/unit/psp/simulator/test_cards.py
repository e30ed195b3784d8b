"""The page's test cards, and what is said of a form."""

from __future__ import annotations

import pytest

from payments.card_numbers import contains_card_number
from psp.simulator.cards import CARDS, DECLINES, SMALL_LIMIT_MINOR, CardForm


@pytest.mark.parametrize("number", CARDS)
def test_every_test_card_looks_like_a_card(number: str) -> None:
    """Each is refused by the API: a storefront that sends it there by mistake is told so."""
    assert contains_card_number(number)


def test_every_decline_has_its_words() -> None:
    """A buyer is told why, whatever card is tried."""
    assert {fate.decline_code for fate in CARDS.values() if fate.decline_code} <= DECLINES.keys()


def test_the_card_with_a_limit_declines_above_it_alone() -> None:
    """One page may so pay one order and not the other."""
    fate = CARDS["4000000000005126"]
    assert fate.decline_of(SMALL_LIMIT_MINOR) is None
    assert fate.decline_of(SMALL_LIMIT_MINOR + 1) == "insufficient_funds"


@pytest.mark.parametrize(
    "number", ["4242 4242 4242 4242", "4242-4242-4242-4242", " 4242424242424242 "]
)
def test_a_number_may_be_written_in_groups(number: str) -> None:
    """Spaces and hyphens are how people write them."""
    assert CardForm(number, "12/30", "123").fate() == CARDS["4242424242424242"]


@pytest.mark.parametrize(
    ("form", "fields"),
    [
        (CardForm("4242424242424242", "12/30", "123"), []),
        (CardForm("4242424242424242", "1 / 2031", "1234"), []),
        (CardForm("4242424242424242", "11/26", "123"), []),
        (CardForm("4242424242424242", "10/26", "123"), ["expiry"]),
        (CardForm("4242424242424242", "13/30", "12"), ["expiry", "code"]),
        (CardForm("4111111111111111", "12/30", "123"), ["number"]),
        (CardForm("", "", ""), ["number", "expiry", "code"]),
        (CardForm("4242424242424242x", "12/30", "123"), ["number"]),
    ],
)
def test_a_form_is_judged_field_by_field(form: CardForm, fields: list[str]) -> None:
    """What is wrong is told at its field; a card that is none of the sandbox's is never taken."""
    assert list(form.problems(year=2026, month=11)) == fields


def test_a_form_shows_nothing_of_its_card() -> None:
    """A log line or a traceback that names the form names no digit."""
    assert "4242" not in repr(CardForm("4242424242424242", "12/30", "123"))
