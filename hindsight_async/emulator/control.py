"""The remote control: what a Python test does to the emulator, over HTTP, for programs in any language and for a page.

It is no part of the API: it needs no key, is neither counted nor logged, and may be left off. A wrong request is
answered by the API's envelope, whose details name the field and what is expected of it.
"""

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NoReturn

from aiohttp import web
from attrs import evolve, frozen

from hindsight_async.emulator import wire
from hindsight_async.emulator.answers import (
    Answer,
    WrongRequestError,
    error_answer,
    json_answer,
    wrong_request,
)
from hindsight_async.emulator.control_fields import (
    COMPLETE_FIELDS,
    DEAL_LIST_FIELDS,
    FAULT_FIELDS,
    NO_FIELDS,
    SETTINGS_FIELDS,
    checked,
    wrong_field,
)
from hindsight_async.emulator.control_views import (
    email_view,
    interview_view,
    request_view,
    settings_view,
    state_view,
)
from hindsight_async.emulator.deals import checked_deal
from hindsight_async.emulator.validation import parse_object
from hindsight_async.emulator.visitors import body_of, check_host, check_origin

if TYPE_CHECKING:
    from hindsight_async.emulator.scripting import Scriptable

CONTROL_ROOT = "/_emulator/v1"
"""The path below which it lives; the number goes up where a program that uses it would have to change."""

LARGEST_BODY = 16 * 1024 * 1024
"""Bytes."""

DEFAULT_PAGE = 100
LARGEST_PAGE = 1000

_JSON = "application/json"
_NAMED_FIRST = re.compile(r"\b(route|how|at|times|seconds|status|body|headers|retry_after)\b|^to\b")


@frozen
class _Asked:
    """What one request asks, of which emulator."""

    emulator: "Scriptable"
    query: Mapping[str, str]
    body: Mapping[str, Any]
    path_id: str


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
            return json_answer(200, handler(_Asked(emulator, request.query, body, path_id)))
        methods.append(method)
    if not methods:
        known = ", ".join(f"{method} {CONTROL_ROOT}{template}" for method, template in _HANDLERS)
        return error_answer(404, f"There is no {request.path}", expected=known)
    refused = error_answer(405, expected=", ".join(methods))
    return evolve(refused, headers={**refused.headers, "Allow": ", ".join(methods)})


def _page(
    asked: _Asked, name: str, found: list[Any], view: Callable[[int, Any], dict[str, Any]]
) -> dict[str, Any]:
    """Return the items after the first `after`; whoever asks again with `next` as `after` gets those that came since."""
    after = _number(asked.query, "after", 0, 0, None)
    most = _number(asked.query, "limit", DEFAULT_PAGE, 1, LARGEST_PAGE)
    shown = found[after : after + most]
    items = [view(number, item) for number, item in enumerate(shown, after + 1)]
    return {name: items, "next": after + len(items) if items else min(after, len(found)), "total": len(found)}


def _number(query: Mapping[str, str], name: str, usual: int, least: int, most: int | None) -> int:
    text = query.get(name, str(usual))
    # Fewer digits than int() refuses.
    if re.fullmatch("[0-9]{1,12}", text) and int(text) >= least and (most is None or int(text) <= most):
        return int(text)
    expected = f"a whole number from {least}" + ("" if most is None else f" to {most}")
    raise wrong_field(name, expected, text)


def _emails(asked: _Asked) -> dict[str, Any]:
    emulator = asked.emulator
    interviews = emulator.interviews
    return _page(
        asked, "emails", emulator.outbox,
        lambda number, email: email_view(number, email, interviews[email.interview_request_id]),
    )  # fmt: skip


def _interviews(asked: _Asked) -> dict[str, Any]:
    found = list(asked.emulator.interviews.values())
    return _page(asked, "interviews", found, lambda _, interview: interview_view(interview))


def _requests(asked: _Asked) -> dict[str, Any]:
    return _page(asked, "requests", asked.emulator.requests, partial(request_view, asked.emulator.wall_clock))


def _forget_requests(asked: _Asked) -> dict[str, Any]:
    asked.emulator.requests.clear()
    return {"total": 0}


def _complete(asked: _Asked) -> dict[str, Any]:
    body = checked(asked.body, COMPLETE_FIELDS)
    text = asked.path_id
    interviews = asked.emulator.interviews
    if not re.fullmatch("[0-9]{1,18}", text) or int(text) not in interviews:
        raise wrong_request(
            404, f"There is no interview {text}", field="id", expected="an interview_request_id"
        )
    asked.emulator.complete(int(text), **body)
    return interview_view(interviews[int(text)])


def _faults(asked: _Asked) -> dict[str, Any]:
    return {"faults": asked.emulator.faults}


def _fail(asked: _Asked) -> dict[str, Any]:
    body = checked(asked.body, FAULT_FIELDS, required=("route", "how"))
    try:
        asked.emulator.fail(**body)
    except ValueError as error:
        _refuse(error, _NAMED_FIRST, "how")
    return _faults(asked)


def _heal(asked: _Asked) -> dict[str, Any]:
    asked.emulator.heal()
    return _faults(asked)


def _deals(asked: _Asked) -> dict[str, Any]:
    return _page(asked, "deals", list(asked.emulator.deals.values()), lambda _, deal: deal)


def _put_deals(asked: _Asked) -> dict[str, Any]:
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


def _settings(asked: _Asked) -> dict[str, Any]:
    return settings_view(asked.emulator.settings)


def _change_settings(asked: _Asked) -> dict[str, Any]:
    try:
        asked.emulator.configure(**checked(asked.body, SETTINGS_FIELDS))
    except ValueError as error:
        _refuse(error, re.compile(rf"\b({'|'.join(SETTINGS_FIELDS)})\b"), "plan")
    return _settings(asked)


def _reset(asked: _Asked) -> dict[str, Any]:
    checked(asked.body, NO_FIELDS)
    asked.emulator.reset()
    return state_view(asked.emulator)


def _refuse(error: ValueError, named: re.Pattern[str], usual: str) -> NoReturn:
    found = named.search(str(error))
    raise wrong_request(400, str(error), field=found[0] if found else usual, expected=str(error)) from None


_HANDLERS: Final[Mapping[tuple[str, str], Callable[[_Asked], Any]]] = {
    ("GET", "/state"): lambda asked: state_view(asked.emulator),
    ("POST", "/reset"): _reset,
    ("GET", "/settings"): _settings,
    ("PATCH", "/settings"): _change_settings,
    ("GET", "/outbox"): _emails,
    ("GET", "/interviews"): _interviews,
    ("POST", "/interviews/{id}/complete"): _complete,
    ("GET", "/requests"): _requests,
    ("DELETE", "/requests"): _forget_requests,
    ("GET", "/faults"): _faults,
    ("POST", "/faults"): _fail,
    ("DELETE", "/faults"): _heal,
    ("GET", "/deals"): _deals,
    ("POST", "/deals"): _put_deals,
}
"""What is served: a method and a path below CONTROL_ROOT, with `{id}` in place of an id."""

CONTROL_ROUTES: Final = tuple(f"{method} {template}" for method, template in _HANDLERS)
"""The names of the routes."""
