"""The house rules that can be read off the source."""

import ast
import gc
import inspect
import re
import subprocess
import textwrap
import tomllib
from functools import cache
from graphlib import TopologicalSorter
from importlib import import_module
from pathlib import Path

import pytest
from aiohttp import ClientRequest, TCPConnector
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http import StreamWriter

import hindsight_async
from hindsight_async.call.request import Endpoint
from hindsight_async.emulator.routes import ROUTES

ROOT = Path(__file__).parent.parent
PACKAGE = Path(hindsight_async.__file__).parent

FOLDERS = [
    "__main__",
    "cli",
    "testing",
    "emulator",
    "__init__",
    "otel",
    "session",
    "resources",
    "delivery",
    "call",
    "rate",
    "after_fork",
    "shielding",
    "errors",
    "redaction",
    "extras",
]
"""From the command line down: each imports only what stands below it."""

OWNED = {
    "aiohttp": ["call", "session.py", "emulator"],
    "aiolimiter": ["rate/token_bucket.py"],
    "aiosqlite": ["delivery/ledger"],
    "cattrs": ["call/converter.py"],
    "cyclopts": ["cli", "__main__.py"],
    "idna": ["delivery/addresses.py"],
    "opentelemetry": ["otel"],
    "orjson": ["call/codec.py"],
    "pytest": ["testing.py"],
    "python_calamine": ["cli/contacts"],
    "redis": ["rate/redis"],
    "rich": ["cli", "__main__.py"],
    "sqlalchemy": ["delivery/ledger"],
}
"""Where each external library is imported."""

NOT_OF_AIOHTTP = {"_replace", "_http"}
"""Of named tuples, and of models: the private names that `call` uses of others."""

NEVER_FOR_THE_EMULATOR = {"resources", "delivery", "call"}
"""A wrong field name must fail against the emulator, so it may not read ours."""

RESOURCES = PACKAGE / "resources" / "__init__.py"
MAP = hindsight_async.__doc__
MAP_COLUMNS = 100
MOST_FILES_FOR_AN_ANSWER = 3
MOST_ROOT_MODULES = 8
CODE_LINES = 300
FUNCTION_LINES = 40


def sources():
    return sorted(PACKAGE.rglob("*.py"))


def place(path):
    return path.relative_to(PACKAGE).as_posix()


def folder(path):
    return place(path).split("/")[0].removesuffix(".py")


