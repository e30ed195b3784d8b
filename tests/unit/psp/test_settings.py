"""PSP settings and the directory built from them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from psp.directory import open_psps
from psp.http_simulator import SimulatorPsp
from psp.in_process import InProcessPsp
from psp.settings import PspSettings, PspSettingsInvalid
from psp.stripe.connector import StripePsp
from runtime.clock import SystemClock

SIMULATOR = PspSettings(name="simulator", kind="simulator", url="http://127.0.0.1:8100")
IN_PROCESS = PspSettings(name="bench", kind="in_process", account="acct_2", seed=9)
STRIPE = PspSettings(
    name="stripe", kind="stripe", url="https://api.stripe.com", secret_key="sk_test_1"
)


def test_the_directory_has_one_connector_a_name() -> None:
    """Each setting becomes a connector of its kind, found by its name, with its account."""
    psps = open_psps([SIMULATOR, IN_PROCESS], clock=SystemClock())
    assert isinstance(psps["simulator"], SimulatorPsp)
    assert isinstance(psps["bench"], InProcessPsp)
    assert [(psp.name, psp.account) for psp in psps.values()] == [
        ("simulator", "default"),
        ("bench", "acct_2"),
    ]


def test_a_secret_key_is_shown_nowhere() -> None:
    """Neither settings nor connectors tell what Stripe is asked with."""
    assert "sk_test" not in repr(STRIPE)
    psp = open_psps([STRIPE], clock=SystemClock())["stripe"]
    assert isinstance(psp, StripePsp)
    assert "sk_test" not in repr(psp) + repr(psp.capabilities)


def test_a_name_is_used_once() -> None:
    """Two accounts under one name are refused: attempts name their PSP."""
    with pytest.raises(PspSettingsInvalid, match="taken"):
        open_psps([SIMULATOR, replace(SIMULATOR, account="other")], clock=SystemClock())


@pytest.mark.parametrize(
    ("settings", "changes", "reason"),
    [
        (SIMULATOR, {"url": None}, "needs its url"),
        (SIMULATOR, {"url": "127.0.0.1:8100"}, "no plain"),
        (SIMULATOR, {"url": "ftp://127.0.0.1"}, "no plain"),
        (SIMULATOR, {"url": "http://u:p@127.0.0.1"}, "no plain"),
        (SIMULATOR, {"name": ""}, "needs a name"),
        (SIMULATOR, {"kind": "bank"}, "unknown kind"),
        (SIMULATOR, {"kind": "stripe"}, "none of test mode"),
        (STRIPE, {"is_live": True}, "none of live mode"),
        (STRIPE, {"secret_key": "sk_live_1"}, "none of test mode"),
        (STRIPE, {"secret_key": "sk_test_1\nX: y"}, "none of test mode"),
        (STRIPE, {"url": None}, "needs its url"),
        (STRIPE, {"url": "http://api.stripe.com"}, "has to be https"),
        (STRIPE, {"return_url": "shop"}, "is no URL"),
        (SIMULATOR, {"connections_max": 0}, "at least 1"),
        (IN_PROCESS, {"url": "http://127.0.0.1"}, "has no url"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(
    settings: PspSettings, changes: dict[str, object], reason: str
) -> None:
    """A mistake in the settings is told when they are read, not when the first charge is sent."""
    with pytest.raises(PspSettingsInvalid, match=reason):
        replace(settings, **changes)  # type: ignore[arg-type]
