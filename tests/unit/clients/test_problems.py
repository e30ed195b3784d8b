"""The client's errors against the product: no code without a class, no class without a code."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.problems import Code
from payments.answer import API_VERSION, STATUS_PAYMENT_REQUIRED, TITLES
from tallystick import errors, options, problems
from tallystick.record import Record
from tests.unit.clients.problem_classes import PROBLEMS_FILE, catalogue, class_name, rendered


def test_there_is_a_class_for_every_code() -> None:
    """Written anew the module stays the same; else: python -m tests.unit.clients.problem_classes."""
    assert PROBLEMS_FILE.read_text(encoding="utf-8") == rendered()


def test_a_class_is_found_by_its_code_and_belongs_to_its_family() -> None:
    """Whoever catches a family catches its codes, and each class knows its own."""
    assert set(problems.BY_CODE) == {code for code, _, _ in catalogue()}
    for code, status, _ in catalogue():
        found = problems.BY_CODE[code]
        assert found is getattr(problems, class_name(code))
        assert found.code == code
        assert issubclass(found, errors.family_of(status))


def test_every_code_of_the_product_has_a_class() -> None:
    """What a gateway answers, and what a frozen answer tells, is a class of the client's, in its family."""
    answered = {member.wire: member.value.status for member in Code}
    answered |= dict.fromkeys(TITLES, STATUS_PAYMENT_REQUIRED)
    found = {code: problems.BY_CODE.get(code) for code in answered}
    assert [code for code, kind in found.items() if kind is None] == []
    for code, kind in found.items():
        assert kind is not None
        assert issubclass(kind, errors.family_of(answered[code])), code


def test_the_client_speaks_the_products_version() -> None:
    """Requests name a version that the gateway knows."""
    assert options.API_VERSION == API_VERSION


def test_records_name_no_member_twice() -> None:
    """Attributes of records are the API's members: none is hidden behind a method."""
    for kind in _kinds(Record):
        hidden = set(kind.__annotations__) & set(dir(Record))
        assert hidden == set(), kind


def _kinds(kind: type[Record]) -> Iterator[type[Record]]:
    for child in kind.__subclasses__():
        yield child
        yield from _kinds(child)
