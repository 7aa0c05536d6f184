"""The remote control: what a Python test does to the emulator, over HTTP."""

import json
import os
import re
import subprocess
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from hindsight_async import Plan
from hindsight_async.emulator import Emulator
from hindsight_async.emulator.control import CONTROL_ROUTES
from hindsight_async.emulator.control_fields import FAULT_FIELDS, SETTINGS_FIELDS
from hindsight_async.testing import serving

FROM_OTHER_SITES = [
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:1"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
]
"""Headers by which a browser says that another site's page sends a request."""

PAGE = (Path(__file__).parent.parent / "docs" / "emulator.md").read_text(encoding="utf-8")
JANE = {
    "contact_email": "Jane@acme.example",
    "contact_name": "Jane",
    "contact_context": {"title": "CTO"},
    "objective": "Why not us?",
    "sequence_id": "seq_1",
}


@asynccontextmanager
async def controlled(**options):
    """Serve an emulator with its remote control, and yield both and `ask(method, path, **arguments)`."""
    async with Emulator(**{"remote_control": True, **options}) as emulator, aiohttp.ClientSession() as http:

        async def ask(method, path, **arguments):
            async with http.request(method, emulator.control_url + path, **arguments) as response:
                return response.status, await response.json()

        yield emulator, ask


async def create(emulator, **changes):
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {emulator.api_key}"}) as http,
        http.post(f"{emulator.base_url}/interviews", json=JANE | changes) as response,
    ):
        return response.status, response.headers, await response.json()


async def test_the_outbox_shows_to_whom_and_what_the_interviewer_knows():
    """Each email has its interview: contact, context, objective and the link to open."""
    async with controlled() as (emulator, ask):
        await create(emulator)
        status, shown = await ask("GET", "/outbox")
        [email] = shown["emails"]
        assert (200, 1, 1) == (status, shown["total"], shown["next"])
        assert "jane@acme.example" == email["to"]
        seen = email["interview"]
        assert ("Jane", '{"title": "CTO"}', "Why not us?") == (
            seen["contact_name"], seen["contact_context"], seen["objective"],
        )  # fmt: skip
        assert emulator.interviews[1].survey_url == seen["survey_url"]


async def test_requests_show_bodies_and_statuses_and_no_key():
    """The API's requests are listed, without the key and without those of the remote control."""
    async with controlled() as (emulator, ask):
        await create(emulator)
        await ask("GET", "/state")
        _, shown = await ask("GET", "/requests")
        [request] = shown["requests"]
        assert ("POST", "/api/v1/interviews", 201, JANE) == tuple(
            request[name] for name in ("method", "path", "status", "body")
        )
        assert emulator.api_key not in json.dumps(shown)
        assert (200, {"total": 0}) == await ask("DELETE", "/requests")
        assert [] == emulator.requests


async def test_the_remote_control_uses_up_nothing_of_the_plan():
    """After a hundred looks at it a plan of sixty has room for sixty requests."""
    async with controlled(window="sliding") as (emulator, ask):
        for _ in range(100):
            await ask("GET", "/state")
        assert 60 == emulator.spend(100)


async def test_an_upload_shows_its_size_instead_of_its_body():
    """What is not JSON could be large, and could be no text."""
    async with controlled() as (emulator, ask), aiohttp.ClientSession() as http:
        async with http.post(f"{emulator.base_url}/documents/library", data=b"\xff\x00form") as response:
            assert 401 == response.status
        _, shown = await ask("GET", "/requests")
        assert (None, 6) == (shown["requests"][0]["body"], shown["requests"][0]["body_bytes"])


async def test_pages_go_on_where_the_last_one_ended():
    """`next` is the `after` of what comes then, also of what is not there yet."""
    async with controlled() as (emulator, ask):
        for number in range(3):
            await create(emulator, contact_email=f"{number}@acme.example")
        _, first = await ask("GET", "/interviews?limit=2")
        _, second = await ask("GET", f"/interviews?after={first['next']}")
        _, none = await ask("GET", f"/interviews?after={second['next']}")
        ids = [[one["interview_request_id"] for one in page["interviews"]] for page in (first, second, none)]
        assert [[1, 2], [3], []] == ids
        assert [2, 3, 3] == [page["next"] for page in (first, second, none)]
        await create(emulator)
        _, new = await ask("GET", f"/interviews?after={none['next']}")
        assert 4 == new["interviews"][0]["interview_request_id"]


