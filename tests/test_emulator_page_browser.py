"""The emulator's page in a browser, as a person uses it: with a mouse, with the keyboard, on a phone."""

import asyncio
import re
import socket

import pytest

pytest.importorskip("selenium")

from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from browser import CHROMIUM, DRIVER, Page, chromium, create
from hindsight_async import HindsightSession, Plan
from hindsight_async.emulator import Emulator
from hindsight_async.testing import serving

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="chromium or chromedriver is not installed"),
]

JANE = {
    "contact_email": "jane@acme.example",
    "contact_name": "Jane Roe",
    "contact_context": {"title": "VP of Engineering", "champion": True},
    "objective": "Why did pricing block us?",
    "sequence_id": "seq_1",
    "deal_id": "deal_1",
}

RIGHT_TO_LEFT = "\u202e"

HOSTILE = f"</script><img src=x onerror=\"document.title='run'\"><b>{RIGHT_TO_LEFT}gpj.exe</b>&lt;"

VERY_LONG = "Donaudampfschifffahrtsgesellschaft" * 40

MANY = 5_000

PHONE = {"width": 375, "height": 667}


@pytest.fixture(scope="module")
def driver():
    with chromium() as driver:
        yield driver


@pytest.fixture
def page(driver):
    """Yield the page of an emulator, and hold it to having complained of nothing at the end."""
    with serving(Emulator(plan=Plan.ENTERPRISE, window="sliding", remote_control=True)) as emulator:
        page = Page(driver, emulator)
        yield page
        for tab in driver.window_handles[1:]:
            driver.switch_to.window(tab)
            driver.close()
        driver.switch_to.window(driver.window_handles[0])
        assert [] == page.complaints()
        driver.get("about:blank")


def only_refused(page):
    """Forget that the browser has noted the one answer that says what is wrong with a form."""
    [noted] = page.complaints()
    assert noted.endswith("status of 400 (Bad Request)")


def put_in(emulator, number):
    """Have emailed so many people, without a request for each."""
    for place in range(number):
        body = {**JANE, "contact_email": f"person{place + 1}@acme.example"}
        emulator._organisation.create(body, emulator.wall_clock(), emulator.page_url + "survey")


def numbers_shown(page):
    return [int(number) for number in re.findall(r"person(\d+)@", page.text("#rows"))]


def test_the_whole_loop_from_the_email_to_the_transcript(page):
    """Open the email, open the interview, answer it; the page shows the transcript, and so does the client."""
    create(page.emulator, **JANE)
    page.open()
    page.until_it_says("#rows", "jane@acme.example")
    page.click(".row")
    page.until_it_says("#detail", "VP of Engineering")
    shown = page.text("#detail")
    for known in (
        "Jane Roe <jane@acme.example>",
        "seq_1",
        "deal_1",
        "champion",
        "Why did pricing block us?",
        "sent",
    ):
        assert known in shown
    page.click("#open-interview")
    here, survey = page.until(lambda: len(page.driver.window_handles) == 2 and page.driver.window_handles)
    page.driver.switch_to.window(survey)
    asked = 0
    while fields := page.all("textarea"):
        page.until(lambda: page.focus == "answer")
        fields[0].send_keys(f"Answer {asked}: pricing, mostly.")
        page.click("form button")
        page.until(lambda fields=fields: is_gone(fields[0]))
        asked += 1
    assert "Thank you" in page.text("h2")
    page.driver.switch_to.window(here)
    page.until_it_says("#detail", "completed")
    page.until_it_says("#detail", f"Answer {asked - 1}: pricing, mostly.")
    assert 2 * asked + 1 == len(page.all("#detail .turn"))
    assert not page.all("#complete")
    assert "completed" == asyncio.run(status_of(page.emulator, 1))


def is_gone(element):
    try:
        element.is_enabled()
    except StaleElementReferenceException:
        return True
    return False


