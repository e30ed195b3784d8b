"""The pages of the documentation: whole, bounded, and of nobody else's host."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from pathlib import Path

import pytest

from gateway.documentation import _ASSETS
from gateway.pages import CONTENT_SECURITY_POLICY, page_of_package
from tests.unit.gateway.stack import GatewayStack

ASSETS = Path(__file__).parents[3] / "gateway" / "assets"
VENDORED = ASSETS / "swagger-ui"
OWN = sorted(path.name for path in ASSETS.iterdir() if path.is_file())
# What is copied in. Half of it is the page itself; more would be a release that brought something along.
VENDORED_BYTES_MAX = 600_000


def test_what_was_copied_in_is_what_was_published() -> None:
    """Each file is byte for byte as its manifest says, packed or not, and nothing is without a digest."""
    manifest = json.loads((VENDORED / "manifest.json").read_text(encoding="utf-8"))
    assert (manifest["package"], manifest["version"]) == ("swagger-ui-dist", "5.35.0")
    found = {}
    for path in VENDORED.iterdir():
        if path.name != "manifest.json":
            body = path.read_bytes()
            is_packed = path.suffix == ".gz"
            found[path.name.removesuffix(".gz")] = hashlib.sha256(
                gzip.decompress(body) if is_packed else body
            ).hexdigest()
    assert found == manifest["sha256"]
    assert sum(path.stat().st_size for path in VENDORED.iterdir()) < VENDORED_BYTES_MAX


@pytest.mark.parametrize("name", OWN)
def test_our_own_parts_ask_no_other_host(name: str) -> None:
    """No address of elsewhere, no inline script or style: the policy would refuse them."""
    text = (ASSETS / name).read_text(encoding="utf-8")
    assert "//" not in re.sub(r"^//.*$", "", text, flags=re.MULTILINE)
    assert not re.search(r"<style|<script>|style=|onclick=|javascript:", text)


async def test_the_page_is_served_with_its_parts(stack: GatewayStack) -> None:
    """Whoever opens /docs gets the page, and every part that it names, under a strict policy."""
    page = await stack.get("/docs", key="")
    assert page.headers["Content-Security-Policy"] == CONTENT_SECURITY_POLICY
    assert "unsafe" not in CONTENT_SECURITY_POLICY
    parts = re.findall(r'(?:src|href)="(/docs/assets/[^"]+)"', page.body.decode())
    assert len(parts) == 4
    for path in (*parts, "/docs/assets/problems.css"):
        part = await stack.get(path, key="")
        assert part.status == 200
        assert part.headers["X-Content-Type-Options"] == "nosniff"
        name = path.rpartition("/")[2]
        file, kind = _ASSETS[name]
        assert part.headers["Content-Type"] == f"{kind}; charset=utf-8"
        assert part.body == page_of_package(file, kind).body


async def test_a_part_that_there_is_not(stack: GatewayStack) -> None:
    """Nothing outside the list is served, whatever path leads to it."""
    for name in ("docs.html", "none.js", "..%2Fapp.py", "%2e%2e%2fapp.py"):
        assert (await stack.get(f"/docs/assets/{name}", key="")).code == "not_found"


@pytest.mark.parametrize(
    ("accepted", "is_packed"), [("gzip, br", True), ("identity", False), ("gzip;q=0", False)]
)
async def test_a_page_comes_as_the_client_can_read_it(
    stack: GatewayStack, accepted: str, is_packed: bool
) -> None:
    """Packed for those that say so, plain for the others; caches are told that it depends."""
    answer = await stack.get("/docs", key="", headers={"Accept-Encoding": accepted})
    assert (answer.headers.get("Content-Encoding") == "gzip") is is_packed
    assert answer.headers["Vary"] == "Accept-Encoding"
    assert answer.body.startswith(b"<!doctype html>")


async def test_a_page_is_not_sent_twice(stack: GatewayStack) -> None:
    """Whoever has the present one is told so, and whoever has another one gets it."""
    tag = (await stack.get("/docs", key="")).headers["Etag"]
    have = await stack.get("/docs", key="", headers={"If-None-Match": tag})
    assert (have.status, have.body) == (304, b"")
    assert (await stack.get("/docs", key="", headers={"If-None-Match": '"old"'})).status == 200