async def test_completing_an_interview_has_the_api_answer_its_transcript():
    """With the given words, or with the usual ones."""
    async with controlled() as (emulator, ask):
        await create(emulator)
        await create(emulator)
        status, shown = await ask(
            "POST", "/interviews/1/complete", json={"transcript": "**Jane:** The price."}
        )
        assert (200, "completed", "**Jane:** The price.") == (status, shown["status"], shown["transcript"])
        assert 200 == (await ask("POST", "/interviews/2/complete", json={}))[0]
        assert ["completed", "completed"] == [one.status for one in emulator.interviews.values()]
        status, refused = await ask("POST", "/interviews/9/complete", json={})
        assert (404, "id") == (status, refused["error"]["details"]["field"])


async def test_faults_are_put_listed_met_and_cleared():
    """A fault says how often it is still met."""
    async with controlled() as (emulator, ask):
        fault = {
            "route": "POST /interviews",
            "how": 503,
            "times": 2,
            "retry_after": 7,
            "headers": {"X-A": "b"},
        }
        status, listed = await ask("POST", "/faults", json=fault)
        assert (200, 2, 503) == (status, listed["faults"][0]["left"], listed["faults"][0]["how"])
        answered, headers, _ = await create(emulator)
        assert (503, "7", "b") == (answered, headers["Retry-After"], headers["X-A"])
        assert 1 == (await ask("GET", "/faults"))[1]["faults"][0]["left"]
        await ask("POST", "/faults", json={"route": "*", "how": "disconnect", "times": None})
        assert [1, None] == [one["left"] for one in (await ask("GET", "/faults"))[1]["faults"]]
        assert (200, {"faults": []}) == await ask("DELETE", "/faults")
        assert 201 == (await create(emulator))[0]


async def test_deals_are_put_in_all_or_none_and_replaced_by_their_id():
    """A wrong one is named by its place, and no other of its list is there then."""
    async with controlled() as (emulator, ask):
        deals = [{"id": "deal_1", "name": "Acme", "amount": 5}, {"name": "Fjord"}]
        assert (200, {"ids": ["deal_1", "deal_000001"], "total": 2}) == await ask(
            "POST", "/deals", json={"deals": deals}
        )
        await ask("POST", "/deals", json={"deals": [{"id": "deal_1", "name": "Other"}]})
        assert ("Other", None) == (emulator.deals["deal_1"]["name"], emulator.deals["deal_1"]["amount"])
        status, refused = await ask("POST", "/deals", json={"deals": [{"id": "new"}, {"amount": "5"}]})
        assert (400, "deals[1]") == (status, refused["error"]["details"]["field"])
        assert "amount must be int, not str" in refused["error"]["message"]
        assert {"deal_1", "deal_000001"} == set(emulator.deals)


async def test_settings_change_while_it_runs():
    """The plan, the way of counting, the month and the latency; the next answer's headers say so."""
    async with controlled() as (emulator, ask):
        await create(emulator)
        changes = {"plan": "growth", "window": "sliding", "monthly_limit": 5, "latency": 0.25}
        status, shown = await ask("PATCH", "/settings", json=changes)
        assert (200, changes | {"requests_per_minute": 300, "refusals_cached": False}) == (status, shown)
        assert Plan.GROWTH is emulator.plan
        _, headers, _ = await create(emulator)
        assert ("300", "299", "1") == tuple(
            headers[name] for name in ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-Usage-Used")
        )
        await ask("PATCH", "/settings", json={"monthly_limit": 0})
        assert (429, "0") == ((found := await create(emulator))[0], found[1]["X-Usage-Remaining"])
        assert (
            10
            == (await ask("PATCH", "/settings", json={"requests_per_minute": 10}))[1]["requests_per_minute"]
        )
        assert (
            1000 == (await ask("PATCH", "/settings", json={"plan": "enterprise"}))[1]["requests_per_minute"]
        )


