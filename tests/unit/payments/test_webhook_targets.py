"""Where webhooks may go. Each line is a way in that somebody has tried at somebody."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payments.webhook_targets import URL_CHARACTERS_MAX, address_refusal, url_refusal

GOOD = [
    "https://example.org/hooks",
    "https://EXAMPLE.org",
    "https://shop.example.org:8443/in?channel=a%20b&x=1",
    "https://example.org:443/",
    "https://example.org./",
    "https://xn--bcher-kva.example/",
    "https://8.8.8.8/",
    "https://[2606:4700:4700::1111]/",
]
BAD_EVERYWHERE = [
    "",
    "example.org",
    "ftp://example.org/",
    "file:///etc/passwd",
    "gopher://example.org/",
    "javascript:alert(1)",
    "https:///path",
    "https://",
    "https://user@example.org/",
    "https://user:pw@example.org/",
    "https://example.org@127.0.0.1/",
    "https://example.org/#fragment",
    "https://exa mple.org/",
    "https://example.org/\n",
    "https://example.org\\@127.0.0.1/",
    "https://exämple.org/",
    "https://example.org:99999/",
    "https://example.org:port/",
    "https://2130706433/",
    "https://017700000001/",
    "https://0x7f000001/",
    "https://0x7f.0.0.1/",
    "https://0177.0.0.1/",
    "https://127.1/",
    "https://127.0.0.1.5/",
    "https://1.2.3.04/",
    "https://0/",
    "https://0.0.0.0/",
    "https://[::]/",
    "https://169.254.169.254/latest/meta-data",
    "https://[::ffff:169.254.169.254]/",
    "https://[::ffff:a9fe:a9fe]/",
    "https://[64:ff9b::169.254.169.254]/",
    "https://[fd00:ec2::254]/",
    "https://[fe80::1]/",
    "https://[fe80::1%25eth0]/",
    "https://224.0.0.1/",
    "https://255.255.255.255/",
    "https://[ff02::1]/",
    "https://[::1/",
    "https://[not-an-address]/",
    f"https://example.org/{'a' * URL_CHARACTERS_MAX}",
    f"https://{'a' * 64}.example/",
    f"https://{'a.' * 130}example/",
    "https://-example.org/",
    "https://example..org/",
]
BAD_WHERE_MONEY_IS_REAL = [
    "http://example.org/",
    "https://example.org:80/",
    "https://example.org:22/",
    "https://example.org:6379/",
    "https://example.org:5432/",
    "https://localhost/",
    "https://LOCALHOST./",
    "https://a.localhost/",
    "https://printer.local/",
    "https://metadata.google.internal/",
    "https://intranet/",
    "https://127.0.0.1/",
    "https://127.255.255.254/",
    "https://10.0.0.1/",
    "https://172.16.0.1/",
    "https://192.168.1.1/",
    "https://100.64.0.1/",
    "https://192.0.0.1/",
    "https://198.18.0.1/",
    "https://203.0.113.7/",
    "https://[::1]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:7f00:1]/",
    "https://[::127.0.0.1]/",
    "https://[64:ff9b::10.0.0.1]/",
    "https://[64:ff9b:1::a00:1]/",
    "https://[2002:7f00:1::]/",
    "https://[2001:db8::1]/",
    "https://[2001::1]/",
    "https://[fc00::1]/",
    "https://[fec0::1]/",
]


@pytest.mark.parametrize("url", GOOD)
def test_a_receiver_on_the_internet_is_taken(url: str) -> None:
    """Names and public addresses, with and without a port, path and query."""
    assert url_refusal(url, is_sandbox=False) is None


@pytest.mark.parametrize("url", [*BAD_EVERYWHERE, *BAD_WHERE_MONEY_IS_REAL])
def test_what_leads_inside_is_refused(url: str) -> None:
    """No spelling of an address of ours, no name that only we resolve, no port of a store."""
    assert url_refusal(url, is_sandbox=False) is not None


@pytest.mark.parametrize("url", BAD_EVERYWHERE)
def test_a_sandbox_refuses_what_nobody_needs(url: str) -> None:
    """Metadata addresses, strange spellings and credentials are refused on a laptop, too."""
    assert url_refusal(url, is_sandbox=True) is not None


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:8080/hook", "http://localhost:3000/", "http://[::1]:9/", "http://10.0.0.7/"],
)
def test_a_sandbox_reaches_its_own_machine(url: str) -> None:
    """On a laptop the receiver runs beside us, without TLS."""
    assert url_refusal(url, is_sandbox=True) is None


def test_a_refused_scheme_names_those_that_are_taken() -> None:
    """Who tries a sandbox is told that http is fine there, and nobody else is."""
    assert url_refusal("ftp://example.org/", is_sandbox=True) == (
        "begins with https://, or http:// in a sandbox"
    )
    assert url_refusal("http://example.org/", is_sandbox=False) == "begins with https://"


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "::1", "10.1.2.3", "169.254.169.254", "::ffff:10.0.0.1", "fe80::1%2", "nonsense"],
)
def test_an_address_is_looked_at_whatever_name_led_to_it(address: str) -> None:
    """A name that resolves to an address of ours is refused when the socket is made."""
    assert address_refusal(address, is_sandbox=False) is not None


@given(carried=st.ip_addresses(v=4))
def test_an_ipv6_address_is_no_better_than_the_ipv4_one_in_it(carried: object) -> None:
    """What is refused as IPv4 is refused in each of its IPv6 clothes."""
    if address_refusal(str(carried), is_sandbox=False) is None:
        return
    number = int(carried)  # type: ignore[call-overload]
    high, low = f"{number >> 16:x}", f"{number & 0xFFFF:x}"
    for text in (
        f"::ffff:{carried}",
        f"64:ff9b::{carried}",
        f"2002:{high}:{low}::1",
        f"::{carried}",
    ):
        assert address_refusal(text, is_sandbox=False) is not None, text


@given(url=st.text(max_size=80) | st.text(max_size=80).map("https://{}".format))
def test_no_text_breaks_the_check(url: str) -> None:
    """Whatever is given, there is an answer, and it does not repeat what was given."""
    refusal = url_refusal(url, is_sandbox=False)
    if refusal is not None and len(url) > len("https://") + 6:
        assert url not in refusal
