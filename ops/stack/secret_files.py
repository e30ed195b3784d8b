"""The files in a home's secrets that more than one command reads."""

from __future__ import annotations

from pathlib import Path

SANDBOX_KEY_FILE = "sandbox_api_key"
SANDBOX_MERCHANT_FILE = "sandbox_merchant_id"
OPERATOR_KEY_FILE = "operator_key"


def read_secret(root: Path, name: str) -> str | None:
    """A secret of the home at `root`, or None when it was not made yet."""
    try:
        return (root / "secrets" / name).read_text(encoding="utf-8").strip()
    except (FileNotFoundError, NotADirectoryError):
        return None
