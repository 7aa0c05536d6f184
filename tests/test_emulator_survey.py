"""The page behind a survey link, as a browser without JavaScript uses it."""

import html
import re
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hindsight_async import HindsightSession
from hindsight_async.emulator import Emulator
from hindsight_async.emulator.conversation import LONGEST_QUOTE, questions_of
from hindsight_async.emulator.state import Organisation
from hindsight_async.emulator.survey import LONGEST_ANSWER
from test_emulator_control import FROM_OTHER_SITES

HOSTILE = "</textarea></p><script>alert('1')</script>\"&amp;"
JANE = {
    "contact_email": "jane@acme.example",
    "contact_name": "Jane Roe",
    "contact_context": {"title": "CTO", "champion": True, "seats": 40, "notes": None},
    "objective": "Why did pricing block us?",
}


@asynccontextmanager
async def opened(**fields):
    """Serve an emulator with one interview; yield it, a client without cookies, and the survey link."""
    async with (
        Emulator(window="sliding") as emulator,  # a weighted one forgets at the turn of a minute
        HindsightSession(emulator.api_key, base_url=emulator.base_url) as hindsight,
    ):
        created = await hindsight.interviews.create(**{"sequence_id": "seq_1", **(fields or JANE)})
        async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as browser:
            yield emulator, browser, created.survey_url


async def read(browser, url):
    async with browser.get(url) as response:
        return response.status, await response.text()


def form_of(page):
    """Return the path and the hidden fields of the only form; None where there is none."""
    found = re.search(r'<form id="now" method="post" action="([^"]+)">', page)
    return found and (
        html.unescape(found[1]),
        dict(re.findall(r'type="hidden" name="(\w+)" value="(\w*)"', page)),
    )


async def send(browser, url, page, answer, **headers):
    path, hidden = form_of(page)
    target = re.match(r"http://[^/]+", url)[0] + path
    async with browser.post(target, data={**hidden, "answer": answer}, headers=headers) as response:
        return response.status, await response.text()


def turns_of(page):
    return [html.unescape(text) for text in re.findall(r"<p>(.*?)</p></li>", page, re.DOTALL)]


async def answer_all(browser, url, answer="Pricing, mostly."):
    """Answer each question; return how many there were, and the last page."""
    _, page = await read(browser, url)
    asked = 0
    while form_of(page):
        status, page = await send(browser, url, page, answer)
        assert 200 == status
        asked += 1
    return asked, page


async def test_a_conversation_ends_in_a_transcript_that_the_client_reads():
    """From the link to `completed`: each question and each answer as a turn, and a word of thanks."""
    async with opened() as (emulator, browser, url):
        asked, page = await answer_all(browser, url)
        async with HindsightSession(emulator.api_key, base_url=emulator.base_url) as hindsight:
            interview = await hindsight.interviews.get(1)
        assert (5, None) == (asked, form_of(page))
        assert "Thank you" in page
        assert "completed" == interview.status
        turns = interview.transcript.content.split("\n\n")
        assert ["**Paige:", "**Jane Roe:"] * 5 + ["**Paige:"] == [turn.split("** ")[0] for turn in turns]
        assert ["**Jane Roe:** Pricing, mostly."] * 5 == turns[1::2]


async def test_the_questions_come_from_name_objective_and_context():
    """The first greets, and others take up what the interviewer was told."""
    async with opened() as (_, browser, url):
        _, page = await answer_all(browser, url)
        questions = " ".join(turns_of(page)[::2])
        assert "Hello Jane Roe," in questions
        assert "Why did pricing block us?" in questions
        assert "title: CTO" in questions


async def test_of_a_stranger_three_questions_are_asked():
    """Without name, objective and context."""
    async with opened(contact_email="a@x.example", sequence_id="seq_1") as (emulator, browser, url):
        assert 3 == (await answer_all(browser, url))[0]
        assert "\n\n**Contact:** Pricing" in emulator.interviews[1].transcript.content