async def status_of(emulator, number):
    async with HindsightSession(emulator.api_key, base_url=emulator.base_url) as hindsight:
        interview = await hindsight.interviews.get(number)
    assert "pricing, mostly" in interview.transcript.content
    return interview.status


def test_an_interview_is_completed_by_a_button(page):
    """The focus stays with what was looked at, and the transcript is there."""
    create(page.emulator, **JANE)
    page.open("#interviews/1")
    page.until(lambda: page.all("#complete"))
    page.click("#complete")
    page.until_it_says("#detail", "Transcript")
    assert "completed" == page.emulator.interviews[1].status
    page.until(lambda: page.focus == "detail")


def test_it_is_live(page):
    """What arrives shows without a reload, newest first, and is counted."""
    page.open()
    page.until_it_says("#empty", "No email yet:")
    page.script("window.stayed = true")
    create(page.emulator, **JANE)
    page.until_it_says("#rows", "jane@acme.example")
    create(page.emulator, **JANE | {"contact_email": "second@acme.example"})
    page.until_it_says("#row-2", "second@acme.example")
    first = page.all(".row")
    assert ["row-2", "row-1"] == sorted((row.get_attribute("id") for row in first), reverse=True)
    assert page.find("#row-2").rect["y"] < page.find("#row-1").rect["y"]
    page.until_it_says("#tab-requests .count", "2")  # a request is shown once it is over, after its email
    page.until_it_says("#rate", "2 of 1,000")
    page.until(lambda: page.all("#strip .taken"))
    assert page.script("return window.stayed")


def test_a_click_is_not_lost_where_the_row_tells_another_time_meanwhile(page):
    """Between pressing and letting go a row's text may change, and the row is opened all the same."""
    create(page.emulator, **JANE)
    page.open()
    page.until_it_says("#row-1", "jane@")
    ActionChains(page.driver).click_and_hold(page.find("#row-1 .title")).perform()
    before = page.text("#row-1 .side")
    # Any news has the times drawn anew, also of a request that came to nothing.
    page.until(lambda: 400 == create(page.emulator) and before != page.text("#row-1 .side"))
    ActionChains(page.driver).release().perform()
    page.until_it_says("#detail h2", "jane@")


