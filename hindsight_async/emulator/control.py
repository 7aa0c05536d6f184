"""The remote control: what a Python test does to the emulator, over HTTP, for programs in any language and for a page.

It is no part of the API: it needs no key, is neither counted nor logged, and may be left off. A wrong request is
answered by the API's envelope, whose details name the field and what is expected of it.
"""

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, NoReturn, get_args

from aiohttp import web
from attrs import evolve

from hindsight_async.emulator import control_lists, wire
from hindsight_async.emulator.answers import (
    Answer,
    WrongRequestError,
    error_answer,
    json_answer,
    wrong_request,
)
from hindsight_async.emulator.control_events import stream_events
from hindsight_async.emulator.control_fields import (
    COMPLETE_FIELDS,
    DEAL_LIST_FIELDS,
    FAULT_FIELDS,
    NO_FIELDS,
    SETTINGS_FIELDS,
    checked,
)
from hindsight_async.emulator.control_lists import Asked
from hindsight_async.emulator.control_views import interview_view, settings_view, state_view
from hindsight_async.emulator.deals import checked_deal
from hindsight_async.emulator.faults import ANY_ROUTE, At, How
from hindsight_async.emulator.routes import ROUTES
from hindsight_async.emulator.validation import parse_object
from hindsight_async.emulator.visitors import body_of, check_host, check_origin

if TYPE_CHECKING:
    from hindsight_async.emulator.scripting import Scriptable

CONTROL_ROOT = "/_emulator/v1"
"""The path below which it lives; the number goes up where a program that uses it would have to change."""

LARGEST_BODY = 16 * 1024 * 1024
"""Bytes."""

_EVENTS = "/events"
_JSON = "application/json"
_NAMED_FIRST = re.compile(r"\b(route|how|at|times|seconds|status|body|headers|retry_after)\b|^to\b")


async def control(request: web.BaseRequest, *, emulator: "Scriptable", bound_to: str) -> web.StreamResponse:
    """Answer one request to the remote control.

    Args:
        request: What arrived.
        emulator: What it is about.
        bound_to: The address on which the port was opened.

    """
    try:
        check_host(request, bound_to)
        check_origin(request)
        # A page of another site may post a form or a text unasked, but nothing that says it is JSON. So this is asked
        # of requests without a body as well.
        if request.method in ("POST", "PATCH") and request.content_type.lower() != _JSON:
            raise wrong_request(415, f"Content-Type must be {_JSON}", field="Content-Type", expected=_JSON)
        if (request.method, request.path) == ("GET", f"{CONTROL_ROOT}{_EVENTS}"):
            return await stream_events(request, emulator)
        raw = await body_of(request, LARGEST_BODY)
        answer = _answer(emulator, request, raw)
    except WrongRequestError as wrong:
        answer = wrong.answer
    safe = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    return wire.whole(evolve(answer, headers={**answer.headers, **safe}))


def _answer(emulator: "Scriptable", request: web.BaseRequest, raw: bytes) -> Answer:
    below = request.path.removeprefix(CONTROL_ROOT)
    methods: list[str] = []
    for (method, template), handler in _HANDLERS.items():
        if not (found := re.fullmatch(template.replace("{id}", "([^/]+)"), below)):
            continue
        if method == request.method:
            body = parse_object(raw) if raw else {}
            path_id = found[1] if found.groups() else ""
            return json_answer(200, handler(Asked(emulator, request.query, body, path_id)))
        methods.append(method)
    if not methods:
        known = ", ".join(route.replace(" ", f" {CONTROL_ROOT}") for route in CONTROL_ROUTES)
        return error_answer(404, f"There is no {request.path}", expected=known)
    refused = error_answer(405, expected=", ".join(methods))
    return evolve(refused, headers={**refused.headers, "Allow": ", ".join(methods)})


def _forget_requests(asked: Asked) -> dict[str, Any]:
    asked.emulator.requests.clear()
    return {"total": 0}


