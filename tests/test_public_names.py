"""What users import, from where, and what comes along: looked at in processes that have imported nothing yet."""

import ast
import inspect
import json
import re
import sys
from functools import cache
from pathlib import Path

import pytest

import doc_pages
import hindsight_async
from fresh_process import run_python
from hindsight_async import HindsightError, HindsightSession, emulator
from hindsight_async.emulator import Emulator
from hindsight_async.extras import NEEDS_AN_EXTRA, ON_FIRST_USE

ROOT = Path(__file__).parent.parent
PACKAGE = Path(hindsight_async.__file__).parent

FOR_USERS = {"hindsight_async", "hindsight_async.emulator", "hindsight_async.testing"}
WITH_AN_EXTRA = {
    "DurableQueue": "bulk",
    "Ledger": "bulk",
    "LedgerRun": "bulk",
    "RedisBudget": "redis",
    "instrument": "otel",
}

NOT_FOR_USERS = {"BudgetClient", "Timing", "Budget", "HasLedgerRun", "Tables"}
"""What a session asks of its budget, the seconds that tests make shorter, what both budgets, and those that have a
ledger open, have in common, and SQL."""

MADE_BY_US = {
    "BulkRun",
    "DealList",
    "Deals",
    "Documents",
    "DurableQueue",
    "InterviewPoller",
    "Interviews",
    "LedgerRun",
    "ResponseStream",
    "Responses",
    "Tools",
}
"""Nobody else calls their constructors."""


def run(code, *options):
    return json.loads(run_python(code, *options))


ONE_AFTER_THE_OTHER = """
import json, sys
import hindsight_async as package

NOT_AT_ONCE = ["sqlalchemy", "aiosqlite", "asyncpg", "redis", "opentelemetry", "sqlite3", "_sqlite3", "cyclopts", "rich", "pytest"]
NOT_AT_ONCE += ["cattrs", "aiolimiter", "importlib.metadata"]
NOT_AT_ONCE += [f"hindsight_async.{name}" for name in ("emulator", "testing", "cli", "otel", "rate.redis", "delivery.bulk", "call.events")]
NOT_AT_ONCE += [f"hindsight_async.resources.{name}.models" for name in ("deals", "documents", "responses", "tools")]
at_once = [name for name in NOT_AT_ONCE if name in sys.modules]
names = [name for name in package.__all__ if name not in vars(package)]
listed = [name for name in names if name in dir(package)]
after_dir = [name for name in NOT_AT_ONCE if name in sys.modules]
again = {name: getattr(package, name) is getattr(package, name) for name in names}
unknown = hasattr(package, "Ledgers")
print(json.dumps([at_once, sorted(names), sorted(listed), after_dir, again, unknown]))
"""


def test_what_a_first_call_does_not_need_is_listed_and_loaded_on_first_use():
    """An import brings neither databases nor rarer resources; the names are seen all the same, and each is one object."""
    at_once, names, listed, after_dir, again, unknown = run(ONE_AFTER_THE_OTHER)
    assert [] == at_once == after_dir
    assert sorted(ON_FIRST_USE) == names == listed
    assert dict.fromkeys(ON_FIRST_USE, True) == again
    assert WITH_AN_EXTRA == NEEDS_AN_EXTRA
    assert not unknown


def test_type_checkers_are_told_of_the_names_that_are_loaded_later():
    """What an editor knows of a name, and what a program gets, come from one module."""
    body = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8")).body
    (block,) = (node for node in body if isinstance(node, ast.If))
    told = {name.name: node.module for node in block.body for name in node.names}
    assert ON_FIRST_USE == told


FIRST_CALL = """
import asyncio, json, sys
from hindsight_async import CreateInterview, HindsightSession
from hindsight_async.emulator import Emulator

async def create():
    async with Emulator() as emulator:
        before = set(sys.modules)
        async with HindsightSession(emulator.api_key, base_url=emulator.base_url) as hindsight:
            await hindsight.interviews.create(CreateInterview(contact_email="jane@acme.example", sequence_id="s"))
        return sorted(name for name in set(sys.modules) - before if name.startswith("hindsight_async."))

print(json.dumps(asyncio.run(create())))
"""


def test_a_first_call_loads_little_more():
    """Nothing was put off that each program needs, but for the library that makes models."""
    assert ["hindsight_async.call.converter"] == run(FIRST_CALL)


async def test_a_view_has_resources_of_its_own():
    """One that the session has used already does not come along with it, and the options of the session neither."""
    async with Emulator(latency=2.0) as emulator:
        async with HindsightSession(emulator.api_key, base_url=emulator.base_url) as hindsight:
            for name in ("deals", "documents", "responses", "tools"):
                of_session = getattr(hindsight, name)
                assert of_session is getattr(hindsight, name)
                assert of_session is not getattr(hindsight.with_options(deadline=1.0), name)
            assert 0 == await hindsight.deals.count()
            with pytest.raises(HindsightError, match="deadline"):
                await hindsight.with_options(deadline=1.0).deals.count()


