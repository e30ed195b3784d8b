"""Builds the connectors that the settings name."""

from __future__ import annotations

from collections.abc import Iterable

from psp.http_simulator import SimulatorPsp
from psp.in_process import InProcessPsp
from psp.port import Psp
from psp.settings import PspSettings, PspSettingsInvalid
from psp.stripe.connector import STRIPE_URL, StripePsp
from runtime.clock import Clock


def open_psps(settings: Iterable[PspSettings], *, clock: Clock) -> dict[str, Psp]:
    """Return the connectors by name. Nothing is connected yet; the caller closes each one.

    Raises PspSettingsInvalid when two share a name.
    """
    psps: dict[str, Psp] = {}
    for one in settings:
        if one.name in psps:
            raise PspSettingsInvalid(one.name, "the name is taken")
        psps[one.name] = _open(one, clock)
    return psps


def _open(settings: PspSettings, clock: Clock) -> Psp:
    if settings.kind == "stripe":
        return StripePsp(
            name=settings.name,
            account=settings.account,
            secret_key=settings.secret_key,
            is_live=settings.is_live,
            return_url=settings.return_url,
            url=settings.url or STRIPE_URL,
            connections_max=settings.connections_max,
        )
    if settings.url is None:
        return InProcessPsp(
            name=settings.name, account=settings.account, seed=settings.seed, clock=clock
        )
    return SimulatorPsp(
        name=settings.name,
        account=settings.account,
        url=settings.url,
        connections_max=settings.connections_max,
    )
