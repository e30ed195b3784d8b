from __future__ import annotations

import itertools
import json
import random
import time
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.bad_input.drawing import luhn_check_digit
from payments.card_numbers import (
    ISSUER_RANGES,
    LENGTH_MAX,
    LENGTH_MIN,
    IssuerRange,
    contains_card_number,
    contains_card_number_in_json,
)
from payments.money import AMOUNT_MINOR_MAX
from tests.strategies import card_numbers, spaced

# Published test numbers of the networks.
TEST_NUMBERS = [
    "4111111111111111",
    "4222222222222",
    "5555555555554444",
    "2223003122003222",
    "378282246310005",
    "6011111111111117",
    "30569309025904",
    "3530111333300000",
    "6200000000000005",
    "6759649826438453",
    "2200000000000004",
]
# Text that may stand beside a number without its digits touching the number's.
befores = st.sampled_from(["", "order", "é", "x-", ": ", '"', "\n", "12/", "7  ", "8 ", "0.", "_"])
afters = st.sampled_from(
    ["", "x", "é", "-x", '"', "\n", "/12", "  9", " 8", "--", "注文", ".0", "_"]
)


@pytest.mark.parametrize("number", TEST_NUMBERS)
def test_published_test_numbers_are_found(number: str) -> None:
    """The numbers every developer pastes are found, plain and as printed on a card."""
    printed = " ".join(number[start : start + 4] for start in range(0, len(number), 4))
    for text in (number, printed, printed.replace(" ", "-"), f"card{number}x"):
        assert contains_card_number(text)


@pytest.mark.parametrize("issuer", ISSUER_RANGES, ids=lambda issuer: f"{issuer[0]} {issuer[1]}")
def test_each_range_at_both_ends(issuer: IssuerRange) -> None:
    """Every range of the table is covered from its first prefix to its last, at every length."""
    for length in range(LENGTH_MIN, LENGTH_MAX + 1):
        for prefix in (issuer.first, issuer.last):
            stem = prefix.ljust(length - 1, "7")
            assert contains_card_number(stem + luhn_check_digit(stem))


@pytest.mark.parametrize(
    ("inside", "outside"),
    [
        ("40 49 50 51 55 56 58", "59 10 70 90 01"),
        ("2200 2204 2221 2720", "2199 2205 2220 2721"),
        ("300 305 3095 34 36 37 38 39", "306 308 3094 3096 31 32 33"),
        ("3528 3589", "3527 3590"),
        ("60 6011 62 6304 644 649 65 67 6759", "61 6303 6305 640 643 66 68 69"),
        ("81 82", "80 83"),
    ],
)
def test_table_is_the_published_one(inside: str, outside: str) -> None:
    """The ranges begin and end where the networks say: written here a second time."""

    def number(prefix: str) -> str:
        stem = prefix.ljust(15, "7")
        return stem + luhn_check_digit(stem)

    assert [prefix for prefix in inside.split() if not contains_card_number(number(prefix))] == []
    assert [prefix for prefix in outside.split() if contains_card_number(number(prefix))] == []


@given(number=spaced(card_numbers()), before=befores, after=afters)
def test_every_number_in_every_spacing_is_found(number: str, before: str, after: str) -> None:
    """No spacing by single spaces or hyphens hides a number, nor do letters that touch it."""
    assert contains_card_number(before + number + after)


@given(
    number=spaced(card_numbers()),
    zeros=st.lists(st.sampled_from("0٠۰０०𝟎"), min_size=19, max_size=19),
    space=st.sampled_from(" \u00a0\u2009\u202f\u3000"),
    hyphen=st.sampled_from("-\u2010\u2011\u2013\u2212\uff0d"),
)
def test_digits_of_other_scripts_count(
    number: str, zeros: list[str], space: str, hyphen: str
) -> None:
    """A number in full-width or Arabic-Indic digits, with typographic spaces, is a number."""
    scripts = itertools.cycle(zeros)
    written = "".join(
        chr(ord(next(scripts)) + int(character)) if character.isdigit() else character
        for character in number
    )
    text = written.replace(" ", space).replace("-", hyphen)
    assert contains_card_number(f"({text})")


@given(number=card_numbers(), other=st.integers(1, 9))
def test_a_wrong_check_digit_is_no_card_number(number: str, other: int) -> None:
    """Only Luhn-valid numbers are refused: nine in ten order numbers of that length pass."""
    wrong = number[:-1] + str((int(number[-1]) + other) % 10)
    assert not contains_card_number(wrong)


@pytest.mark.parametrize(
    "text",
    [
        "4111  1111  1111  1111",
        "4111.1111.1111.1111",
        "4111/1111/1111/1111",
        "4111 - 1111 - 1111 - 1111",
        "411111111111",  # 12 digits
        "0000000000000000",  # no issuer
        "1000000000000008",  # airlines: not a range of the table
        "9" * 16,
        "2026-11-23T02:28:38.123Z",
        "+49 30 901820",
        "",
        "-",
    ],
)
def test_what_is_no_card_number_passes(text: str) -> None:
    """Other separators, other lengths and other ranges are not card numbers."""
    assert not contains_card_number(text)


def test_a_number_among_other_groups_is_found() -> None:
    """An expiry date or a reference, a space or hyphen away, does not hide the number."""
    assert contains_card_number("4111 1111 1111 1111 12/27")
    assert contains_card_number("2026-11-23 4111111111111111 123")
    assert contains_card_number("1-2-3-4111-1111-1111-1111-4-5-6")


def test_a_slice_of_a_longer_group_is_no_card_number() -> None:
    """Long references pass, though some slice of them would do as a card number."""
    assert not contains_card_number("9941111111111111111")
    assert not contains_card_number("4111111111111111" + "0000")
    assert not contains_card_number("123456789012345678901234567890" * 40)