async def test_a_reset_leaves_nothing_and_undoes_changes():
    """All that arrived or was put in is gone, in the same lists, ids begin again, and the first settings hold."""
    async with controlled(plan="growth", monthly_limit=9, window="sliding") as (emulator, ask):
        outbox, deals = emulator.outbox, emulator.deals
        _, before = await ask("GET", "/state")
        await create(emulator)
        await ask("POST", "/faults", json={"route": "*", "how": 500})
        await ask("POST", "/deals", json={"deals": [{"id": "deal_1"}]})
        await ask("PATCH", "/settings", json={"plan": "essentials", "monthly_limit": None})
        status, after = await ask("POST", "/reset", json={})
        for shown in (before, after):
            del shown["now"], shown["left"]["minute_resets_at"]
        assert (200, before) == (status, after)
        assert ([], {}) == (outbox, deals)
        assert outbox is emulator.outbox
        assert 1 == (await create(emulator))[2]["interview_request_id"]


async def test_a_reset_gives_the_month_back():
    """Also where its limit was never changed."""
    async with controlled(monthly_limit=1) as (emulator, ask):
        assert [201, 429] == [(await create(emulator))[0], (await create(emulator))[0]]
        assert 1 == (await ask("POST", "/reset", json={}))[1]["left"]["month"]
        assert 201 == (await create(emulator))[0]


async def test_a_changed_month_keeps_what_it_has_used_up():
    """A larger one leaves the rest of it."""
    async with controlled(monthly_limit=1) as (emulator, ask):
        await create(emulator)
        await ask("PATCH", "/settings", json={"monthly_limit": 3})
        assert 2 == (await ask("GET", "/state"))[1]["left"]["month"]


@pytest.mark.parametrize(
    ("method", "path", "body", "field", "words"),
    [
        ("PATCH", "/settings", {"window": "hourly"}, "window", "window must be one of weighted, sliding"),
        ("PATCH", "/settings", {"plan": "gold"}, "plan", "one of essentials, growth, enterprise, not 'gold'"),
        ("PATCH", "/settings", {"latency": -1}, "latency", "latency must be a number from 0, not -1"),
        ("PATCH", "/settings", {"latency": 1e300}, "latency", "not a number that large"),
        ("PATCH", "/settings", {"monthly_limit": True}, "monthly_limit", "a whole number from 0, or null, not true"),
        ("PATCH", "/settings", {"requests_per_minute": 0}, "requests_per_minute", "from 1, or null, not 0"),
        ("PATCH", "/settings", {"speed": 1}, "speed", "one of plan, requests_per_minute, window"),
        ("PATCH", "/settings", {"refusals_cached": True, "window": "fixed"}, "refusals_cached", "goes with window="),
        ("POST", "/faults", {"how": 500}, "route", "route is missing: one of POST /interviews"),
        ("POST", "/faults", {"route": "POST /x", "how": 500}, "route", "not 'POST /x'"),
        ("POST", "/faults", {"route": "*", "how": 99}, "how", "a whole number from 200 to 599, or one of disconnect"),
        ("POST", "/faults", {"route": "*", "how": 500, "times": 0}, "times", "a whole number from 1, or null, not 0"),
        ("POST", "/faults", {"route": "*", "how": 404, "at": "after_commit"}, "at", "refused to act"),
        ("POST", "/faults", {"route": "*", "how": 500, "to": "/x"}, "to", "to means nothing with how=500"),
        ("POST", "/faults", {"route": "*", "how": 500, "headers": {"A": "b\r\nC: d"}}, "headers", "not an object"),
        ("POST", "/faults", {"route": "*", "how": 500, "retry_after": "1\r\nA: b"}, "retry_after", "of one line"),
        ("POST", "/deals", {}, "deals", "deals is missing: a list of objects"),
        ("POST", "/deals", {"deals": [1]}, "deals", "deals must be a list of objects, not a list"),
        ("POST", "/interviews/1/complete", {"transcript": None}, "transcript", "a text, not null"),
        ("POST", "/reset", {"all": True}, "all", "no field"),
        ("GET", "/outbox?limit=1001", None, "limit", "a whole number from 1 to 1000, not '1001'"),
        ("GET", "/outbox?after=-1", None, "after", "a whole number from 0, not '-1'"),
    ],
)  # fmt: skip
async def test_a_wrong_request_names_the_field_and_what_would_be_right(method, path, body, field, words):
    """It is a 400, and changes nothing."""
    async with controlled() as (emulator, ask):
        await create(emulator)
        settings = emulator.settings
        status, said = await ask(method, path, **({} if body is None else {"json": body}))
        assert (400, field) == (status, said["error"]["details"]["field"])
        assert words in said["error"]["message"]
        assert said["error"]["details"]["expected"]
        assert (settings, []) == (emulator.settings, emulator.faults)


