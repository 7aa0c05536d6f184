"""The open port on which requests arrive."""

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable

from aiohttp import web

KEEP_ALIVE_SECONDS = 5.0
"""How long an idle connection stays open: what servers built on Node do by default."""

SHUTDOWN_SECONDS = 1.0
"""How long a close waits for connections whose requests are cancelled already."""

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


def is_loopback(host: str) -> bool:
    """Return whether a host is an address that only this machine reaches; a name is not."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Listener:
    """A port that is open, as `listen` returns it."""

    def __init__(self, runner: web.ServerRunner) -> None:
        self._runner = runner

    @property
    def port(self) -> int:
        """The TCP port."""
        port: int = self._runner.addresses[0][1]
        return port

    async def close(self) -> None:
        """Close the port and every connection."""
        await self._runner.cleanup()


async def listen(handler: Handler, host: str, port: int) -> Listener:
    """Open a port; cancelled at any moment, leave none open.

    Args:
        handler: Answers each request.
        host: A loopback address.
        port: A TCP port, or 0 for any free one.

    Raises:
        OSError: The port is taken.

    """
    # A caller that hangs up takes its handler along, and what waited before the commit is not acted on: by default
    # aiohttp would go on.
    server = web.Server(
        handler, handler_cancellation=True, access_log=None, keepalive_timeout=KEEP_ALIVE_SECONDS
    )
    runner = web.ServerRunner(server, shutdown_timeout=SHUTDOWN_SECONDS)
    opening = asyncio.ensure_future(_open(runner, host, port))
    try:
        await asyncio.shield(opening)
    except BaseException:
        # Cut off halfway, the open port would be nobody's to close.
        await asyncio.wait([opening])
        await runner.cleanup()
        raise
    return Listener(runner)


async def _open(runner: web.ServerRunner, host: str, port: int) -> None:
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
