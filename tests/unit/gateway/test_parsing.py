"""Everything that the gateway reads of a request: any of it is a value within its bounds, or a problem."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from urllib.parse import quote, urlencode

import msgspec
from aiohttp.test_utils import make_mocked_request
from hypothesis import assume, example, given
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy

from gateway.authentication import parse_bearer
from gateway.bodies import decode_body
from gateway.card_search import has_card_number
from gateway.checks import of_replication
from gateway.parameters import LIMIT_MAX, METADATA_FILTERS_MAX, payment_filter, read_limit
from gateway.payment_requests import PAYMENT_DECODER, Buyer, PaymentRequest
from gateway.problems import Code, Problem
from gateway.request_headers import prefer_wait_s, read_idempotency_key
from gateway.sellers import SellerRequest
from gateway.settings import PREFER_WAIT_S_MAX
from payments.card_numbers import contains_card_number
from payments.mode import Mode
from payments.money import AMOUNT_MINOR_MAX
from storage.queue_settings import QueueSettings
from storage.read_ports import PaymentFilter
from tests.strategies import card_numbers

# Header values as aiohttp hands them over: bytes that are no UTF-8 come as halves of surrogate pairs.
header_values = st.binary(max_size=60).map(
    lambda raw: raw.decode("utf-8", "surrogateescape")
) | st.text('wait=;, "0123456789Bearsk_test', max_size=60)
NAMES = (
    "limit", "starting_after", "ending_before", "status", "currency", "created[gte]", "created[lt]",
    "amount[gte]", "amount[lte]", "metadata[a]", "metadata[]", "limits",
)  # fmt: skip
values = st.one_of(
    st.text(st.characters(codec="utf-8"), max_size=30),
    st.integers().map(str),
    st.datetimes().map(str),
    st.datetimes(timezones=st.timezones()).map(lambda moment: moment.isoformat()),
    st.uuids().map(str),
    st.sampled_from(["succeeded", "USD", "10", "2026-11-01T12:00:00Z"]),
)
queries = st.lists(st.tuples(st.sampled_from(NAMES) | st.text(max_size=8), values), max_size=4)
_SELLER_DECODER = msgspec.json.Decoder(SellerRequest)


def _proxy(name: str, *given: str) -> CIMultiDictProxy[str]:
    return CIMultiDictProxy(CIMultiDict([(name, value) for value in given]))


@given(given_values=st.lists(header_values, max_size=3))
def test_any_wish_to_wait_is_bounded(given_values: list[str]) -> None:
    """Prefer may hold anything: nobody is held longer than promised, and nobody is refused for it."""
    assert 0 <= prefer_wait_s(_proxy("Prefer", *given_values)) <= PREFER_WAIT_S_MAX


@given(given_values=st.lists(header_values | st.uuids().map(str), max_size=3))
def test_any_idempotency_key_is_one_uuid_or_a_problem(given_values: list[str]) -> None:
    """Only one header with one UUID is a key; no header and a bad one are told apart."""
    key = read_idempotency_key(_proxy("Idempotency-Key", *given_values))
    if not isinstance(key, Problem):
        assert [value.strip('"').lower() for value in given_values] == [str(key)]
    elif not given_values:
        assert key.code is Code.IDEMPOTENCY_KEY_MISSING
    else:
        assert key.code is Code.IDEMPOTENCY_KEY_INVALID


@given(header=header_values)
def test_any_authorization_is_a_claim_or_none(header: str) -> None:
    """Whatever stands in Authorization, what is looked up is a text of plain ASCII, or nothing is."""
    claimed = parse_bearer(header)
    if claimed is not None:
        text, key = claimed
        assert text in header
        assert text.isascii()
        assert key.key_id in text


@given(query=queries)
def test_any_query_is_a_filter_or_a_problem(query: list[tuple[str, str]]) -> None:
    """Any query string asks for a page within bounds, or is refused with the place of the trouble."""
    request = make_mocked_request("GET", f"/v1/payments?{urlencode(query)}")
    wanted = payment_filter(request, "mrc_a", Mode.TEST)
    if isinstance(wanted, Problem):
        assert wanted.code in (Code.PARAMETER_UNKNOWN, Code.PARAMETER_INVALID)
        assert wanted.param is not None
        assert wanted.param.startswith("query")
    else:
        _check_filter(wanted, dict(query))


def _check_filter(wanted: PaymentFilter, query: Mapping[str, str]) -> None:
    assert 1 <= wanted.count_max <= LIMIT_MAX
    assert len(wanted.metadata or {}) <= METADATA_FILTERS_MAX
    for bound_minor in (wanted.amount_gte_minor, wanted.amount_lte_minor):
        assert bound_minor is None or 0 <= bound_minor <= AMOUNT_MINOR_MAX
    for moment in (wanted.created_gte, wanted.created_lt):
        assert moment is None or moment.tzinfo is not None
    assert wanted.status == query.get("status")
    assert wanted.currency == query.get("currency")


@given(text=values)
def test_any_limit_is_within_bounds_or_a_problem(text: str) -> None:
    """A page's size is a number from 1 to the limit, or refused at its place."""
    limit = read_limit({"limit": text})
    if isinstance(limit, Problem):
        assert limit.param == "query:limit"
    else:
        assert 1 <= limit <= LIMIT_MAX
        assert limit == int(text)


