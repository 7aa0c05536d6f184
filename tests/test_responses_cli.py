"""`ask`: the words as they come, then the sources; nothing that a terminal would obey."""

import json

import pytest

SOURCE = {
    "document_id": "doc_1",
    "document_name": "Call\x1b]0;owned\x07 with Globex",
    "deal_id": "deal_1",
    "deal_name": "Globex",
    "url": "https://app.usehindsight.com/documents/viewer/doc_1",
    "excerpt": "too dear",
}


@pytest.fixture
def ask(command_line, emulator):
    """Give a test the command, pointed at the emulator."""

    def run(*arguments, **options):
        environment = {"HINDSIGHT_API_KEY": emulator.api_key, "HINDSIGHT_BASE_URL": emulator.base_url}
        return command_line("ask", *arguments, **environment, **options)

    return run


def test_an_answer_is_printed_with_its_sources_below(ask, emulator):
    """Each once, with its deal and its link on a line of its own."""
    emulator.responses.say(
        "It is price.\n\tAlways.", citations=[SOURCE, SOURCE, {**SOURCE, "deal_name": None}]
    )
    done = ask("Why do we lose?")
    assert (0, "") == (done.returncode, done.stderr)
    name = r"Call\x1b]0;owned\x07 with Globex"
    link = "    https://app.usehindsight.com/documents/viewer/doc_1"
    assert f"It is price.\n\tAlways.\n\n[1] {name} (Globex)\n{link}\n\n[2] {name}\n{link}\n" == done.stdout
    assert [{"role": "user", "content": "Why do we lose?"}] == emulator.requests[0].body["messages"]


def test_what_a_terminal_would_obey_is_spelled_out(ask, emulator):
    """Colours, titles, a bell, a carriage return that hides a line, letters that turn the direction."""
    emulator.responses.say("\x1b[31mred\x07 \x9b1m a\rb \u202eevil ü😀")
    done = ask("Why?")
    assert "\\x1b[31mred\\x07 \\x9b1m a\\rb \\u202eevil ü😀\n" == done.stdout


def test_with_json_the_answer_is_one_line(ask, emulator):
    """In the form of the API, with nothing taken out."""
    emulator.responses.say("It is\nprice.", citations=[SOURCE])
    done = ask("Why?", "--json")
    (line,) = done.stdout.splitlines()
    assert {
        "message": {"role": "assistant", "content": "It is\nprice.", "citations": [SOURCE]}
    } == json.loads(line)


def test_a_question_may_come_from_standard_input(ask, emulator):
    """As a hyphen says."""
    assert 0 == ask("-", stdin="Why do\nwe lose?").returncode
    assert "Why do\nwe lose?" == emulator.requests[0].body["messages"][0]["content"]


@pytest.mark.parametrize("question", ["", "  "])
def test_no_question_is_refused(ask, emulator, question):
    """Nothing is sent."""
    done = ask(question)
    assert (2, "hindsight-async: the question is empty\n") == (done.returncode, done.stderr)
    assert [] == emulator.requests


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_an_answer_that_breaks_off_is_no_success(ask, emulator, options):
    """What was said stands there, with a line end; in JSON half an answer is none."""
    emulator.responses.say("It is price and nothing else.")
    emulator.fail("POST /responses", "disconnect", at="mid_body")
    done = ask("Why?", *options)
    assert 1 == done.returncode
    assert "the answer broke off" in done.stderr
    assert done.stdout == ("" if options else "It is price \n")
