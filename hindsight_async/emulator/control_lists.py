"""The lists that the remote control shows, in pages."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import frozen

from hindsight_async.emulator.answers import wrong_request
from hindsight_async.emulator.control_fields import wrong_field
from hindsight_async.emulator.control_views import (
    answer_view,
    document_view,
    email_view,
    interview_view,
    request_view,
)
from hindsight_async.emulator.state import STATUSES, InterviewRecord

if TYPE_CHECKING:
    from hindsight_async.emulator.scripting import Scriptable

DEFAULT_PAGE = 100
LARGEST_PAGE = 1000

_Item = TypeVar("_Item")


@frozen
class Asked:
    """What one request asks, of which emulator."""

    emulator: "Scriptable"
    query: Mapping[str, str]
    body: Mapping[str, Any]
    path_id: str


def emails(asked: Asked) -> dict[str, Any]:
    """Return the emails that are out."""
    records = asked.emulator.interviews
    return _page(
        asked, "emails", asked.emulator.outbox,
        lambda number, email: email_view(number, email, records[email.interview_request_id]),
        lambda email: _words_of(records[email.interview_request_id]),
    )  # fmt: skip


def interviews(asked: Asked) -> dict[str, Any]:
    """Return the interviews, with `status` those that have it."""
    found = list(asked.emulator.interviews.values())
    if (status := asked.query.get("status")) is not None:
        if status not in STATUSES:
            raise wrong_field("status", f"one of {', '.join(STATUSES)}", status)
        found = [interview for interview in found if interview.status == status]
    return _page(asked, "interviews", found, lambda _, interview: interview_view(interview), _words_of)


def requests(asked: Asked) -> dict[str, Any]:
    """Return the requests to the API."""
    return _page(
        asked, "requests", asked.emulator.requests, partial(request_view, asked.emulator.wall_clock),
        lambda received: (f"{received.method} {received.path}", str(received.status)),
    )  # fmt: skip


def request(asked: Asked) -> dict[str, Any]:
    """Return one request, with what was answered."""
    text, log = asked.path_id, asked.emulator.requests
    if not re.fullmatch("[1-9][0-9]{0,11}", text) or int(text) > len(log):
        raise wrong_request(404, f"There is no request {text}", field="id", expected="a number of a request")
    received = log[int(text) - 1]
    return request_view(asked.emulator.wall_clock, int(text), received) | answer_view(received)


def deals(asked: Asked) -> dict[str, Any]:
    """Return the deals."""
    return _page(
        asked, "deals", list(asked.emulator.deals.values()), lambda _, deal: deal,
        lambda deal: (deal["id"], deal["name"], deal["status"]),
    )  # fmt: skip


def documents(asked: Asked) -> dict[str, Any]:
    """Return the documents that were uploaded."""
    return _page(
        asked, "documents", asked.emulator.uploads, document_view, lambda document: document.fields.values()
    )


def _words_of(interview: InterviewRecord) -> Iterable[str | None]:
    return interview.contact.email, interview.contact.name, interview.sequence_id, interview.deal_id


def _page(
    asked: Asked,
    name: str,
    found: list[_Item],
    view: Callable[[int, _Item], dict[str, Any]],
    words: Callable[[_Item], Iterable[str | None]],
) -> dict[str, Any]:
    """Return the items after the first `after`; whoever asks again with `next` as `after` gets those that came since.

    With `search` only those are counted, and returned, of which one of the `words` has it in it.
    """
    after = _number(asked.query, "after", 0, 0, None)
    most = _number(asked.query, "limit", DEFAULT_PAGE, 1, LARGEST_PAGE)
    wanted = asked.query.get("search", "").strip().casefold()
    numbers: Sequence[int] = range(len(found))
    if wanted:
        numbers = [n for n in numbers if any(wanted in (word or "").casefold() for word in words(found[n]))]
        found = [found[n] for n in numbers]
    shown = zip(numbers[after : after + most], found[after : after + most], strict=True)
    items = [view(number + 1, item) for number, item in shown]
    return {name: items, "next": after + len(items) if items else min(after, len(found)), "total": len(found)}


def _number(query: Mapping[str, str], name: str, usual: int, least: int, most: int | None) -> int:
    text = query.get(name, str(usual))
    # Fewer digits than int() refuses.
    if re.fullmatch("[0-9]{1,12}", text) and int(text) >= least and (most is None or int(text) <= most):
        return int(text)
    expected = f"a whole number from {least}" + ("" if most is None else f" to {most}")
    raise wrong_field(name, expected, text)