def test_it_comes_back_when_the_emulator_does(driver):
    """It says that it is not connected, tries again, and shows what is there then."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with serving(Emulator(remote_control=True, port=port)) as emulator:
        create(emulator, **JANE)
        page = Page(driver, emulator).open()
        page.until_it_says("#rows", "jane@")
    page.until_it_says("#connection", "Not connected")
    with serving(Emulator(remote_control=True, port=port)):
        page.until_it_says("#connection", "Live")
        page.until_it_says("#empty", "No email yet")
    assert all("ERR_CONNECTION_REFUSED" in message or "ERR_" in message for message in page.complaints())
    driver.get("about:blank")


@pytest.mark.parametrize("where", ["#emails/1", "#interviews/1", "#requests/1", "#deals/deal_1"])
@pytest.mark.parametrize("size", [{}, PHONE], ids=["wide", "phone"])
def test_what_comes_over_the_wire_is_text(page, where, size):
    """Names, context, objective, transcript and bodies: nothing runs, nothing is loaded, nothing sticks out."""
    body = JANE | {
        "contact_name": HOSTILE,
        "contact_context": {HOSTILE: HOSTILE, "word": VERY_LONG},
        "objective": HOSTILE,
    }
    create(page.emulator, **body)
    page.emulator.complete(1, f"**{HOSTILE}:** {HOSTILE}\n\n{VERY_LONG}")
    page.emulator.deals.add(id="deal_1", name=HOSTILE, status=VERY_LONG)
    page.open(where, **size)
    page.until_it_says("#detail", "</script>")
    assert "Hindsight emulator" == page.driver.title
    # The page's own icon, and none that came over the wire.
    assert 1 == len(page.all("img"))
    assert [] == page.all("#detail b, #detail script, #rows b, #rows script")
    assert 0 == page.overflow()
    isolates = page.script(
        "return [...document.querySelectorAll('#detail dd, #detail .said, #detail pre, .row > *')]"
        ".every(e => getComputedStyle(e).unicodeBidi === 'isolate')"
    )
    assert isolates


def test_thousands_of_emails_are_a_list_that_can_be_used(page):
    """Few rows are in the document, whichever part is looked at; and the list can be searched."""
    put_in(page.emulator, MANY)
    page.open()
    page.until(lambda: MANY in numbers_shown(page))
    assert 60 > len(page.all(".row"))
    page.script("document.getElementById('list').scrollTop = 1e9")
    page.until(lambda: 1 in numbers_shown(page))
    assert 60 > len(page.all(".row"))
    page.script("document.getElementById('list').scrollTop = 2500 * 56")
    page.until(lambda: 2490 in numbers_shown(page))
    assert 0 == page.overflow()
    page.find("#search").send_keys("person4321@")
    page.until(lambda: [4321] == numbers_shown(page))
    page.click(".row")
    page.until_it_says("#detail h2", "person4321@acme.example")
    page.find("#search").clear()
    page.find("#search").send_keys("nobody")
    page.until_it_says("#empty", "No email like that.")


def test_where_somebody_has_scrolled_to_stays_while_more_comes(page):
    """New emails come in above, and what is read does not run away."""
    put_in(page.emulator, 200)
    page.open()
    page.script("document.getElementById('list').scrollTop = 100 * 56")
    page.until(lambda: 100 in numbers_shown(page))
    before = page.find("#row-100").rect["y"]
    put_in(page.emulator, 30)
    page.until_it_says("#tab-emails .count", "230")
    page.until(lambda: page.find("#row-100").get_attribute("aria-setsize") == "230")
    assert before == page.find("#row-100").rect["y"]


def test_the_keyboard_is_enough(page):
    """Tab and arrows reach everything; Enter opens, Escape returns, and it can be seen where one is."""
    put_in(page.emulator, 100)
    page.open()
    page.until(lambda: 100 in numbers_shown(page))
    reached = []
    for _ in range(12):
        page.press(Keys.TAB)
        reached.append(page.focus)
        tag, outline = page.script(
            "const e = document.activeElement; return [e.tagName, getComputedStyle(e).outlineStyle]"
        )
        assert tag == "BODY" or outline != "none", page.focus
    for wanted in ("open-settings", "open-faults", "open-reset", "tab-emails", "search", "list"):
        assert wanted in reached
    page.find("#list").send_keys(Keys.ARROW_DOWN, Keys.ARROW_DOWN, Keys.ARROW_UP, Keys.ENTER)
    page.until_it_says("#detail h2", "person99@")
    page.until(lambda: page.focus == "detail")
    page.press(Keys.ESCAPE)
    page.until(lambda: page.focus == "list")
    page.press(Keys.END, Keys.ENTER)
    page.until_it_says("#detail h2", "person1@")
    page.press(Keys.ESCAPE)
    page.press(Keys.PAGE_UP)
    page.press(Keys.HOME)
    page.until(lambda: page.find("#list").get_attribute("aria-activedescendant") == "row-100")
    page.find("#tab-emails").send_keys(Keys.ARROW_RIGHT)
    page.until(lambda: page.focus == "tab-interviews")
    page.until_it_says("#rows", "#100")
    page.press(Keys.TAB, Keys.TAB, Keys.TAB)
    assert "list" == page.focus
    page.press(Keys.ENTER)
    page.until(lambda: page.focus == "detail")
    page.press(Keys.TAB, Keys.TAB)
    assert "complete" == page.focus
    page.press(Keys.ENTER)
    page.until_it_says("#detail", "Transcript")
    assert "completed" == page.emulator.interviews[100].status


@pytest.mark.parametrize("where", ["#emails/999", "#deals/%", "#deals/a%2Fb", "#interviews/7"])
def test_an_address_of_what_is_not_there_says_so(page, where):
    """One that was kept, or typed by hand."""
    page.open(where)
    page.until_it_says("#detail", "There is no such")


def test_an_address_of_no_tab_is_that_of_the_first(page):
    """Nothing is as empty as a page without a tab."""
    page.open("#nothing")
    page.until_it_says("#empty", "No email yet")


def test_a_deal_opens_from_its_email_by_whatever_id_it_has(page):
    """Also one that an address cannot hold as it is."""
    deal_id = "deal /%?#é"
    page.emulator.deals.add(id=deal_id, name="Northwind renewal", status="Closed Lost", amount=48_000)
    create(page.emulator, **JANE | {"deal_id": deal_id})
    page.open("#emails/1")
    page.until(lambda: page.all("#detail a[href^='#deals']"))[0].click()
    page.until_it_says("#detail", "Northwind renewal")
    page.until_it_says("#rows", "48,000")
    assert "true" == page.find("#row-1").get_attribute("aria-selected")
    page.driver.back()
    page.until_it_says("#detail", "Why did pricing block us?")


def test_on_a_phone_there_is_one_column_with_a_way_back(page):
    """What is opened takes the place of the list, nothing is wider than the window, and "back" is back."""
    put_in(page.emulator, 30)
    create(page.emulator, **JANE)
    page.emulator.fail("GET /interviews/{id}", "slow", seconds=3)
    page.open(**PHONE)
    page.until_it_says("#rows", "jane@")
    for tab in ("interviews", "requests", "deals", "documents", "emails"):
        page.click(f"#tab-{tab}")
        page.until(lambda: not page.find("#detail").is_displayed())
        assert 0 == page.overflow()
    page.until_it_says("#rows", "jane@")
    page.click("#row-31")
    page.until_it_says("#detail", "VP of Engineering")
    page.until(lambda: page.find("#detail").is_displayed() and not page.find("#list-side").is_displayed())
    assert 0 == page.overflow()
    page.click("#detail .back")
    page.until(lambda: page.find("#list-side").is_displayed())
    page.driver.back()
    page.until(lambda: page.find("#detail").is_displayed())
    page.driver.back()
    page.until(lambda: page.find("#list-side").is_displayed())
    for name in ("settings", "faults", "reset"):
        page.click(f"#open-{name}")
        page.until(lambda name=name: page.find(f"#{name}-dialog").is_displayed())
        assert 0 == page.overflow()
        page.press(Keys.ESCAPE)


def test_faults_are_set_seen_met_and_cleared(page):
    """What the emulator refuses is said at the field that is wrong."""
    page.open("#requests")
    page.click("#open-faults")
    page.until_it_says("#faults-list", "None is set.")
    page.script("document.querySelector('[name=route]').value = 'POST /interviews'")
    code = page.find("[name=code]")
    code.clear()
    code.send_keys("99", Keys.ENTER)
    page.until_it_says("#faults-dialog .wrong", "how must be a whole number from 200 to 599")
    assert "true" == code.get_attribute("aria-invalid")
    only_refused(page)
    code.clear()
    code.send_keys("503")
    page.find("[name=retry_after]").send_keys("7", Keys.ENTER)
    page.until_it_says("#faults-list", "POST /interviews: 503")
    page.click("#faults-dialog [value=cancel]")
    page.until_it_says(
        "#faults-set", "1 fault set: POST /interviews: 503 (Retry-After 7), before it acts, once more"
    )
    assert 503 == create(page.emulator, **JANE)
    page.until_it_says("#rows", "503")
    page.until_it_says("#rows", "retry after 7")
    page.until(lambda: not page.find("#faults-set").is_displayed())
    page.emulator.fail("*", "disconnect", times=None)
    page.until_it_says("#faults-set", "every request: disconnect, before it acts, every time")
    page.click("#clear-faults")
    page.until(lambda: not page.find("#faults-set").is_displayed())
    assert [] == page.emulator.faults
    page.emulator.fail("*", "disconnect", times=None)
    page.click("#open-faults")
    page.until_it_says("#faults-list", "every request")
    page.click("#clear-all")
    page.until_it_says("#faults-list", "None is set.")
    assert [] == page.emulator.faults


def test_a_request_opens_to_its_bodies_and_headers(page):
    """What was sent, what was answered, how long it took, and what was left; the key is nowhere."""
    create(page.emulator, **JANE)
    create(page.emulator, contact_mail="x")
    page.open("#requests")
    page.until_it_says("#rows", "999 of 1,000 left")
    page.click("#row-1")
    page.until_it_says("#detail", "interview_request_id")
    shown = page.text("#detail")
    for known in (
        "POST /api/v1/interviews",
        "201",
        '"contact_email": "jane@acme.example"',
        "X-RateLimit-Remaining",
        "999",
    ):
        assert known in shown
    assert page.emulator.api_key not in page.driver.page_source
    page.click("#row-2")
    page.until_it_says("#detail", "bad_request")


def test_settings_are_changed_and_a_reset_forgets_all(page):
    """Plan and latency while it runs; the reset asks first."""
    put_in(page.emulator, 3)
    page.open("#emails/2")
    page.until_it_says("#plan", "Enterprise 1,000/min · sliding window")
    page.click("#open-settings")
    page.until(lambda: page.find("#settings-dialog").is_displayed())
    latency = page.find("[name=latency]")
    latency.clear()
    latency.send_keys("soon", Keys.ENTER)
    page.until_it_says("#settings-dialog .wrong", "latency must be a number from 0, not 'soon'")
    only_refused(page)
    latency.clear()
    latency.send_keys("0.01")
    page.script("document.querySelector('[name=plan]').value = 'growth'")
    page.find("[name=monthly_limit]").send_keys("500", Keys.ENTER)
    page.until_it_says("#plan", "Growth 300/min · sliding window · 0.01 s latency")
    page.until_it_says("#rate", "quota 500")
    assert 3 == len(page.emulator.outbox)
    page.click("#open-reset")
    page.click("#reset-dialog .danger")
    page.until_it_says("#empty", "No email yet")
    page.until_it_says("#detail", "There is no such email")
    page.until_it_says("#plan", "Enterprise 1,000/min")
    assert [] == page.emulator.outbox


def test_interviews_are_shown_by_their_status(page):
    """With how many of each there are."""
    put_in(page.emulator, 5)
    page.emulator.complete(2)
    page.open("#interviews")
    page.until_it_says("#status", "completed (1)")
    page.until_it_says("#status", "sent (4)")
    page.click("#status option[value=completed]")
    page.until(lambda: [2] == numbers_shown(page))
    page.emulator.complete(4)
    page.until(lambda: [4, 2] == sorted(numbers_shown(page), reverse=True))


def luminance(colour):
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


COLOURS = """
const behind = (e) => {
  const colour = getComputedStyle(e).backgroundColor;
  return colour !== "rgba(0, 0, 0, 0)" || !e.parentElement ? colour : behind(e.parentElement);
};
return [...document.querySelectorAll("body *")]
  .filter((e) => e.checkVisibility() && [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()))
  .map((e) => [e.tagName + "." + e.className + "#" + e.id, getComputedStyle(e).color, behind(e)]);
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_stand_out_from_what_is_behind_them(page, scheme):
    """At least 4.5 to 1, as WCAG AA asks, in light and dark."""
    create(page.emulator, **JANE)
    page.emulator.fail("POST /interviews", 500, times=2)
    create(page.emulator, **JANE)
    create(page.emulator, contact_mail="x")
    for where in ("#emails/1", "#requests/2", "#interviews/1"):
        page.open(where, scheme=scheme)
        page.until(lambda: page.all("#detail section"))
        for name, front, back in page.script(COLOURS):
            bright, dark = sorted((luminance(front), luminance(back)), reverse=True)
            assert 4.5 <= (bright + 0.05) / (dark + 0.05), (name, front, back)
