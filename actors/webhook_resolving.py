"""From a receiver's name to addresses that were looked at, on threads of its own."""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor

from aiohttp.abc import AbstractResolver, ResolveResult

from payments.webhook_targets import address_refusal

# A name server that keeps silent holds a thread for as long as the system's resolver waits. Each name is
# asked for once at a time, so this many names may be so at once before others wait.
RESOLVER_THREADS = 64

_NUMERIC = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV


class AddressRefused(OSError):
    """A name, or an address, leads to where nothing is sent."""


class CheckedResolver(AbstractResolver):
    """Resolves by the system, and refuses a name of which any address is refused."""

    def __init__(self, *, is_sandbox: bool) -> None:
        self._is_sandbox = is_sandbox
        self._threads = ThreadPoolExecutor(RESOLVER_THREADS, thread_name_prefix="resolve")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Raises AddressRefused, or OSError when there is no such name."""
        found = await asyncio.get_running_loop().run_in_executor(
            self._threads, _addresses, host, port, family
        )
        results: list[ResolveResult] = []
        for of_family, _, protocol, _, address in found:
            require_allowed(str(address[0]), is_sandbox=self._is_sandbox)
            results.append(
                ResolveResult(
                    hostname=host,
                    host=str(address[0]),
                    port=port,
                    family=of_family,
                    proto=protocol,
                    flags=_NUMERIC,
                )
            )
        return results

    async def close(self) -> None:
        """Wait for nobody: a silent name server may take its time."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def require_allowed(address: str, *, is_sandbox: bool) -> None:
    """Raise AddressRefused for an address that nothing is sent to."""
    refusal = address_refusal(address, is_sandbox=is_sandbox)
    if refusal is not None:
        raise AddressRefused(f"an address that {refusal}")


def _addresses(
    host: str, port: int, family: socket.AddressFamily
) -> list[tuple[socket.AddressFamily, int, int, str, tuple[str | int | bytes, ...]]]:
    return [
        (of_family, kind, protocol, name, tuple(address))
        for of_family, kind, protocol, name, address in socket.getaddrinfo(
            host, port, family=family, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
        )
    ]
