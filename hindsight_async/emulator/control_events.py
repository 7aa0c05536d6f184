"""The remote control's stream: the state whenever it has changed, as server-sent events.

Each event is a whole state, so none is kept for a reader that is slow or gone: the next one tells what it has missed.
A stream looks at the emulator by itself, a few times in a second, and a request has nobody to tell that it came.
"""

import asyncio
import json
from typing import TYPE_CHECKING, Any

from aiohttp import web

from hindsight_async.emulator.control_views import state_view

if TYPE_CHECKING:
    from hindsight_async.emulator.scripting import Scriptable

PAUSE_SECONDS = 0.25
"""From one look at the emulator to the next."""

LONGEST_SILENCE = 15.0
"""Seconds after which a line says that the stream is still there."""

RETRY_MILLISECONDS = 1000
"""After how long a browser comes back to a stream that has ended."""

_HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}


async def stream_events(request: web.BaseRequest, emulator: "Scriptable") -> web.StreamResponse:
    """Write an event for each change until the reader is gone or the emulator closes, which cancels this."""
    response = web.StreamResponse(headers=_HEADERS)
    await response.prepare(request)
    try:
        await response.write(f"retry: {RETRY_MILLISECONDS}\n\n".encode())
        await _tell(response, emulator)
    except ConnectionResetError:  # the reader is gone
        pass
    return response


async def _tell(response: web.StreamResponse, emulator: "Scriptable") -> None:
    told, silent = None, 0.0
    while True:
        shown = state_view(emulator) | emulator.activity()
        if (known := _without_clocks(shown)) != told:
            # Waits while a slow reader has not taken the last ones.
            await response.write(f"event: state\ndata: {json.dumps(shown)}\n\n".encode())
            told, silent = known, 0.0
        elif silent >= LONGEST_SILENCE:
            await response.write(b":\n\n")
            silent = 0.0
        await asyncio.sleep(PAUSE_SECONDS)
        silent += PAUSE_SECONDS


def _without_clocks(shown: dict[str, Any]) -> dict[str, Any]:
    """Return what is news where it changes: not the time."""
    return shown | {"now": None, "left": shown["left"] | {"minute_resets_at": None}}
