"""Where webhooks may go: a merchant names a URL, and must not reach by it what only we can reach.

Two checks, both pure. The URL is looked at when it is given, and again before each try. The address is looked
at when the socket to it is made, whatever name led there and whatever that name said a moment before.
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import SplitResult, urlsplit

URL_CHARACTERS_MAX = 2_048
# RFC 1035: a name of more can't be asked for.
HOST_CHARACTERS_MAX = 253

# Where webhooks are received. What listens elsewhere was hardly made for the outside.
_PORTS = frozenset({443, 8443})
_PORT_MAX = 65_535

# Printable ASCII without what RFC 3986 excludes, and without the backslash that some readers take for a slash.
_URL = re.compile(r"[!#-;=?-\[\]_a-z~]+")
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
# A host that ends so is an IPv4 address to some readers: octal, hexadecimal, or with fewer than four parts.
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
# Names that only resolve on the inside.
_INNER_SUFFIXES = ("localhost", "local", "internal", "intranet", "lan", "home.arpa", "onion")

_Network = IPv4Network | IPv6Network

# Of no network that a merchant's receiver is in, also in a sandbox: this host's link, where clouds serve
# credentials (169.254.169.254, fd00:ec2::254), groups, and addresses that are none.
_NEVER: tuple[_Network, ...] = (
    IPv4Network("0.0.0.0/8"),
    IPv4Network("169.254.0.0/16"),
    IPv4Network("224.0.0.0/3"),
    IPv6Network("::/128"),
    IPv6Network("fe80::/10"),
    IPv6Network("fd00:ec2::/32"),
    IPv6Network("ff00::/8"),
)
# Of ours, or of somebody's own, or of nobody's: IANA's special-purpose registries.
_NOT_PUBLIC: tuple[_Network, ...] = (
    *(
        IPv4Network(text)
        for text in (
            *("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.0.0.0/24"),
            *("192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24"),
            *("192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24"),
            "203.0.113.0/24",
        )
    ),
    *(
        IPv6Network(text)
        for text in (
            *("::1/128", "100::/64", "100:0:0:1::/64", "2001::/23", "2001:db8::/32"),
            *("2620:4f:8000::/48", "3fff::/20", "5f00::/16", "fc00::/7", "fec0::/10"),
        )
    ),
)
# IPv6 addresses that stand for an IPv4 one: where it is in them, in bits from the right.
_CARRIERS: tuple[tuple[IPv6Network, int], ...] = (
    (IPv6Network("::/96"), 0),  # IPv4-compatible, deprecated
    (IPv6Network("::ffff:0:0/96"), 0),  # IPv4-mapped
    (IPv6Network("::ffff:0:0:0/96"), 0),  # IPv4-translated
    (IPv6Network("64:ff9b::/96"), 0),  # NAT64
    (IPv6Network("64:ff9b:1::/48"), 0),  # NAT64, a site's own
    (IPv6Network("2002::/16"), 80),  # 6to4
)


# Each try looks at its URL: an endpoint's is the same a thousand times.
@lru_cache(maxsize=4_096)
def url_refusal(url: str, *, is_sandbox: bool) -> str | None:
    """Return the rule that the URL breaks, in words for its merchant, or None. Never repeats the URL."""
    if len(url) > URL_CHARACTERS_MAX:
        return f"has at most {URL_CHARACTERS_MAX} characters"
    if _URL.fullmatch(url.lower()) is None:
        return "has only characters of RFC 3986, others percent-encoded"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "can't be read"
    if parts.scheme != "https" and not (is_sandbox and parts.scheme == "http"):
        return "begins with https://" + (", or http:// in a sandbox" if is_sandbox else "")
    if "@" in parts.netloc:
        return "names neither user nor password"
    if parts.fragment or "#" in url:
        return "has no fragment"
    return _port_refusal(port, is_sandbox=is_sandbox) or _host_refusal(parts, is_sandbox=is_sandbox)


def address_refusal(address: str, *, is_sandbox: bool) -> str | None:
    """Return why nothing is sent to this IP address, or None. In a sandbox the machine itself is fine."""
    try:
        # A zone (fe80::1%eth0) is of a link of ours; without it the address tells the same.
        ip = ip_address(address.partition("%")[0])
    except ValueError:
        return "is no IP address"
    return next(
        (
            reason
            for one in (ip, *_carried(ip))
            if (reason := _ip_refusal(one, is_sandbox=is_sandbox)) is not None
        ),
        None,
    )


def _ip_refusal(ip: IPv4Address | IPv6Address, *, is_sandbox: bool) -> str | None:
    if any(ip in network for network in _NEVER if network.version == ip.version):
        return "is an address of a link, a group or nobody"
    if is_sandbox:
        return None
    is_inside = any(ip in network for network in _NOT_PUBLIC if network.version == ip.version)
    return "is not a public address" if is_inside or not ip.is_global else None


def _carried(ip: IPv4Address | IPv6Address) -> tuple[IPv4Address, ...]:
    """Return the IPv4 addresses that an IPv6 one may lead to."""
    if isinstance(ip, IPv4Address) or ip in (IPv6Address("::"), IPv6Address("::1")):
        return ()
    return tuple(
        IPv4Address((int(ip) >> shift) & 0xFFFFFFFF)
        for network, shift in _CARRIERS
        if ip in network
    )


def _port_refusal(port: int | None, *, is_sandbox: bool) -> str | None:
    if port is None:
        return None
    if is_sandbox:
        return None if 1 <= port <= _PORT_MAX else f"has a port of 1 to {_PORT_MAX}"
    return None if port in _PORTS else f"has one of the ports {', '.join(map(str, sorted(_PORTS)))}"


def _host_refusal(parts: SplitResult, *, is_sandbox: bool) -> str | None:
    host = parts.hostname or ""
    if "[" in parts.netloc or ":" in host:
        refusal = address_refusal(host, is_sandbox=is_sandbox)
        return None if refusal is None else f"has a host that {refusal}"
    name = host.removesuffix(".")
    labels = name.split(".")
    if len(name) > HOST_CHARACTERS_MAX or not all(map(_LABEL.fullmatch, labels)):
        return "names a host"
    if _NUMBER.fullmatch(labels[-1]) is not None:
        # Only four plain decimal numbers: readers differ about what any other spelling means.
        refusal = "is no IP address"
        if _is_dotted_quad(name):
            refusal = address_refusal(name, is_sandbox=is_sandbox) or ""
        return f"has a host that {refusal}" if refusal else None
    if is_sandbox:
        return None
    if len(labels) < 2 or any(f".{name}".endswith(f".{suffix}") for suffix in _INNER_SUFFIXES):
        return "names a host of the public Internet"
    return None


def _is_dotted_quad(text: str) -> bool:
    """Whether the text is an IPv4 address in its one plain spelling, without leading zeros."""
    try:
        return str(IPv4Address(text)) == text
    except ValueError:
        return False