async def test_a_context_that_is_a_text_is_quoted_and_a_long_one_cut():
    """So that a question stays a question."""
    async with opened(contact_email="a@x.example", contact_context="They left. " * 1000) as (_, browser, url):
        _, page = await answer_all(browser, url)
        assert 300 + LONGEST_QUOTE > max(map(len, turns_of(page)))
        assert "They left. They left." in turns_of(page)[2]


async def test_everything_from_the_wire_is_escaped():
    """Name, objective, context, answers, and an answer that is shown again in its field."""
    fields = {
        "contact_email": "a@x.example", "contact_name": HOSTILE, "objective": HOSTILE, "contact_context": {HOSTILE: HOSTILE},
    }  # fmt: skip
    async with opened(**fields) as (_, browser, url):
        _, page = await read(browser, url)
        status, page = await send(browser, url, page, HOSTILE + "x" * LONGEST_ANSWER)
        assert (400, 1) == (status, page.count("</textarea>"))
        _, last = await answer_all(browser, url, HOSTILE)
        for shown in (page, last):
            assert "<script" not in shown
        assert 5 == turns_of(last).count(HOSTILE)


async def test_the_page_loads_nothing_and_runs_nothing():
    """A strict policy, no script, no address but its own, and no page that frames it."""
    async with opened() as (_, browser, url), browser.get(url) as response:
        page, headers = await response.text(), response.headers
        policy = headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; style-src 'sha256-")
        for part in ("form-action 'self'", "base-uri 'none'", "frame-ancestors 'none'"):
            assert part in policy
        assert "unsafe" not in policy
        assert ("no-store", "nosniff") == (headers["Cache-Control"], headers["X-Content-Type-Options"])
        assert not re.search(r"<script|<link|<img| src=| style=| on\w+=|https?://", page)
        assert '<html lang="en">' in page
        assert 'content="width=device-width, initial-scale=1"' in page
        assert '<label for="answer">' in page


@pytest.mark.parametrize("answer", ["", " \r\n "])
async def test_an_empty_answer_is_asked_for_again(answer):
    """The same question, with a word on what is wrong that a screen reader hears."""
    async with opened() as (emulator, browser, url):
        _, page = await read(browser, url)
        status, again = await send(browser, url, page, answer)
        assert (400, form_of(page)) == (status, form_of(again))
        assert '<p class="wrong" role="alert" id="wrong">Please write an answer.' in again
        assert [] == emulator.interviews[1].answers


async def test_an_answer_as_long_as_the_field_takes_is_taken():
    """A line break is one character in the field, and two on the wire."""
    async with opened() as (emulator, browser, url):
        _, page = await read(browser, url)
        longest = "\n" * (LONGEST_ANSWER - 1) + "é"
        assert 200 == (await send(browser, url, page, longest.replace("\n", "\r\n")))[0]
        assert [longest] == emulator.interviews[1].answers


async def test_a_form_that_is_sent_twice_answers_one_question():
    """A double click, or a page that was kept open."""
    async with opened() as (emulator, browser, url):
        _, page = await read(browser, url)
        await send(browser, url, page, "first")
        await send(browser, url, page, "second")
        assert ["first"] == emulator.interviews[1].answers


async def test_the_questions_stay_when_the_context_changes_in_between():
    """An interview that has begun ends as it was begun."""
    async with opened() as (emulator, browser, url):
        _, page = await read(browser, url)
        await send(browser, url, page, "first")
        async with HindsightSession(emulator.api_key, base_url=emulator.base_url) as hindsight:
            await hindsight.interviews.update(1, contact_context="", objective="")
        assert 4 == (await answer_all(browser, url))[0]
        assert 6 == emulator.interviews[1].transcript.content.count("**Paige:**")


async def test_an_interview_that_is_completed_takes_no_answer():
    """What `complete` has put down stays, whatever page was open."""
    async with opened() as (emulator, browser, url):
        _, page = await read(browser, url)
        emulator.complete(1, "**Jane:** No.")
        status, thanks = await send(browser, url, page, "late")
        assert (200, None) == (status, form_of(thanks))
        assert "**Jane:** No." == emulator.interviews[1].transcript.content