def name_of(path):
    parts = ("hindsight_async", *path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def tree(path):
    return ast.parse(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module", autouse=True)
def _trees():
    """Keep the garbage collector away from the trees, now and in all tests that come after: nothing in them is garbage."""
    gc.disable()
    yield
    tree.cache_clear()
    gc.enable()


def imports(path):
    """Yield each module that is imported anywhere in a file."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


def imports_at_once(path, names):
    """Yield each of the modules `names` that is imported when this one is."""
    for node in tree(path).body:
        if isinstance(node, ast.ImportFrom):
            below = {f"{node.module}.{name.name}" for name in node.names}
            yield from below & names or {node.module} & names


def test_imports_run_downward():
    """A folder imports only what stands below it."""
    order = {name: number for number, name in enumerate(FOLDERS)}
    for path in sources():
        for module in imports(path):
            if module.startswith("hindsight_async.") and module.split(".")[1] != folder(path):
                assert order[folder(path)] < order[module.split(".")[1]], f"{place(path)} imports {module}"


def test_no_imports_run_in_a_circle():
    """Each module can be loaded, and read, before those that use it."""
    names = {name_of(path) for path in sources()}
    graph = {name_of(path): set(imports_at_once(path, names)) for path in sources()}
    assert names == set(TopologicalSorter(graph).static_order())


def on_the_map():
    """Yield the path of each folder and file that the package's docstring draws, with what it says of it."""
    above = []
    for line in MAP.splitlines():
        drawn = re.fullmatch(r"( {4,})([a-z_]+(?:/|\.[a-z]+))(?: {2,}(.*))?", line)
        if drawn:
            depth = len(drawn[1]) // 4
            above[depth - 1 :] = [drawn[2]]
            yield "".join(above), drawn[3]


def test_the_map_shows_each_folder_and_each_file():
    """Whoever opens the package finds every file in the tree of its docstring, once, and none that is gone."""
    drawn = [path for path, _ in on_the_map()]
    there = {
        place(path)
        for path in PACKAGE.rglob("*.*")
        if path.suffix in {".py", ".lua", ".csv", ".html", ".css", ".js", ".svg"}
    }
    folders = {f"{path.rpartition('/')[0]}/" for path in there if "/" in path}
    there = {path for path in there if not path.endswith("__init__.py")}
    assert len(drawn) == len(set(drawn))
    assert set(drawn) == there | folders


def test_the_map_says_what_each_file_is_for():
    """Each file has its line, which fits a screen."""
    assert [] == [path for path, text in on_the_map() if not text]
    assert MAP_COLUMNS >= max(len(line) for line in MAP.splitlines())


def test_the_map_and_the_order_of_imports_agree():
    """The folders stand in the order in which they import one another, those on top of a session apart."""
    drawn = [
        path.rstrip("/").removesuffix(".py")
        for path, _ in on_the_map()
        if path.count("/") <= path.endswith("/")
    ]
    inside = FOLDERS[FOLDERS.index("session") :]
    assert inside == drawn[: len(inside)]
    assert set(FOLDERS) == {*drawn, "__init__"}
    assert MOST_ROOT_MODULES >= len(list(PACKAGE.glob("*.py")))


def test_the_ways_on_the_map_pass_what_is_there():
    """Each function that the docstring sends a reader to is in the file that it names."""
    steps = re.findall(r"`([\w.]+)` in ([\w/]+\.py)", MAP)
    assert len(steps) == len(re.findall(r"^ {4}\d\. ", MAP, re.MULTILINE))
    for name, path in steps:
        body = tree(PACKAGE / path).body
        for part in name.split("."):
            found = [node for node in body if getattr(node, "name", None) == part]
            assert found, f"no {name} in {path}"
            body = found[0].body


def test_each_question_is_answered_within_three_files():
    """What matters most is not spread over the package."""
    answers = re.split(r"^ {4}W[^?]*\?", MAP.split("Five questions")[1], flags=re.MULTILINE)[1:]
    assert 5 == len(answers)
    for answer in answers:
        files = re.findall(r"[\w/]+\.py", answer)
        assert 1 <= len(files) <= MOST_FILES_FOR_AN_ANSWER
        assert all((PACKAGE / file).exists() for file in files)


def test_what_a_new_endpoint_changes_is_there_for_deals():
    """The list that the docstring of `resources` gives names files that are there, `deals` in the resource's place."""
    named = re.findall(
        r"[\w/<>]+\.(?:py|js)", ast.get_docstring(ast.parse(RESOURCES.read_text(encoding="utf-8")))
    )
    files = [file.replace("<resource>", "deals") for file in named]
    assert 5 <= len(files)
    folders = ("", "emulator/")
    assert [] == [file for file in files if not any((PACKAGE / folder / file).exists() for folder in folders)]


def test_each_library_has_its_room():
    """An external library is imported only where it belongs."""
    for path in sources():
        for module in imports(path):
            owners = OWNED.get(module.split(".")[0])
            assert owners is None or place(path).startswith(tuple(owners)), f"{place(path)} imports {module}"


def private_names(source):
    """Yield each name with one underscore in front that code reads or writes of something, also as a text."""
    for node in ast.walk(ast.parse(textwrap.dedent(source))):
        if isinstance(node, ast.Attribute):
            name, of = node.attr, node.value
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") in {"getattr", "setattr", "hasattr"}:
            name, of = getattr(node.args[1], "value", ""), node.args[0]
        else:
            continue
        if re.fullmatch(r"_[^_](.*[^_])?", str(name)):
            yield name, getattr(of, "id", "")


def classes_on_aiohttp():
    """Yield each class of ours that is built on one of aiohttp's, with those."""
    for path in sources():
        if place(path).startswith(tuple(OWNED["aiohttp"])):
            for cls in vars(import_module(name_of(path))).values():
                if inspect.isclass(cls) and cls.__module__ == name_of(path):
                    theirs = [base for base in cls.__mro__ if base.__module__.split(".")[0] == "aiohttp"]
                    if theirs:
                        yield cls, theirs


def test_nothing_private_of_aiohttp_is_used():
    """Any release of aiohttp may change what its names begin with an underscore for, and a promise hung on it would go."""
    for path in sources():
        if place(path).startswith("call"):
            of_others = {
                name for name, of in private_names(path.read_text("utf-8")) if of not in {"self", "cls"}
            }
            assert NOT_OF_AIOHTTP >= of_others, place(path)
    on_aiohttp = list(classes_on_aiohttp())
    assert {"Connector", "WatchedBytes", "WatchedForm"} <= {cls.__name__ for cls, _ in on_aiohttp}
    for cls, theirs in on_aiohttp:
        ours = {name for name, _ in private_names(inspect.getsource(cls))}
        named = set().union(*(vars(base) for base in theirs))
        named |= {name for base in theirs for name, _ in private_names(inspect.getsource(base))}
        assert not ours & named, cls.__name__


def test_aiohttp_has_what_the_guard_of_connections_stands_on():
    """An aiohttp without one of these public names would lose promises: no stray answer read, unsent told from sent."""
    assert ["self", "req", "traces", "timeout"] == list(inspect.signature(TCPConnector.connect).parameters)
    assert all(hasattr(Connection, name) for name in ("protocol", "transport", "close", "release"))
    assert all(hasattr(ResponseHandler, name) for name in ("should_close", "exception", "data_received"))
    assert all(hasattr(ClientRequest, name) for name in ("body", "connection_key"))
    assert hasattr(StreamWriter, "transport")


def test_the_emulator_serves_each_endpoint():
    """Whoever adds one to a resource is told that the emulator lacks it, and its tests with it."""
    modules = [import_module(name_of(path)) for path in sources() if folder(path) == "resources"]
    values = [value for module in modules for value in vars(module).values()]
    values += [one for value in values if isinstance(value, dict) for one in value.values()]
    endpoints = [value for value in values if isinstance(value, Endpoint)]
    assert sorted(ROUTES) == sorted({endpoint.route for endpoint in endpoints})
    assert all(endpoint.route.startswith(f"{endpoint.method} /") for endpoint in endpoints)


def test_the_emulator_shares_no_code_with_the_client():
    """It speaks the wire format by itself."""
    for path in (PACKAGE / "emulator").glob("*.py"):
        ours = {module.split(".")[1] for module in imports(path) if module.startswith("hindsight_async.")}
        assert not ours & NEVER_FOR_THE_EMULATOR


@pytest.mark.parametrize("path", sources(), ids=place)
def test_rooms_are_small(path):
    """A module stays under what one reader can hold, and so does a function."""
    text = path.read_text(encoding="utf-8")
    # The map grows with the package, and has rules of its own.
    drawn = MAP.count("\n") if place(path) == "__init__.py" else 0
    assert len(text.splitlines()) - drawn <= CODE_LINES
    for node in ast.walk(tree(path)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
            assert node.end_lineno - first.lineno < FUNCTION_LINES, f"{path.name}: {node.name}"


def test_every_test_states_its_promise_in_one_line():
    """A test without a sentence promises nothing."""
    for path in Path(__file__).parent.glob("test_*.py"):
        for node in ast.walk(tree(path)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name.startswith("test_"):
                promise = ast.get_docstring(node)
                assert promise, f"{path.name}: {node.name}"
                assert "\n" not in promise, f"{path.name}: {node.name}"


def test_public_names_are_sorted_and_exist():
    """`__all__` is the public surface, in order."""
    assert sorted(hindsight_async.__all__) == hindsight_async.__all__
    assert all(hasattr(hindsight_async, name) for name in hindsight_async.__all__)


def test_the_core_has_five_dependencies():
    """Everything else is an extra."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = [requirement.split(">")[0] for requirement in project["dependencies"]]
    assert ["aiohttp", "aiolimiter", "attrs", "cattrs", "idna"] == names


def test_the_top_level_is_what_it_should_be():
    """Nothing but the agreed files lies at the top of the repository."""
    listing = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listing.returncode != 0:
        pytest.skip("not a git checkout")
    tops = {line.split("/")[0] for line in listing.stdout.splitlines()}
    allowed = {
        "pyproject.toml",
        "hindsight_async",
        "tests",
        "benchmarks",
        "docs",
        "README.md",
        "CHANGELOG.md",
        "LICENSE",
    }
    assert allowed >= {top for top in tops if not top.startswith(".")}


REACHED_INTO = {
    # aiohttp names it nowhere else, and counts by a clock that no test can move.
    ("test_delivery.py", "_keepalive_timeout"),
    # Thousands of people, each by a request, would take a minute.
    ("test_emulator_page_browser.py", "_organisation"),
    # A real pause until then would end at a moment that no test can choose.
    ("test_ledger_server.py", "_let_one_look"),
    ("test_ledger_server.py", "_pause"),
}
"""Where a test uses what is private to what it tests, since there is no other way."""

PUBLIC_ALL_THE_SAME = {"_asdict", "_exit", "_replace", "_set_running_loop"}
"""Names of the standard library that are documented, or meant for event loops."""


def test_no_test_reaches_into_what_it_tests():
    """Tests see what users and other rooms see, so that what is inside can change."""
    reached = {
        (path.name, node.attr)
        for path in Path(__file__).parent.glob("*.py")
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Attribute)
        and re.match("_[a-z]", node.attr)
        and node.attr not in PUBLIC_ALL_THE_SAME
        and not (isinstance(node.value, ast.Name) and node.value.id in {"self", "cls", "sys"})
    }
    assert REACHED_INTO == reached
