"""What the API has and this version does not know: any path below its own, but for what emails people."""

import re
import unicodedata
from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import unquote

from hindsight_async.call.codec import json_of
from hindsight_async.call.execute import Executor
from hindsight_async.call.request import Call, Endpoint, Query
from hindsight_async.resources.interviews.context import json_ready

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")

_SEGMENT = r"(?:[A-Za-z0-9._~-]|%[0-9A-Fa-f]{2})+"
_PATH = rf"(?:/{_SEGMENT})+"
_DELIMITERS = frozenset("/\\%?#;")
_DOTS = frozenset({".", ".."})

_GUARDED = "interviews"
"""A collection to which only `Interviews` adds, since that emails people."""


class Anything:
    """Calls of what is new in the API.

    Args:
        executor: Takes calls to their answers.

    """

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    async def request(
        self, method: str, path: str, *, params: Query | None = None, json: object = None
    ) -> Any:
        """Send a request to a path of the API that has no method of its own here, with the budget and honest delivery.

        A GET is sent again where its answer was lost; nothing else is, once its bytes left. An interview cannot be created
        this way: `allowed_recipients`, `max_creates` and the ledger guard `interviews.create`.

        Args:
            method: GET, POST, PUT, PATCH or DELETE.
            path: Below the base URL, such as "/interview-types": plain, with no query, and with what is special in an id
                percent-encoded.
            params: What stands behind the `?`; what is None is left out.
            json: The body, of what JSON can carry; None for no body.

        Returns:
            What the answer's JSON holds; None where the answer has no body.

        Raises:
            TypeError: An argument is of another type; the text names it.
            ValueError: The method or the path is none of the API's own, or creates an interview.
            HindsightError: It was refused or lost; `delivery` says whether it may have taken effect.

        """
        verb = _checked_method(method)
        segments = _checked_path(path)
        if verb != "GET" and _plain(segments[-1]) == _GUARDED:
            raise ValueError(
                f"path must not be one at which interviews are created ({verb} {path}): use interviews.create"
            )
        query = _checked_params(params or {})
        body = None if json is None else json_of(json_ready(json, "json"))
        # Without what may be an id: the budget keeps something for each route.
        endpoint: Endpoint[Any] = Endpoint(
            method=verb,
            route=f"{verb} /{segments[0]}",
            reply_type=cast("type[Any]", Any),
            repeatable=verb == "GET",
        )
        call = Call(endpoint, path, body, json, query=query)
        return await self._executor.run(call, lane="interactive", deadline=self._executor.deadline)


def _checked_method(method: str) -> str:
    if not isinstance(method, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"method must be text (str), not {type(method).__name__}")
    if method.upper() not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}")
    return method.upper()


def _checked_path(path: str) -> list[str]:
    """Return the segments of a path that means the same to every server: not encoded twice, with nothing to resolve."""
    if not isinstance(path, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"path must be text (str), not {type(path).__name__}")
    if not re.fullmatch(_PATH, path):
        raise ValueError(
            'path must be plain and begin with one slash, such as "/interview-types": no address of a server, no query '
            "(that goes into params), no empty segment, and all else percent-encoded"
        )
    segments = path[1:].split("/")
    for segment in segments:
        plain = unquote(segment)
        if plain in _DOTS or _DELIMITERS & set(plain) or not plain.isprintable():
            raise ValueError("path must not have dots, slashes or other delimiters in disguise")
    return segments


def _plain(segment: str) -> str:
    return unicodedata.normalize("NFKC", unquote(segment)).strip().casefold()


def _checked_params(params: Query) -> Query:
    if not isinstance(params, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"params must be a mapping, not {type(params).__name__}")
    for name, value in params.items():
        if not isinstance(name, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"params must have text names, not {type(name).__name__}")
        if value is not None and not isinstance(value, str | int):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(
                f"params[{name!r}] must be text, a whole number or a bool, not {type(value).__name__}"
            )
    return params
