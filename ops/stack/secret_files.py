"""The files in a home's secrets that more than one command reads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ops.local.faults import HomeUnusable, SecretUnusable
from ops.local.layout import StackHome

SANDBOX_KEY_FILE = "sandbox_api_key"
SANDBOX_MERCHANT_FILE = "sandbox_merchant_id"
OPERATOR_KEY_FILE = "operator_key"


def read_secret(root: Path, name: str) -> str | None:
    """A secret of the home at `root`, or None when it was not made yet.

    Raises HomeUnusable when this user may not read it.
    """
    path = root / "secrets" / name
    try:
        return path.read_text(encoding="utf-8").strip()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise HomeUnusable(path, error.strerror or str(error)) from error


# Lost beside existing data they can't be made anew: the data was made with them.
_BOUND_TO_DATA: Mapping[str, str] = {
    "api_key_pepper": "every API key is stored under it, and none would work any more",
    "fingerprint_key": "every request's fingerprint was made with it, and repeats of settled keys"
    " would be refused",
    "postgres_superuser": "it is the password of the Postgres superuser in the existing data",
    "postgres_replication": "it is the password of the Postgres standby in the existing data",
}


def require_secrets(home: StackHome) -> None:
    """Check the secrets before anything starts; on a new home all may be missing.

    Raises SecretUnusable when a file is empty, or when one is missing that the data depends on.
    """
    for path in sorted(home.secrets.iterdir()):
        # A write that a power cut ended leaves a part, which the next one replaces.
        if path.suffix != ".part" and path.is_file() and path.stat().st_size == 0:
            purpose = _BOUND_TO_DATA.get(path.name, "it holds one of this stack's secrets")
            raise SecretUnusable(path, "empty", purpose)
    if not any(home.data.glob("postgres-*/PG_VERSION")):
        return
    for name, purpose in _BOUND_TO_DATA.items():
        path = home.secrets / name
        if not path.exists():
            raise SecretUnusable(path, "missing, and the stack has data", purpose)