@given(
    body=st.binary(max_size=80)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["id", "name", "fee", "basis_points", "x"]), inner, max_size=4
            )
        ),
        max_leaves=8,
    ).map(msgspec.json.encode)
)
def test_any_seller_is_read_or_refused(body: bytes) -> None:
    """A seller's body, however odd, is one that is written back the same, or one of the listed problems."""
    wanted = decode_body(body, _SELLER_DECODER)
    if isinstance(wanted, Problem):
        assert wanted.code.value.status in (400, 422)
    else:
        assert decode_body(msgspec.json.encode(wanted), _SELLER_DECODER) == wanted


# Names as the library quotes them, and as a client could imitate what the library appends to them.
names = st.one_of(
    st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,45}", fullmatch=True),
    st.text(st.characters(codec="utf-8"), max_size=12),
    st.lists(
        st.sampled_from(
            ("x", "amount", "`", " - at ", "$", ".amount", ".buyer", "<script>", "[...]", "\n", "$.metadata[...]")
        ),
        max_size=8,
    ).map("".join),
)  # fmt: skip
_PLACES = {"$": "%s", "$.buyer": '{"buyer":%s}', "$.splits[0]": '{"splits":[%s]}'}
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,39}")
_KNOWN = {*PaymentRequest.__struct_fields__, *Buyer.__struct_fields__, "fee"}


@given(name=names, place=st.sampled_from(sorted(_PLACES)), is_escaped=st.booleans())
@example(name="x - at `$.amount", place="$", is_escaped=False)
@example(name="x` - at `$.amount", place="$", is_escaped=False)
@example(name="x` - at `$<script>", place="$", is_escaped=True)
@example(name="x` - at `$.amount", place="$.buyer", is_escaped=False)
@example(name="x` - at `$.metadata[...]", place="$", is_escaped=False)
@example(name="x`", place="$.splits[0]", is_escaped=True)
def test_no_name_says_where_it_stands(name: str, place: str, is_escaped: bool) -> None:
    """An unknown member is named when its name is plain, else its place is: whatever the name pretends to be."""
    assume(name not in _KNOWN and not contains_card_number(name))
    quoted = json.dumps(name)
    if is_escaped:
        quoted = quoted.replace("`", "\\u0060")
    body = _PLACES[place] % f"{{{quoted}:1}}"
    refused = decode_body(body.encode(), PAYMENT_DECODER)
    assert isinstance(refused, Problem)
    assert refused.code is Code.FIELD_UNKNOWN
    is_plain = _PLAIN.fullmatch(name) is not None
    assert refused.param == (f"{place}.{name}" if is_plain else place)
    # What follows is not read, so that a name which could be a place's imitation is told of the body alone.
    cut = decode_body(body.encode()[:-1], PAYMENT_DECODER)
    assert isinstance(cut, Problem)
    assert cut.param in (refused.param, place, "$")


@given(
    path=st.text(st.characters(codec="utf-8"), max_size=40),
    number=card_numbers(),
    is_hidden=st.booleans(),
)
def test_any_target_is_searched(path: str, number: str, is_hidden: bool) -> None:
    """Any path and query can be searched, and one with a card number in it is told from one without."""
    plain = "".join(
        character for character in path if not character.isdecimal() and character not in " -"
    )
    hidden = "".join(f"%{ord(digit):02X}" for digit in number) if is_hidden else number
    assert not has_card_number(make_mocked_request("GET", f"/{quote(plain)}"))
    assert has_card_number(make_mocked_request("GET", f"/{quote(plain)}/{hidden}?a"))


@given(
    info=st.binary(max_size=80)
    | st.builds(b"role:master\r\nslave0:ip=a,state=online,lag=%d".__mod__, st.integers(0, 10**30))
)
def test_any_replication_report_is_judged(info: bytes) -> None:
    """Whatever a server says of its replicas is a state of the check, never a failure of it."""
    settings = QueueSettings(
        url="redis://127.0.0.1:1",
        replicas_awaited=1,
        replica_count=1,
        stream_length_max=1_000,
        record_count_max=10_000,
    )
    assert of_replication(info, settings).detail
