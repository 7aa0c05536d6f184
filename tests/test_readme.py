"""Every block and every table of the README and of the pages in `docs` is true, and what contributors are sent to exists."""

import asyncio
import inspect
import os
import re
import tomllib
from pathlib import Path

import pytest

import doc_pages
import hindsight_async
import loaded_python
import web_server
from hindsight_async import HindsightSession, Plan, errors
from hindsight_async.cli.terminal import ExitCode
from hindsight_async.delivery.keys import LONGEST_CALLER_KEY
from hindsight_async.delivery.ledger.entries import LedgerStatus
from hindsight_async.delivery.ledger.tables import SCHEMA_VERSION, Tables
from hindsight_async.delivery.options import DEFAULT_ABORT_AFTER_FAILURES, DEFAULT_WAIT_FOR_NETWORK
from hindsight_async.emulator import Emulator
from hindsight_async.resources.interviews.queueing import DEFAULT_MAX_AGE

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / ".github" / "CONTRIBUTING.md").read_text(encoding="utf-8")
PAGES = {page.name: page.read_text(encoding="utf-8") for page in sorted(doc_pages.PAGES.glob("*.md"))}
PROGRAMS = {
    f"{name}-{number}": block
    for name, text in {"README.md": README, **PAGES}.items()
    for number, block in enumerate(doc_pages.blocks(text))
    if not doc_pages.has_a_name(block)
}
LARGEST_README = 8_000
"""Bytes: what a newcomer reads."""
LARGEST_DRAWING = 100_000


def table_after(heading, text):
    rows = text.split(heading, 1)[1].split("|---", 1)[1].split("\n\n", 1)[0].splitlines()[1:]
    return [[cell.strip() for cell in row.split("|")[1:-1]] for row in rows]


def emulated(program):
    """Run `program(environment)` on a thread while an emulator serves on this one."""

    async def serve():
        async with Emulator(plan=Plan.GROWTH, completes_after=0) as emulator:
            environment = {
                **os.environ,
                "HINDSIGHT_API_KEY": emulator.api_key,
                "HINDSIGHT_BASE_URL": emulator.base_url,
            }
            return await asyncio.to_thread(program, environment), emulator

    return asyncio.run(serve())


def test_the_readme_is_what_a_newcomer_needs():
    """It is short, and its parts stand in the order in which they are needed."""
    assert LARGEST_README > len(README.encode())
    assert [
        "Install",
        "See it, and test it",
        "Create one",
        "Many, with a verdict for each",
        "On the command line",
        "While you try things out",
        "What can go wrong",
        "The emulator in your tests",
        "Several processes",
        "Documentation",
    ] == re.findall(r"^## (.*)$", README, re.MULTILINE)
    assert 5 == len(table_after("## What can go wrong", README))


def test_the_drawings_are_small_and_load_nothing():
    """A page with them is quick, also on a package index, and tells nobody that it was read."""
    drawings = {file.name: file.read_text(encoding="utf-8") for file in doc_pages.PAGES.glob("images/*.svg")}
    assert {"budget.svg", "demo.svg"} <= drawings.keys()
    for drawing in drawings.values():
        assert LARGEST_DRAWING > len(drawing.encode())
        assert not re.search(r"url\(\W*http|<image|<script|@import", drawing)


def test_every_python_block_is_run():
    """No block is only decoration: it is a program that is run here, or a file that a test of its page names."""
    assert all("print(" in program for program in PROGRAMS.values())
    tests = "\n".join(file.read_text(encoding="utf-8") for file in Path(__file__).parent.glob("*.py"))
    others = doc_pages.named_blocks().keys() - web_server.COMMANDS.keys()  # which are those of web frameworks
    assert {"django_project"} >= {name for name in others if not re.search(rf"\b{name}\b", tests)}


