"""From a method, a path and the bytes of a body to the true answer. Pure but for the organisation it changes."""

import re
from collections.abc import Mapping
from datetime import datetime

from attrs import frozen

from hindsight_async.emulator.answers import Answer, RefusedError, error_answer, json_answer, refusal
from hindsight_async.emulator.state import Organisation
from hindsight_async.emulator.validation import DeclaredIds, check_create, check_update, parse_object

ROOT = "/api/v1"
"""The path below which the API lives."""

_INTERVIEW_PATH = re.compile(r"/interviews/([^/]+)")
# Fewer digits than 64 bits have: a longer one is no id, and int() of a very long one is slow.
_INTERVIEW_ID = re.compile(r"[1-9][0-9]{0,17}")

_METHODS: Mapping[str, tuple[str, ...]] = {"/interviews": ("POST",), "/interviews/{id}": ("GET", "PATCH")}


@frozen
class Route:
    """What a request is aimed at."""

    method: str
    template: str | None
    """The path below ROOT, with `{id}` in place of an id; None where there is nothing."""
    interview_id: str = ""
    """The text in place of `{id}`, which may be no id at all."""

    @property
    def name(self) -> str | None:
        """The name faults are scripted under, such as `GET /interviews/{id}`; None where nothing is served."""
        return f"{self.method} {self.template}" if self.method in self.methods else None

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods that are served here."""
        return _METHODS[self.template] if self.template else ()


def route_of(method: str, path: str) -> Route:
    """Return what a request with this method and decoded path is aimed at."""
    below = path.removeprefix(ROOT) if path.startswith(f"{ROOT}/") else ""
    if below in _METHODS and "{" not in below:
        return Route(method, below)
    if one := _INTERVIEW_PATH.fullmatch(below):
        return Route(method, "/interviews/{id}", one[1])
    return Route(method, None)


def true_answer(
    route: Route,
    raw: bytes,
    *,
    organisation: Organisation,
    declared: DeclaredIds,
    now: datetime,
    survey_page: str,
) -> Answer:
    """Do what a request asks.

    Args:
        route: What it is aimed at.
        raw: Its body.
        organisation: What it reads or changes.
        declared: The ids that exist.
        now: The server's wall clock, aware.
        survey_page: The URL below which survey links lead.

    Returns:
        The answer, an error envelope where the request is wrong.

    """
    if route.template is None:
        return error_answer(404)
    if route.name is None:
        envelope = error_answer(405)
        return Answer(405, envelope.body, {**envelope.headers, "Allow": ", ".join(route.methods)})
    try:
        if route.method == "POST":
            body = parse_object(raw)
            check_create(body, declared)
            return json_answer(201, organisation.create(body, now, survey_page))
        interview_id = _existing_id(route.interview_id, organisation)
        if route.method == "GET":
            return json_answer(200, organisation.read(interview_id))
        body = parse_object(raw)
        check_update(body)
        return json_answer(200, organisation.update(interview_id, body))
    except RefusedError as refused:
        return refused.answer


def _existing_id(text: str, organisation: Organisation) -> int:
    if not _INTERVIEW_ID.fullmatch(text) or int(text) not in organisation.interviews:
        raise refusal(404, "Interview request not found")
    return int(text)
