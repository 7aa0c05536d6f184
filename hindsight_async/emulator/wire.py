"""How an answer leaves: whole, in part, or as a connection that is cut."""

import asyncio
import socket
import struct
from collections.abc import AsyncGenerator

from aiohttp import web

from hindsight_async.emulator.answers import Answer

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
"""`struct linger`: on, for no seconds.

A close alone ends a connection in order (FIN), and the client reads its end. Only with SO_LINGER at zero the kernel
throws away what is not sent yet and sends a reset (RST), as a load balancer or a host that came back does, and the
client's socket raises instead. Clients tell the two apart, so both have to be tried.
"""


def whole(answer: Answer) -> web.StreamResponse:
    """Return the response that carries all of the answer."""
    body = _one_by_one(answer) if answer.pieces else answer.body
    return web.Response(status=answer.status, headers=answer.headers, body=body)


async def _one_by_one(answer: Answer) -> AsyncGenerator[bytes]:
    for number, piece in enumerate(answer.pieces):
        if number and answer.pause:
            await asyncio.sleep(answer.pause)
        yield piece


async def first_half(request: web.BaseRequest, answer: Answer) -> web.StreamResponse:
    """Send the headers, which promise the whole body, and half of the body.

    A client that believes the status alone takes this answer for whole.
    """
    response = web.StreamResponse(status=answer.status, headers=answer.headers)
    if answer.pieces:
        response.enable_chunked_encoding()
    else:
        response.content_length = len(answer.body)
    await response.prepare(request)
    await response.write(answer.body[: len(answer.body) // 2])
    return response


async def second_half(response: web.StreamResponse, answer: Answer) -> web.StreamResponse:
    """Send what `first_half` kept back."""
    await response.write(answer.body[len(answer.body) // 2 :])
    return response


def hang_up(request: web.BaseRequest) -> web.StreamResponse:
    """Close the connection once what was written is out; what is returned goes nowhere."""
    assert request.transport is not None  # noqa: S101  # as in `drop`
    request.transport.close()
    return web.Response()


def drop(request: web.BaseRequest, *, reset: bool) -> web.StreamResponse:
    """Drop the connection at once, with a TCP reset where asked; what is returned goes nowhere."""
    # abort and not close: that would first send what is buffered.
    transport = request.transport
    assert transport is not None  # noqa: S101  # else the handler would have been cancelled
    if reset:
        connection: socket.socket = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    transport.abort()
    return web.Response()
