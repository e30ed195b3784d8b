"""What the growth probe says of memory and tables, in the terminal and on its page."""

from __future__ import annotations

from typing import Any

import pytest

from loadtest.bench.growth import FITTED_FROM_ORDERS
from loadtest.bench.report_growth import print_growth
from loadtest.bench.report_html import render_html
from ops.output import Output
from tests.unit.loadtest.test_report_html import document


def grown(*, fitted_from_orders: int, **changes: object) -> dict[str, Any]:
    table = {
        "name": "payment_order",
        "table_bytes": 4_000_000,
        "index_bytes": 3_000_000,
        "other_bytes": 2_000_000,
        "table_bytes_per_order": 40.0,
        "index_bytes_per_order": 30.0,
        "other_bytes_per_order": 20.0,
    }
    growth = {
        "points": [
            {"orders": 0, "pss_bytes": {"host-0": 80_000_000}},
            {"orders": 100_000, "pss_bytes": {"host-0": 81_000_000}},
        ],
        "fitted_from_orders": fitted_from_orders,
        "slope_bytes_per_order": {"host-0": 7.5},
        "tables": [table],
    }
    ceilings = {"pss_at_rest_bytes": {"ceiling": 2_500_000_000, "seen": 80_000_000, "met": True}}
    whole = document(growth=growth, ceilings=ceilings, **changes)
    for of_runs in ("runs", "ratios", "cpu_ratios", "floors", "generator"):
        del whole[of_runs]
    return whole


def told(whole: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    """What the terminal and the page say, in lines of any length."""
    print_growth(whole, Output({}))
    return " ".join(capsys.readouterr().out.split()), render_html(whole)


def test_the_columns_of_a_table_are_all_of_its_size(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever adds them up has what the disk has: also what Postgres stores apart."""
    for text in told(grown(fitted_from_orders=FITTED_FROM_ORDERS), capsys):
        for megabytes in ("4.0", "3.0", "2.0"):
            assert megabytes in text
        assert "others MB" in text


def test_slopes_of_few_orders_are_said_to_say_little(capsys: pytest.CaptureFixture[str]) -> None:
    """Not only in the documentation; and nothing of it where they count."""
    for text in told(grown(fitted_from_orders=2_000), capsys):
        assert "they say little" in text
    for text in told(grown(fitted_from_orders=FITTED_FROM_ORDERS), capsys):
        assert "they say little" not in text


def test_the_books_have_their_word(capsys: pytest.CaptureFixture[str]) -> None:
    """The exit code depends on them, so their state is shown."""
    whole = grown(fitted_from_orders=FITTED_FROM_ORDERS, verify={"ok": False})
    terminal, page = told(whole, capsys)
    assert "Books at the end: RED" in terminal
    assert ">red</div>" in page
