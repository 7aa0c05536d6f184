"""From a method, a path and the bytes of a body to the true answer. Pure but for the organisation it changes."""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

from attrs import frozen

from hindsight_async.emulator.answers import (
    Answer,
    WrongRequestError,
    error_answer,
    json_answer,
    wrong_request,
)
from hindsight_async.emulator.deals import answer_deals
from hindsight_async.emulator.documents import upload_to_deal, upload_to_library
from hindsight_async.emulator.exports import download_export, read_export, start_export
from hindsight_async.emulator.responses import answer_to
from hindsight_async.emulator.state import Organisation
from hindsight_async.emulator.tools import TOOLS, tool_answer
from hindsight_async.emulator.validation import DeclaredIds, check_create, check_update, parse_object

ROOT = "/api/v1"
"""The path below which the API lives."""

# Fewer digits than 64 bits have: a longer one is no id, and int() of a very long one is slow.
_INTERVIEW_ID = re.compile(r"[1-9][0-9]{0,17}")


@frozen
class Route:
    """What a request is aimed at."""

    method: str
    template: str | None
    """The path below ROOT, with `{id}` in place of an id; None where there is nothing."""
    path_id: str = ""
    """The text in place of `{id}`, which may be no id at all."""
    query: Mapping[str, str] = {}
    """What stands behind the `?`, decoded."""
    content_type: str = ""
    """The media type of the body, as its header says."""
    host: str = ""
    """By which name, and which port, the caller has reached the server, as its header says."""

    @property
    def name(self) -> str | None:
        """The name faults are scripted under, such as `GET /interviews/{id}`; None where nothing is served."""
        return f"{self.method} {self.template}" if self.method in self.methods else None

    @property
    def opens_without_key(self) -> bool:
        """Whether the token of a link is enough."""
        return self.template == _LINK

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods that are served here."""
        return tuple(method for method, template in _HANDLERS if template == self.template)


@frozen
class _Asked:
    """What one request asks, and what it may read and change."""

    route: Route
    raw: bytes
    organisation: Organisation
    declared: DeclaredIds
    now: datetime
    survey_page: str
    base_url: str


def _create_interview(asked: _Asked) -> Answer:
    body = parse_object(asked.raw)
    check_create(body, asked.declared)
    return json_answer(201, asked.organisation.create(body, asked.now, asked.survey_page))


def _read_interview(asked: _Asked) -> Answer:
    return json_answer(200, asked.organisation.read(_existing_interview(asked)))


def _update_interview(asked: _Asked) -> Answer:
    interview_id = _existing_interview(asked)
    body = parse_object(asked.raw)
    check_update(body)
    return json_answer(200, asked.organisation.update(interview_id, body))


def _upload_to_deal(asked: _Asked) -> Answer:
    return upload_to_deal(
        asked.raw,
        asked.route.content_type,
        uploads=asked.organisation.uploads,
        deals=asked.declared.deal_id,
        now=asked.now,
        origin=asked.survey_page.removesuffix("/survey"),
    )


def _upload_to_library(asked: _Asked) -> Answer:
    return upload_to_library(
        asked.raw,
        asked.route.content_type,
        uploads=asked.organisation.uploads,
        now=asked.now,
        origin=asked.survey_page.removesuffix("/survey"),
    )


def _respond(asked: _Asked) -> Answer:
    return answer_to(parse_object(asked.raw), asked.organisation.responses)


def _existing_interview(asked: _Asked) -> int:
    text = asked.route.path_id
    if not _INTERVIEW_ID.fullmatch(text) or int(text) not in asked.organisation.interviews:
        raise wrong_request(404, "Interview request not found")
    return int(text)


_LINK = "/deals/export/{id}/download"


def _call_tool(asked: _Asked) -> Answer:
    name = (asked.route.template or "").removeprefix("/tools/")
    return tool_answer(asked.organisation.tools, name, lambda: parse_object(asked.raw))


_HANDLERS: Final[Mapping[tuple[str, str], Callable[[_Asked], Answer]]] = {
    ("POST", "/interviews"): _create_interview,
    ("GET", "/interviews/{id}"): _read_interview,
    ("PATCH", "/interviews/{id}"): _update_interview,
    ("GET", "/deals"): lambda asked: answer_deals(asked.organisation.deals, asked.route.query),
    ("POST", "/deals/export"): lambda asked: start_export(
        asked.organisation.exports, parse_object(asked.raw), asked.now
    ),
    ("GET", "/deals/export/{id}"): lambda asked: read_export(
        asked.organisation.exports, asked.route.path_id, asked.now, asked.base_url
    ),
    ("GET", _LINK): lambda asked: download_export(
        asked.organisation.exports, asked.route.path_id, asked.route.query.get("token"), asked.now
    ),
    **{("POST", f"/tools/{name}"): _call_tool for name in TOOLS},
    ("POST", "/deals/documents"): _upload_to_deal,
    ("POST", "/documents/library"): _upload_to_library,
    ("POST", "/responses"): _respond,
}
"""What is served: a method and a path below ROOT, with `{id}` in place of an id. All else is made from this."""

ROUTES: Final = tuple(f"{method} {template}" for method, template in _HANDLERS)
"""The names of the routes."""

_PATHS: Final = {template: re.compile(template.replace("{id}", "([^/]+)")) for _, template in _HANDLERS}


def route_of(method: str, path: str, query: Mapping[str, str]) -> Route:
    """Return what a request with this method, decoded path and query is aimed at."""
    below = path.removeprefix(ROOT) if path.startswith(f"{ROOT}/") else ""
    for template, pattern in _PATHS.items():
        if found := pattern.fullmatch(below):
            return Route(method, template, found[1] if found.groups() else "", query)
    return Route(method, None)


def true_answer(
    route: Route,
    raw: bytes,
    *,
    organisation: Organisation,
    declared: DeclaredIds,
    now: datetime,
    survey_page: str,
    base_url: str,
) -> Answer:
    """Do what a request asks.

    Args:
        route: What it is aimed at.
        raw: Its body.
        organisation: What it reads or changes.
        declared: The ids that exist.
        now: The server's wall clock, aware.
        survey_page: The URL below which survey links lead.
        base_url: The URL of the API itself, as clients are given it.

    Returns:
        The answer, an error envelope where the request is wrong.

    """
    if route.template is None:
        return error_answer(404)
    handler = _HANDLERS.get((route.method, route.template))
    if handler is None:
        envelope = error_answer(405)
        return Answer(405, envelope.body, {**envelope.headers, "Allow": ", ".join(route.methods)})
    try:
        return handler(_Asked(route, raw, organisation, declared, now, survey_page, base_url))
    except WrongRequestError as wrong:
        return wrong.answer
