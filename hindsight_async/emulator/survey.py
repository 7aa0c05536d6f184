"""The page behind a survey link: a conversation with the interviewer, one form per question, without a script."""

import base64
import hashlib
import json
from collections.abc import Iterable
from html import escape
from typing import Final
from urllib.parse import parse_qsl, quote

from aiohttp import web

from hindsight_async.emulator import wire
from hindsight_async.emulator.answers import Answer, WrongRequestError, wrong_request
from hindsight_async.emulator.conversation import INTERVIEWER, one_line, questions_of, transcript_of
from hindsight_async.emulator.quota import Clock
from hindsight_async.emulator.state import InterviewRecord, Organisation
from hindsight_async.emulator.visitors import body_of, check_host, check_origin

SURVEY_PATH = "/survey"

LONGEST_ANSWER = 5_000
"""Characters of one answer."""

LARGEST_FORM = 12 * LONGEST_ANSWER + 1_000
"""Bytes: a character takes at most four, each written as `%XX`."""

_STYLE = """
:root { color-scheme: light dark; font: 1.0625rem/1.5 system-ui, sans-serif; }
body { margin: 0 auto; max-width: 38rem; padding: 1rem; overflow-wrap: anywhere; }
h1 { font-size: 1.25rem; }
.note, .who { font-size: .875rem; margin: 0; opacity: .75; }
ol { list-style: none; margin: 1rem 0; padding: 0; }
li { border: 1px solid; border-radius: .75rem; margin: .75rem 2rem .75rem 0; padding: .5rem .75rem; }
li.answer { margin: .75rem 0 .75rem 2rem; }
li p { margin: 0; white-space: pre-wrap; }
textarea { box-sizing: border-box; display: block; font: inherit; margin: .25rem 0 .75rem; padding: .5rem; width: 100%; }
button { display: block; font: inherit; margin: 0 0 .75rem; min-height: 2.75rem; padding: 0 1.5rem; }
.wrong { border-left: .25rem solid; font-weight: bold; padding-left: .5rem; }
"""

_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

_HEADERS: Final = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    # Not no-referrer: browsers would then post the form with `Origin: null`.
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


async def survey(
    request: web.BaseRequest, *, organisation: Organisation, clock: Clock, bound_to: str
) -> web.StreamResponse:
    """Show the page of an interview, or take an answer that was given on it.

    Args:
        request: What a browser sent.
        organisation: What has the interview.
        clock: Says when it is completed.
        bound_to: The address on which the port was opened.

    """
    try:
        check_host(request, bound_to)
        interview = _opened(organisation, request)
        if request.method == "POST":
            check_origin(request)
            form = await body_of(request, LARGEST_FORM)
            organisation.complete_due(clock.wall())
            answer = _take(organisation, interview, form, clock)
        else:
            organisation.complete_due(clock.wall())
            answer = _page(interview)
    except WrongRequestError as wrong:
        answer = _error_page(wrong)
    return wire.whole(answer)


def _opened(organisation: Organisation, request: web.BaseRequest) -> InterviewRecord:
    if request.method not in ("GET", "HEAD", "POST"):
        raise wrong_request(405, "This page can be read, and its form sent")
    interview = organisation.by_token.get(request.query.get("token", ""))
    if interview is None:
        raise wrong_request(404, "This link opens no interview")
    return interview


def _take(organisation: Organisation, interview: InterviewRecord, raw: bytes, clock: Clock) -> Answer:
    form = dict(parse_qsl(raw.decode("utf-8", "replace"), keep_blank_values=True))
    said = form.get("answer", "").replace("\r\n", "\n")
    questions, asked = questions_of(interview), len(interview.answers)
    # A form that is sent twice, or from a page that was kept open, answers no other question than its own.
    if interview.transcript is None and form.get("question") == str(asked):
        if not said.strip():
            return _page(interview, "Please write an answer.")
        if len(said) > LONGEST_ANSWER:
            return _page(interview, f"Please write no more than {LONGEST_ANSWER:,} characters.", said)
        interview.questions = questions
        interview.answers.append(said)
        if len(interview.answers) == len(questions):
            organisation.complete(interview.interview_request_id, transcript_of(interview), clock.wall())
    # So that a reload does not send the form again. Without a fragment, since a browser gives the field the focus, and
    # goes to where the conversation goes on, only in an address that names no other place.
    return Answer(303, headers={"Location": f"{SURVEY_PATH}?token={quote(interview.survey_token)}"})


def _page(interview: InterviewRecord, wrong: str = "", said: str = "") -> Answer:
    questions, asked = questions_of(interview), len(interview.answers)
    turns: list[tuple[str, str]] = []
    for question, answer in zip(questions, interview.answers, strict=False):
        turns += [(INTERVIEWER, question), ("You", answer)]
    if interview.transcript is not None:
        turns.append((INTERVIEWER, "Thank you for your time."))
        rest = "<h2>Thank you</h2>\n<p>This interview is completed. You may close this page.</p>"
        return _html(200, "Thank you", _turns(turns) + rest)
    turns.append((INTERVIEWER, questions[asked]))
    title = f"Question {asked + 1} of {len(questions)}"
    return _html(400 if wrong else 200, title, _turns(turns) + _form(interview, title, wrong, said))


def _turns(turns: Iterable[tuple[str, str]]) -> str:
    items = "\n".join(
        f'<li class="{"question" if who == INTERVIEWER else "answer"}"><p class="who">{who}</p><p>{escape(text)}</p></li>'
        for who, text in turns
    )
    return f"<ol>\n{items}\n</ol>\n"


def _form(interview: InterviewRecord, title: str, wrong: str, said: str) -> str:
    notice = f'<p class="wrong" role="alert" id="wrong">{escape(wrong)}</p>\n' if wrong else ""
    described = ' aria-invalid="true" aria-describedby="wrong"' if wrong else ""
    return f"""<form id="now" method="post" action="{SURVEY_PATH}?token={quote(interview.survey_token)}">
{notice}<input type="hidden" name="question" value="{len(interview.answers)}">
<label for="answer">Your answer</label>
<textarea id="answer" name="answer" rows="4" maxlength="{LONGEST_ANSWER}" required autofocus{described}>
{escape(said)}</textarea>
<button>Send</button>
<p class="note">{title}</p>
</form>"""


def _error_page(wrong: WrongRequestError) -> Answer:
    message = json.loads(wrong.answer.body)["error"]["message"]
    return _html(wrong.answer.status, "Not here", f"<p>{escape(message)}</p>")


def _html(status: int, title: str, body: str) -> Answer:
    page = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(one_line(title))} · Hindsight emulator</title>
<style>{_STYLE}</style>
</head>
<body>
<header>
<h1>Interview with {INTERVIEWER}</h1>
<p class="note">Hindsight emulator: nothing leaves this machine.</p>
</header>
<main>
{body}
</main>
</body>
</html>
"""
    return Answer(status, page.encode("utf-8", "replace"), _HEADERS)