@pytest.mark.parametrize("raw", [b"{", b"[]", b'{"deals": NaN}', b"\xff", b"[" * 100_000])
async def test_a_body_that_is_no_json_object_is_a_400(raw):
    """In the envelope as well."""
    async with controlled() as (_, ask):
        status, said = await ask("POST", "/deals", data=raw, headers={"Content-Type": "application/json"})
        assert (400, "bad_request") == (status, said["error"]["code"])


async def test_what_is_not_there_is_a_404_that_lists_what_is():
    """And another method is a 405 that names those that are served."""
    async with controlled() as (_, ask):
        status, said = await ask("GET", "/nothing")
        assert (404, True) == (status, "GET /_emulator/v1/state" in said["error"]["details"]["expected"])
        status, said = await ask("PUT", "/faults")
        assert (405, "GET, POST, DELETE") == (status, said["error"]["details"]["expected"])


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", None]
)
@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/reset"), ("PATCH", "/settings"), ("POST", "/faults")]
)
async def test_only_json_is_taken(method, path, kind):
    """What any website may have a browser send is a 415, also without a body."""
    async with controlled() as (emulator, ask):
        await create(emulator)
        headers = {} if kind is None else {"Content-Type": kind}
        status, said = await ask(
            method,
            path,
            headers=headers,
            skip_auto_headers=["Content-Type"],
            data=b"" if kind is None else b"{}",
        )
        assert (415, "Content-Type") == (status, said["error"]["details"]["field"])
        assert 1 == len(emulator.interviews)


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:80", "localhost.evil.example", "127.0.0.1.evil.example", "a@localhost", "10.0.0.1",
     "[::2]:80", "localhost:", ""],
)  # fmt: skip
async def test_another_name_in_host_is_refused(host):
    """A site whose own name points here learns and changes nothing."""
    async with controlled() as (_, ask):
        status, said = await ask("GET", "/state", headers={"Host": host})
        assert (403, "Host") == (status, said["error"]["details"]["field"])


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:99", "127.0.0.1:1", "127.9.9.9", "[::1]:8123"])
async def test_the_names_of_this_machine_are_let_in(host):
    """With any port, since one may be forwarded."""
    async with controlled() as (_, ask):
        assert 200 == (await ask("GET", "/state", headers={"Host": host}))[0]


@pytest.mark.parametrize(
    "host",
    ["emulator", "EMULATOR:8123", "emulator.test", "host.docker.internal:80", "10.0.0.1", "[fe80::1]:8123"],
)
async def test_an_emulator_for_the_network_has_the_names_that_no_site_can_have(host):
    """Those of a service among containers, say; its links lead there as well, and its own variables to this machine."""
    async with controlled(host="0.0.0.0") as (emulator, ask), aiohttp.ClientSession() as http:
        assert emulator.base_url.startswith("http://127.0.0.1:")
        assert 200 == (await ask("GET", "/state", headers={"Host": host}))[0]
        key = {"Authorization": f"Bearer {emulator.api_key}"}
        async with http.post(
            f"{emulator.base_url}/interviews", json=JANE, headers={"Host": host, **key}
        ) as response:
            assert (await response.json())["survey_url"].startswith(f"http://{host}/survey?token=")
        link = emulator.interviews[1].survey_url.replace(
            f"http://{host}", emulator.base_url[: -len("/api/v1")]
        )
        async with http.get(link, headers={"Host": host}) as response:
            assert 200 == response.status


@pytest.mark.parametrize(
    "host", ["evil.example", "emulator.example:80", "test.", "internal.evil.example", "a@b", ""]
)
async def test_an_emulator_for_the_network_refuses_names_that_a_site_could_have(host):
    """And no link of its leads there."""
    async with controlled(host="0.0.0.0") as (emulator, ask), aiohttp.ClientSession() as http:
        status, said = await ask("GET", "/state", headers={"Host": host})
        assert (403, "Host") == (status, said["error"]["details"]["field"])
        assert "a name of one word, or one below home.arpa" in said["error"]["message"]
        key = {"Authorization": f"Bearer {emulator.api_key}"}
        async with http.post(
            f"{emulator.base_url}/interviews", json=JANE, headers={"Host": host, **key}
        ) as response:
            assert (await response.json())["survey_url"].startswith("http://127.0.0.1:")


