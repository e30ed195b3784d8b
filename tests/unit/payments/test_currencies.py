from __future__ import annotations

import textwrap

from iso4217 import Currency, __published__

from payments.currencies import EXPONENTS


def generated_table() -> str:
    """Return the literal of payments/currencies.py as the installed iso4217 package has it."""
    codes_by_exponent: dict[int, list[str]] = {}
    for currency in Currency:
        if currency.exponent is not None:
            codes_by_exponent.setdefault(currency.exponent, []).append(currency.code)
    lines = []
    for exponent, codes in sorted(codes_by_exponent.items()):
        rows = textwrap.wrap(" ".join(sorted(codes)), 88)
        if len(rows) == 1:
            lines.append(f'    {exponent}: "{rows[0]}",')
        else:
            lines += [f'    {exponent}: """', *(f"    {row}" for row in rows), '    """,']
    return "\n".join(["_CODES_BY_EXPONENT: Mapping[int, str] = {", *lines, "}"])


def test_table_is_the_published_standard() -> None:
    """Every active currency with a minor unit is in the table, with its exponent, and no other."""
    published = {
        currency.code: currency.exponent for currency in Currency if currency.exponent is not None
    }
    assert dict(EXPONENTS) == published, (
        f"ISO 4217 of {__published__} differs from payments/currencies.py. Replace the table there"
        " by the text below, and its date; a code that left the standard needs a decision first:"
        f" books in it must stay readable.\n\n{generated_table()}"
    )


def test_generated_text_is_the_one_in_the_module() -> None:
    """The failure message of the test above can be pasted as it is."""
    namespace: dict[str, object] = {}
    text = generated_table().replace("_CODES_BY_EXPONENT: Mapping[int, str]", "table")
    exec(text, namespace)
    table = namespace["table"]
    assert isinstance(table, dict)
    assert {code: exp for exp, codes in table.items() for code in codes.split()} == dict(EXPONENTS)


def test_what_has_no_minor_unit_is_no_currency_of_ours() -> None:
    """No amount can be in gold, in test codes or in no currency at all."""
    assert not EXPONENTS.keys() & {"XXX", "XTS", "XAU", "XAG", "XPT", "XPD", "XDR", "XBA"}
    assert (EXPONENTS["USD"], EXPONENTS["JPY"], EXPONENTS["KWD"], EXPONENTS["CLF"]) == (2, 0, 3, 4)
