"""The page at the emulator's root, which shows what arrived and what would have gone out. It is made of the remote control.

Its files are sent as they are: everything that came over the wire is put in by its script, as text.
"""

import asyncio
from pathlib import Path
from typing import Final

from aiohttp import web

from hindsight_async.emulator import wire
from hindsight_async.emulator.answers import Answer, WrongRequestError, error_answer
from hindsight_async.emulator.visitors import check_host

_FOLDER = Path(__file__).parent / "page"

PAGE_FILES: Final = {
    "/": ("index.html", "text/html"),
    "/_emulator/page.css": ("page.css", "text/css"),
    **{
        f"/_emulator/{name}.js": (f"{name}.js", "text/javascript")
        for name in ("page", "list", "kinds", "dialogs", "elements")
    },
    # Where browsers look for it also beside the survey page, which names none.
    "/favicon.ico": ("icon.svg", "image/svg+xml"),
}
"""The file at each path, and its media type."""

_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


async def front_page(request: web.BaseRequest, *, bound_to: str) -> web.StreamResponse:
    """Answer with one of the page's files.

    Args:
        request: What a browser sent, to one of PAGE_FILES.
        bound_to: The address on which the port was opened.

    """
    try:
        check_host(request, bound_to)
    except WrongRequestError as wrong:
        return wire.whole(wrong.answer)
    if request.method not in ("GET", "HEAD"):
        return wire.whole(error_answer(405, expected="GET"))
    name, media_type = PAGE_FILES[request.path]
    content = await asyncio.to_thread((_FOLDER / name).read_bytes)
    return wire.whole(Answer(200, content, {"Content-Type": f"{media_type}; charset=utf-8", **_HEADERS}))