def _complete(asked: Asked) -> dict[str, Any]:
    body = checked(asked.body, COMPLETE_FIELDS)
    text = asked.path_id
    interviews = asked.emulator.interviews
    if not re.fullmatch("[0-9]{1,18}", text) or int(text) not in interviews:
        raise wrong_request(
            404, f"There is no interview {text}", field="id", expected="an interview_request_id"
        )
    asked.emulator.complete(int(text), **body)
    return interview_view(interviews[int(text)])


def _faults(asked: Asked) -> dict[str, Any]:
    return {"faults": asked.emulator.faults}


def _faults_and_choices(asked: Asked) -> dict[str, Any]:
    return _faults(asked) | {"routes": [ANY_ROUTE, *ROUTES], "how": get_args(How), "at": get_args(At)}


def _fail(asked: Asked) -> dict[str, Any]:
    body = checked(asked.body, FAULT_FIELDS, required=("route", "how"))
    try:
        asked.emulator.fail(**body)
    except ValueError as error:
        _refuse(error, _NAMED_FIRST, "how")
    return _faults(asked)


def _heal(asked: Asked) -> dict[str, Any]:
    asked.emulator.heal()
    return _faults(asked)


def _put_deals(asked: Asked) -> dict[str, Any]:
    """Put in all deals, or none where one is wrong; one whose id is there takes its place."""
    given = checked(asked.body, DEAL_LIST_FIELDS, required=("deals",))["deals"]
    for number, fields in enumerate(given):
        try:
            checked_deal(fields)
        except (TypeError, ValueError) as error:
            raise wrong_request(
                400, f"deals[{number}]: {error}", field=f"deals[{number}]", expected="the fields of a deal"
            ) from None
    deals, ids = asked.emulator.deals, list[str]()
    for fields in given:
        deals.pop(fields.get("id") or "", None)
        ids.append(deals.add(**fields)["id"])
    return {"ids": ids, "total": len(deals)}


def _settings(asked: Asked) -> dict[str, Any]:
    return settings_view(asked.emulator.settings)


def _change_settings(asked: Asked) -> dict[str, Any]:
    try:
        asked.emulator.configure(**checked(asked.body, SETTINGS_FIELDS))
    except ValueError as error:
        _refuse(error, re.compile(rf"\b({'|'.join(SETTINGS_FIELDS)})\b"), "plan")
    return _settings(asked)


def _reset(asked: Asked) -> dict[str, Any]:
    checked(asked.body, NO_FIELDS)
    asked.emulator.reset()
    return state_view(asked.emulator)


def _refuse(error: ValueError, named: re.Pattern[str], usual: str) -> NoReturn:
    found = named.search(str(error))
    raise wrong_request(400, str(error), field=found[0] if found else usual, expected=str(error)) from None


_HANDLERS: Final[Mapping[tuple[str, str], Callable[[Asked], Any]]] = {
    ("GET", "/state"): lambda asked: state_view(asked.emulator),
    ("POST", "/reset"): _reset,
    ("GET", "/settings"): _settings,
    ("PATCH", "/settings"): _change_settings,
    ("GET", "/outbox"): control_lists.emails,
    ("GET", "/interviews"): control_lists.interviews,
    ("POST", "/interviews/{id}/complete"): _complete,
    ("GET", "/requests"): control_lists.requests,
    ("GET", "/requests/{id}"): control_lists.request,
    ("DELETE", "/requests"): _forget_requests,
    ("GET", "/faults"): _faults_and_choices,
    ("POST", "/faults"): _fail,
    ("DELETE", "/faults"): _heal,
    ("GET", "/deals"): control_lists.deals,
    ("POST", "/deals"): _put_deals,
    ("GET", "/documents"): control_lists.documents,
}
"""What is served: a method and a path below CONTROL_ROOT, with `{id}` in place of an id."""

CONTROL_ROUTES: Final = (*(f"{method} {template}" for method, template in _HANDLERS), f"GET {_EVENTS}")
"""The names of the routes."""
