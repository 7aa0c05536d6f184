"""The open port on which requests arrive."""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress

from aiohttp import web

from hindsight_async.shielding import to_the_end

KEEP_ALIVE_SECONDS = 5.0
"""How long an idle connection stays open: what servers built on Node do by default."""

SHUTDOWN_SECONDS = 1.0
"""How long a close waits for connections whose requests are cancelled already."""

ACCEPTING_TURNS = 5
"""How many turns of the loop asyncio takes at most (three are known of) from accepting a connection to telling the server."""

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


def is_loopback(host: str) -> bool:
    """Return whether a host is an address that only this machine reaches; a name is not."""
    return is_address(host) and ipaddress.ip_address(host).is_loopback


def is_address(host: str) -> bool:
    """Return whether a host is an IP address."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def reachable_here(host: str) -> str:
    """Return the address by which this machine reaches what listens on `host`, as it stands in a URL."""
    address = ipaddress.ip_address(host)
    # The unspecified address stands for all that this machine has; as a destination it is none.
    if address.is_unspecified:
        host = "127.0.0.1" if address.version == 4 else "::1"  # noqa: PLR2004
    return f"[{host}]" if ":" in host else host


class Listener:
    """A port that is open, as `listen` returns it."""

    def __init__(self, runner: web.ServerRunner, port: socket.socket) -> None:
        self._runner = runner
        self._socket = port

    @property
    def port(self) -> int:
        """The TCP port."""
        port: int = self._socket.getsockname()[1]
        return port

    async def close(self) -> None:
        """Close the port and every connection, also where the caller is cancelled meanwhile."""
        await to_the_end(self._close())

    async def _close(self) -> None:
        # A connection that came a moment ago is nobody's yet, and asyncio would leave it open for ever once its server
        # is closed. So no more are accepted first. The event loops of Windows cannot be told so.
        with suppress(NotImplementedError):
            asyncio.get_running_loop().remove_reader(self._socket)
        for _ in range(ACCEPTING_TURNS):
            await asyncio.sleep(0)
        await self._runner.cleanup()


async def listen(handler: Handler, host: str, port: int) -> Listener:
    """Open a port; cancelled at any moment, leave none open.

    Args:
        handler: Answers each request.
        host: An IP address of this machine, or the unspecified one for all of them.
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
    opened = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    opening = asyncio.ensure_future(_open(runner, opened))
    try:
        await asyncio.shield(opening)
    except BaseException:
        # Cut off halfway, the open port would be nobody's to close.
        await asyncio.wait([opening])
        await runner.cleanup()
        opened.close()
        raise
    return Listener(runner, opened)


async def _open(runner: web.ServerRunner, opened: socket.socket) -> None:
    await runner.setup()
    await web.SockSite(runner, opened).start()
