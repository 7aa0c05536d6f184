"""Who may use what a browser can reach: any website can make a browser send requests to this machine.

The API itself needs its key, which no website has. The survey page and the remote control look at where a request says
that it comes from and whom it believes to talk to. A site that has its own name point to this machine shows that name in
Host, and one that posts a form or a script from elsewhere shows itself in Origin or Sec-Fetch-Site, which no script can set.
"""

import re

from aiohttp import web

from hindsight_async.emulator.answers import wrong_request
from hindsight_async.emulator.listener import is_loopback

CHUNK_BYTES = 65_536

_HOST = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<name>[^\[\]:@/\s]+))(?::[0-9]{1,5})?")


def check_host(request: web.BaseRequest, bound_to: str) -> None:
    """Check that the caller asks for this machine by a name that nobody else can give it.

    Args:
        request: What arrived.
        bound_to: The address on which the port was opened, which is good as well.

    Raises:
        WrongRequestError: It does not (403).

    """
    found = _HOST.fullmatch(request.headers.get("Host", ""))
    name = (found["six"] or found["name"]).lower() if found else ""
    if name != "localhost" and name != bound_to.lower() and not is_loopback(name):
        raise wrong_request(
            403, "Host must name this machine: 127.0.0.1, [::1] or localhost", field="Host",
            expected="127.0.0.1, [::1] or localhost",
        )  # fmt: skip


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