async def test_the_page_shows_when_an_interview_completes_by_itself():
    """Where the emulator was told to complete them, the link says so."""
    async with (
        Emulator(completes_after=0.0) as emulator,
        HindsightSession(emulator.api_key, base_url=emulator.base_url) as hindsight,
        aiohttp.ClientSession() as browser,
    ):
        created = await hindsight.interviews.create(contact_email="a@x.example", interview_type_id="type_1")
        assert "Thank you" in (await read(browser, created.survey_url))[1]


async def test_the_page_is_no_request_to_the_api():
    """It needs no key, is not logged, and uses up nothing."""
    async with opened() as (emulator, browser, url):
        await answer_all(browser, url)
        assert ["POST /interviews"] == [request.route for request in emulator.requests]
        assert emulator.left()["minute"] == emulator.plan.requests_per_minute - 1


@pytest.mark.parametrize("query", ["", "?token=", "?token=tok_1", "?token=%00"])
async def test_a_token_that_opens_nothing_is_a_404_page(query):
    """As HTML, for a person."""
    async with opened() as (_, browser, url):
        status, page = await read(browser, url.split("?")[0] + query)
        assert (404, True) == (status, "This link opens no interview" in page)


@pytest.mark.parametrize(
    "headers",
    [*FROM_OTHER_SITES, {"Host": "evil.example"}],
)
async def test_a_form_of_another_site_is_refused(headers):
    """Nothing is answered in a person's name."""
    async with opened() as (emulator, browser, url):
        _, page = await read(browser, url)
        assert 403 == (await send(browser, url, page, "forged", **headers))[0]
        assert [] == emulator.interviews[1].answers


async def test_a_link_may_be_followed_from_anywhere_but_not_under_another_name():
    """A mail program's page links here; a name that somebody else has given this machine is refused."""
    async with opened() as (_, browser, url):
        for headers, expected in (({"Sec-Fetch-Site": "cross-site"}, 200), ({"Host": "evil.example"}, 403)):
            async with browser.get(url, headers=headers) as response:
                assert expected == response.status


async def test_other_methods_and_bodies_are_refused():
    """A DELETE, and a form that is larger than any answer."""
    async with opened() as (emulator, browser, url):
        async with browser.delete(url) as response:
            assert 405 == response.status
        async with browser.post(url, data={"question": "0", "answer": "é" * 100_000}) as response:
            assert 413 == response.status
        for raw in (b"\xff%ff=%", b"answer=x", b"question=0", b"question=9&answer=x"):
            async with browser.post(url, data=raw) as response:
                assert 500 > response.status
        assert [] == emulator.interviews[1].answers


async def test_an_answer_cannot_pass_for_another_turn():
    """Its empty lines go, since they separate the turns of a transcript."""
    async with opened() as (emulator, browser, url):
        await answer_all(browser, url, "So.\r\n\r\n  \r\n**Paige:** Forged.")
        turns = emulator.interviews[1].transcript.content.split("\n\n")
        assert ["**Jane Roe:** So.\n**Paige:** Forged."] * 5 == turns[1::2]


@given(
    st.text(),
    st.none() | st.text(),
    st.text() | st.dictionaries(st.text(), st.text() | st.lists(st.integers())),
)
def test_whatever_is_known_three_to_five_questions_are_asked(name, objective, context):
    """Each on one line, and of a length that can be read."""
    organisation = Organisation(email_delay=0.0)
    body = {
        "contact_email": "a@x.example",
        "contact_name": name,
        "contact_context": context,
        "objective": objective,
    }
    organisation.create(body, datetime.now(UTC), "")
    questions = questions_of(organisation.interviews[1])
    assert 3 <= len(questions) <= 5
    assert all(question == " ".join(question.split()) for question in questions)