@given(amount_minor=st.integers(0, AMOUNT_MINOR_MAX))
def test_amounts_are_read_like_any_digits(amount_minor: int) -> None:
    """A JSON integer is refused exactly if its digits are a card number: anywhere means that."""
    text = json.dumps({"amount": amount_minor})
    assert contains_card_number(text) == contains_card_number(str(amount_minor))


def test_an_amount_that_is_a_card_number_is_refused() -> None:
    """A card number typed into the amount is found too, and ordinary amounts never are."""
    assert contains_card_number('{"amount":4111111111111111}')
    assert not any(contains_card_number(f'{{"amount":{10**n}}}') for n in range(16))


def test_uuids_are_passed_over() -> None:
    """An order, a cart or a buyer named by a UUID is never refused for its digits."""
    unlucky = "8e03978e-1111-4052-8417-99213aaaaaaa"
    digits = "4052841799213"
    assert luhn_check_digit(digits[:-1]) == digits[-1]
    for text in (unlucky, f'{{"cart":"{unlucky.upper()}"}}', f"/v1/payments/{unlucky}?limit=1"):
        assert not contains_card_number(text)
    # The same digits outside a UUID's shape, or in a "UUID" of digits alone, are a card number.
    assert contains_card_number(unlucky[1:])
    assert contains_card_number(unlucky + "a")
    assert contains_card_number("41111111-1111-1111-0000-000000000000")


def test_uuids_without_hyphens_are_passed_over() -> None:
    """So they are often written; digits in any other 32 characters are a card number."""
    unlucky = "199e17b552e9494b9a4052841799213f"
    assert contains_card_number("4052841799213")
    for text in (unlucky, f"seller-{unlucky}", unlucky.upper(), f"/v1/wallets/{unlucky}?limit=1"):
        assert not contains_card_number(text)
    assert contains_card_number(unlucky[1:])
    assert contains_card_number(unlucky + "a")
    # Where the variant stands is none of RFC 9562's.
    assert contains_card_number(unlucky[:16] + "c" + unlucky[17:])


def _digits_at_ends(text: str) -> int:
    """How many digits a text begins or ends with, whichever are more."""
    return max(
        len(text) - len(text.lstrip("0123456789")), len(text) - len(text.rstrip("0123456789"))
    )


@pytest.mark.parametrize("is_hyphened", [True, False])
def test_random_uuids_are_hardly_ever_refused(*, is_hyphened: bool) -> None:
    """Of twenty thousand, of which one in 1,000 holds a Luhn-valid stretch; none at all with hyphens."""
    source = random.Random(7)
    refused = []
    for _ in range(20_000):
        uuid = UUID(int=source.getrandbits(128), version=4)
        text = str(uuid) if is_hyphened else f"seller-{uuid.hex}"
        if contains_card_number(text):
            refused.append(uuid.hex)
    assert len(refused) <= (0 if is_hyphened else 8)
    assert all(_digits_at_ends(name) >= 13 for name in refused)


@pytest.mark.parametrize("number", ["4111111111111111", "378282246310005", "30569309025904"])
def test_a_card_number_in_a_uuids_shape_is_found(number: str) -> None:
    """With filling before or after it, or with the rest of its magnetic track (ISO/IEC 7813)."""
    source = random.Random(11)
    for _ in range(300):
        filling = "".join(source.choices("0123456789abcdef", k=32 - len(number) - 1))
        assert contains_card_number(number + source.choice("abcdef") + filling)
        assert contains_card_number(filling + source.choice("abcdef") + number)
    track = f"{number}D2812201{source.randrange(10**9):09d}F"
    assert contains_card_number(track[:32].ljust(32, "F"))


@pytest.mark.parametrize(
    "body",
    [
        rb'{"description":"\u0034111111111111111"}',
        rb'{"description":"4111\u00201111\u002D1111\u00a01111"}',
        rb'{"description":"\ud835\udfd2111111111111111"}',
        b'{"description":"4111111111111111"}',
        b'{"description":"\xff4111111111111111"}',
        '{"description":"４１１１１１１１１１１１１１１１"}'.encode(),
    ],
)
def test_escapes_in_json_hide_nothing(body: bytes) -> None:
    """A number written with JSON escapes, or beside broken UTF-8, is found before parsing."""
    assert contains_card_number_in_json(body)


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", rb'{"description":"\u00e9 \ud800 \uZZZZ 12"}', b'{"amount":1999,"x":"\xff"}'],
)
def test_ordinary_json_passes(body: bytes) -> None:
    """Escapes, halves of pairs and broken input are no card numbers, and break nothing."""
    assert not contains_card_number_in_json(body)


@pytest.mark.parametrize(
    ("body", "is_found"),
    [
        # Every five starts an issuer's range, and no number of 13 to 19 fives is Luhn-valid.
        (" ".join("5" * 32_768), False),
        # Where a card number was found, UUIDs are looked for: here every digit could start one.
        ("9-" * 32_768 + "x 4111111111111111", True),
        ("9-a-" * 16_384 + "4111111111111111", True),
        ("٩ " * 32_768, False),
    ],
    ids=["fives", "uuid starts", "uuid letters", "arabic"],
)
def test_the_worst_texts_take_linear_time(body: str, is_found: bool) -> None:
    """A body made to be slow costs milliseconds, not a stalled gateway."""
    started_at = time.process_time()
    assert contains_card_number(body) == is_found
    # 20 to 60 ms on the machine it was written on; quadratic work takes many seconds.
    assert time.process_time() - started_at < 2.0


def test_lone_surrogates_break_nothing() -> None:
    """Text that can't be encoded is searched all the same."""
    assert not contains_card_number("\ud800 12")
    assert contains_card_number("\ud800 4111111111111111")