BARE = """
import asyncio, json, sys
sys.path.append({folder!r})
sys.modules |= dict.fromkeys(["sqlalchemy", "aiosqlite", "redis", "opentelemetry", "sqlite3", "_sqlite3", "orjson"])
import hindsight_async as package
from hindsight_async.emulator import Emulator

said = {{}}
def hear(name, use):
    try:
        use()
    except ImportError as error:
        said[name] = str(error)

request = package.CreateInterview(contact_email="jane@acme.example", sequence_id="seq_1")
async def create():
    async with Emulator() as emulator:
        async with package.HindsightSession(emulator.api_key, base_url=emulator.base_url) as hindsight:
            await hindsight.interviews.create(request)
            hear("create_many", lambda: hindsight.interviews.create_many([request], ledger="unmade.db"))
        return len(emulator.outbox), emulator.requests[0].headers["User-Agent"]

sent, user_agent = asyncio.run(create())
for name in {names!r}:
    hear(name, lambda: getattr(package, name))
print(json.dumps([sent, user_agent, said]))
"""


def without_metadata(folder):
    """Put what is installed into a folder, but for what an installer wrote about this package."""
    for installed in (place for place in sys.path if Path(place).name in {"site-packages", "dist-packages"}):
        for path in Path(installed).iterdir():
            if (
                "hindsight_async" not in path.name
                and path.suffix != ".pth"
                and not (folder / path.name).exists()
            ):
                (folder / path.name).symlink_to(path)
    (folder / "hindsight_async").symlink_to(PACKAGE)


def test_with_nothing_but_the_core_it_works_and_says_what_is_missing(tmp_path):
    """Without extras, SQLite and its own metadata it sends; what needs an extra names that, and the module."""
    without_metadata(tmp_path)
    code = BARE.format(folder=str(tmp_path), names=sorted(WITH_AN_EXTRA))
    sent, user_agent, said = run(code, "-I", "-S")
    assert 1 == sent
    assert "hindsight-async/0+unknown" == user_agent
    assert {*WITH_AN_EXTRA, "create_many"} == set(said)
    for name, extra in {**WITH_AN_EXTRA, "create_many": "bulk"}.items():
        assert re.match(
            rf"(sqlalchemy|aiosqlite|redis|opentelemetry)\S* is not installed: .* needs pip install 'hindsight-async\[{extra}\]'",
            said[name],
        )


def test_the_command_line_works_without_its_metadata(tmp_path):
    """It says that it does not know its version, and goes on."""
    without_metadata(tmp_path)
    code = "import json, sys; sys.path.insert(0, {!r}); from hindsight_async.cli import app; print(json.dumps(app.version))"
    assert "0+unknown" == run(code.format(str(tmp_path)), "-I", "-S")


@cache
def classes_of_the_package():
    bodies = (ast.parse(path.read_text(encoding="utf-8")).body for path in PACKAGE.rglob("*.py"))
    return {node.name for body in bodies for node in body if isinstance(node, ast.ClassDef)}


def annotations_of(name, value):
    """Yield whatever annotates a public object: fields, and the arguments and results of public methods."""
    if not inspect.isclass(value):
        yield from getattr(value, "__annotations__", {}).values()
        return
    for cls in value.__mro__[:-1]:
        yield from (kind for field, kind in inspect.get_annotations(cls).items() if not field.startswith("_"))
        for member, method in vars(cls).items():
            if not member.startswith("_") or (
                member == "__init__" and cls is value and name not in MADE_BY_US
            ):
                function = getattr(method, "fget", None) or getattr(method, "__func__", method)
                yield from getattr(function, "__annotations__", {}).values()


@pytest.mark.parametrize("module", [hindsight_async, emulator], ids=lambda module: module.__name__)
def test_what_a_public_signature_mentions_is_public(module):
    """Who annotates a variable with what a method takes or returns finds the name where the others are."""
    ours = classes_of_the_package()
    for name in module.__all__:
        for annotation in annotations_of(name, getattr(module, name)):
            mentioned = ours & set(re.findall(r"\w+", str(annotation)))
            assert {*module.__all__, *hindsight_async.__all__, *NOT_FOR_USERS} >= mentioned, name


def imported(source):
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


def test_what_users_are_shown_imports_from_three_places():
    """No example, and neither the typed program nor a changelog line, sends anybody inside the package."""
    pages = [ROOT / "README.md", *doc_pages.PAGES.glob("*.md")]
    shown_blocks = [block for page in pages for block in doc_pages.blocks(page.read_text(encoding="utf-8"))]
    programs = [*shown_blocks, (ROOT / "tests" / "consumer.py").read_text(encoding="utf-8")]
    shown = {module for program in programs for module in imported(program)}
    assert FOR_USERS >= {module for module in shown if module.startswith("hindsight_async")}
    for name in ("README.md", "CHANGELOG.md"):
        paths = re.findall(r"hindsight_async(?:\.[a-z_]+)*", (ROOT / name).read_text(encoding="utf-8"))
        assert FOR_USERS >= set(paths)
