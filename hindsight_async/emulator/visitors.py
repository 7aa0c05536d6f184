"""Who may use what a browser can reach: any website can make a browser send requests to this machine.

The API itself needs its key, which no website has. The survey page and the remote control look at where a request says
that it comes from and whom it believes to talk to. A site that has its own name point to this machine shows that name in
Host, and one that posts a form or a script from elsewhere shows itself in Origin or Sec-Fetch-Site, which no script can set.

An emulator that listens for the network as well has more names: that of its service among containers, say. It takes those
that no site on the internet can have, so that a website still cannot have a browser of that network talk to it.
"""

import re

from aiohttp import web

from hindsight_async.emulator.answers import wrong_request
from hindsight_async.emulator.listener import is_address, is_loopback

CHUNK_BYTES = 65_536

LOCAL_DOMAINS = ("home.arpa", "internal", "local", "localhost", "test")
"""Where nobody can register a name: kept for private networks and tests (RFC 2606, 6762 and 8375; `internal` by ICANN)."""

_HOST = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<name>[^\[\]:@/\s]+))(?::[0-9]{1,5})?")


def is_own_name(host: str, bound_to: str) -> bool:
    """Return whether a Host header names this machine by a name that nobody else can give it.

    Args:
        host: The header, with or without a port.
        bound_to: The address on which the port was opened. Where that is no loopback address, any address is good, and any
            name of one word or below one of `LOCAL_DOMAINS`.

    """
    found = _HOST.fullmatch(host)
    name = (found["six"] or found["name"]).lower() if found else ""
    if name in ("localhost", bound_to.lower()) or is_loopback(name):
        return True
    if not name or is_loopback(bound_to):
        return False
    return (
        is_address(name) or "." not in name or name.endswith(tuple(f".{domain}" for domain in LOCAL_DOMAINS))
    )


def check_host(request: web.BaseRequest, bound_to: str) -> None:
    """Check that the caller asks for this machine by one of its own names, as `is_own_name` says.

    Raises:
        WrongRequestError: It does not (403).

    """
    if is_own_name(request.headers.get("Host", ""), bound_to):
        return
    expected = "127.0.0.1, [::1] or localhost"
    if not is_loopback(bound_to):
        expected = f"an address, a name of one word, or one below {', '.join(LOCAL_DOMAINS)}"
    raise wrong_request(403, f"Host must name this machine: {expected}", field="Host", expected=expected)


def check_origin(request: web.BaseRequest) -> None:
    """Check that no page of another site sent this; programs that are no browsers say nothing, and pass.

    Raises:
        WrongRequestError: One did (403).

    """
    own = f"http://{request.headers.get('Host', '')}"
    if request.headers.get("Origin", own) != own:
        raise wrong_request(403, f"Origin must be {own}, or absent", field="Origin", expected=own)
    if request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
        raise wrong_request(
            403, "Pages of other sites are not let in", field="Sec-Fetch-Site", expected="same-origin or none"
        )


async def body_of(request: web.BaseRequest, most: int) -> bytes:
    """Read a body of no more than `most` bytes.

    Raises:
        WrongRequestError: It has more (413).

    """
    body = bytearray()
    async for chunk in request.content.iter_chunked(CHUNK_BYTES):
        body += chunk
        if len(body) > most:
            raise wrong_request(413, f"The body must have no more than {most} bytes")
    return bytes(body)