@pytest.mark.parametrize("headers", FROM_OTHER_SITES)
async def test_a_page_of_another_site_is_refused(headers):
    """Also one on this machine, behind another port."""
    async with controlled() as (emulator, ask):
        await create(emulator)
        status, said = await ask("POST", "/reset", json={}, headers=headers)
        assert (403, next(iter(headers))) == (status, said["error"]["details"]["field"])
        assert 1 == len(emulator.interviews)


async def test_the_own_page_is_let_in():
    """Its Origin is the emulator itself."""
    async with controlled() as (emulator, ask):
        own = emulator.control_url.removesuffix("/_emulator/v1")
        headers = {"Origin": own, "Sec-Fetch-Site": "same-origin"}
        assert 200 == (await ask("POST", "/reset", json={}, headers=headers))[0]


async def test_it_is_off_unless_asked_for():
    """Then its path is one that the API does not have, and asking for its URL says how to turn it on."""
    async with Emulator() as emulator, aiohttp.ClientSession() as http:
        root = emulator.base_url.removesuffix("/api/v1")
        async with http.get(f"{root}/_emulator/v1/state") as response:
            assert 401 == response.status
        with pytest.raises(RuntimeError, match="remote_control=True"):
            _ = emulator.control_url


async def test_half_of_a_character_is_shown_as_it_came():
    """A name that no encoding has bytes for spoils neither the list nor the API's answers."""
    async with controlled() as (emulator, ask):
        raw = json.dumps(JANE | {"contact_name": "\ud800x", "objective": "\udfff"})
        async with (
            aiohttp.ClientSession(headers={"Authorization": f"Bearer {emulator.api_key}"}) as http,
            http.post(f"{emulator.base_url}/interviews", data=raw) as response,
        ):
            assert 201 == response.status
        _, shown = await ask("GET", "/interviews")
        assert ("\ud800x", "\udfff") == tuple(
            shown["interviews"][0][name] for name in ("contact_name", "objective")
        )


async def test_a_larger_body_than_is_read_is_a_413(monkeypatch):
    """It is not kept in memory whole."""
    monkeypatch.setattr("hindsight_async.emulator.control.LARGEST_BODY", 1000)
    async with controlled() as (_, ask):
        status, _ = await ask("POST", "/deals", json={"deals": [{"name": "x" * 1000}]})
        assert 413 == status


@pytest.mark.parametrize("name", ["sequences", "interview_types", "deals"])
def test_one_text_is_no_list_of_ids(name):
    """Any part of it would count as known."""
    with pytest.raises(TypeError, match=f"{name} must be a list of ids"):
        Emulator(**{name: "seq_abc123"})


@pytest.mark.parametrize("wrong", [{"monthly_limit": -1}, {"latency": -0.1}, {"window": "hourly"}])
def test_a_wrong_setting_is_refused_before_the_start_and_after(wrong):
    """It is named, and nothing has changed then."""
    [name] = wrong
    with pytest.raises(ValueError, match=name):
        Emulator(**wrong)
    emulator = Emulator()
    with pytest.raises(ValueError, match=name):
        emulator.configure(**wrong)
    assert Emulator().settings == emulator.settings


def test_the_page_describes_each_route_and_each_field():
    """Whoever adds one has to say what it does."""
    assert set(re.findall(r"^\| `((?:GET|POST|PATCH|DELETE) /[^`]*)`", PAGE, re.MULTILINE)) == set(
        CONTROL_ROUTES
    )
    rows = re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)
    assert [*SETTINGS_FIELDS, *FAULT_FIELDS] == rows


def test_a_shell_script_drives_a_whole_test():
    """The one of the documentation, as it stands there: a lost answer, and the email that went out all the same."""
    [script] = re.findall(r"```sh\n(set -eu\n.*?)```", PAGE, re.DOTALL)
    with serving(Emulator(remote_control=True)) as emulator:
        done = subprocess.run(
            ["sh", "-c", script],
            env={"PATH": os.environ["PATH"], "HINDSIGHT_BASE_URL": emulator.base_url, "HINDSIGHT_API_KEY": emulator.api_key},
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert (0, "") == (done.returncode, done.stderr)
    assert done.stdout.endswith("passed\n")