def test_a_link_to_a_file_leads_to_one():
    """A reader who is sent to another page finds it; the links of the pages are looked at when the site is built."""
    files = {link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link}
    assert "docs/emailed-twice.md" in files
    assert [] == [file for file in files if not (ROOT / file).exists()]


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_a_program_runs_as_it_stands(program, tmp_path):
    """Copied out and run against the emulator, a program ends well and warns of nothing."""

    def run(environment):
        return loaded_python.run(
            ["-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True
        )

    done, emulator = emulated(run)
    assert "" == done.stderr
    assert 0 == done.returncode
    assert done.stdout.strip()
    assert "Emulator(" in program or emulator.requests


def test_what_is_said_of_the_queue_and_of_waiting_is_the_code():
    """The numbers in the table and in the prose are those that the code reads."""
    cells = "\n".join(
        cell for row in table_after("| what happens to a row |", PAGES["queue.md"]) for cell in row
    )
    assert f"or {DEFAULT_ABORT_AFTER_FAILURES} rows in a row fail" in cells
    assert f"longer than `max_age` ({DEFAULT_MAX_AGE.days} days)" in cells
    assert f"for `wait_for_network` seconds ({DEFAULT_WAIT_FOR_NETWORK:g};" in PAGES["bulk.md"]
    assert f"Text of up to {LONGEST_CALLER_KEY} characters" in PAGES["emailed-twice.md"]


def test_the_table_of_plans_is_the_enum():
    """The numbers that users read are the code's numbers."""
    assert [[f"`Plan.{plan.name}`", str(plan.requests_per_minute)] for plan in Plan] == table_after(
        "over 60 seconds:", PAGES["settings.md"]
    )


def test_the_table_of_arguments_is_the_signature():
    """Every argument of the session stands in the table with its default."""
    parameters = inspect.signature(HindsightSession).parameters
    rows = {row[0].strip("`"): row for row in table_after("What is not passed", PAGES["settings.md"])}
    assert set(parameters) == set(rows)
    for name, parameter in parameters.items():
        if parameter.default is not None:
            assert rows[name][-1].strip("`").startswith(str(parameter.default)), name


def test_the_table_of_errors_is_the_tree():
    """Every error of the tree but its root is explained, with the delivery it usually has."""
    rows = {row[0].strip("`"): row for row in table_after("When something goes wrong", PAGES["errors.md"])}
    classes = {
        name: cls
        for name, cls in inspect.getmembers(errors, inspect.isclass)
        if issubclass(cls, errors.HindsightError) and cls is not errors.HindsightError
    }
    assert set(classes) == set(rows)
    for name, row in rows.items():
        if row[2].startswith("`"):
            cls = classes[name]
            error = cls("text", status=400) if issubclass(cls, errors.APIError) else cls("text")
            assert error.delivery.name == row[2].strip("`"), name


def test_the_page_of_the_ledger_has_its_columns_and_statuses():
    """Who reads a ledger with a tool of their own finds each column, in the order of the table, and each status."""
    page = PAGES["ledger.md"]
    for table in ("interviews", "contexts"):
        columns = [column.name for column in getattr(Tables(), table).columns]
        assert columns == [row[0].strip("`") for row in table_after(f"## The table `{table}`", page)]
    statuses = table_after("### The statuses", page)
    assert [status.value for status in LedgerStatus] == [row[0].strip("`") for row in statuses]
    assert [status.may_be_sent for status in LedgerStatus] == [row[2].startswith("yes") for row in statuses]
    assert f"`schema_version` is {SCHEMA_VERSION}." in page


def test_the_table_of_exit_codes_is_the_enum():
    """A script that runs a command can trust what the page says of its end."""
    assert [str(code.value) for code in ExitCode] == [
        row[0] for row in table_after("exit codes:", PAGES["commands.md"])
    ]


@pytest.mark.parametrize(
    "module", [hindsight_async, hindsight_async.emulator], ids=lambda module: module.__name__
)
def test_each_public_name_is_in_the_reference(module):
    """Who looks up what they may import finds it on one page, made of its docstring."""
    parts = "\n".join(PAGES.values()).split(f".. currentmodule:: {module.__name__}\n")[1:]
    names = [
        name
        for part in parts
        for name in re.findall(r"^\.\. auto\w+:: (\w+)$", part.split("```")[0], re.MULTILINE)
    ]
    assert sorted(module.__all__) == sorted(names)


def is_there(path):
    # The package may be installed elsewhere than beside these tests.
    root = Path(hindsight_async.__file__).parent.parent if path.startswith("hindsight_async/") else ROOT
    return (root / path).exists()


def test_each_file_that_contributors_are_sent_to_exists():
    """The checklist for an endpoint, and every command, name files that are there."""
    prose, commands = (
        CONTRIBUTING.split("## Where things are")[1],
        CONTRIBUTING.split("## Where things are")[0],
    )
    named = re.findall(r"`([\w.-]+(?:/[\w.-]*)*)`", prose) + re.findall(
        r"(?<!\S)(?:tests|\.ci)/\S+", commands
    )
    paths = [path for path in named if "/" in path or path.endswith((".py", ".md", ".toml"))]
    assert {"hindsight_async/session.py", "tests/consumer.py", "pyproject.toml", ".ci/run"} <= set(paths)
    assert [] == [path for path in paths if not is_there(path)]


def test_each_marker_is_explained():
    """Contributors learn what every marker of the suite means."""
    markers = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["pytest"][
        "ini_options"
    ]
    names = [marker.split(":")[0] for marker in markers["markers"]]
    assert names == [row[0].strip("`") for row in table_after("## Run", CONTRIBUTING)]
