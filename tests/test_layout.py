"""The house rules that can be read off the source."""

import ast
import subprocess
import tomllib
from pathlib import Path

import pytest

import hindsight_async

ROOT = Path(__file__).parent.parent
PACKAGE = Path(hindsight_async.__file__).parent

IN_READING_ORDER = [
    "__main__",
    "cli",
    "demo",
    "testing",
    "emulator",
    "redis",
    "contacts",
    "__init__",
    "session",
    "interviews",
    "ledger",
    "bulk",
    "bulk_row",
    "journal",
    "outcomes",
    "incoming",
    "seen",
    "addresses",
    "pipeline",
    "retry",
    "budget",
    "transport",
    "pool",
    "connector",
    "alarm",
    "access",
    "proxy",
    "call",
    "codec",
    "models",
    "context",
    "rate_headers",
    "forks",
    "to_the_end",
    "errors",
    "redaction",
]
OWNED = {
    "aiohttp": {"transport", "pool", "connector", "session", "emulator"},
    "aiolimiter": {"budget"},
    "aiosqlite": {"ledger"},
    "cattrs": {"codec"},
    "orjson": {"codec"},
    "cyclopts": {"cli", "__main__"},
    "pytest": {"testing"},
    "redis": {"redis"},
    "rich": {"cli", "__main__"},
    "sqlalchemy": {"ledger"},
}
CODE_LINES = 300
FUNCTION_LINES = 40


def room(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def sources():
    return sorted(PACKAGE.rglob("*.py"))


def imports(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


def test_imports_run_downward():
    """A room imports only rooms that stand below it."""
    order = {name: place for place, name in enumerate(IN_READING_ORDER)}
    for path in sources():
        for module in imports(path):
            if module.startswith("hindsight_async.") and module.split(".")[1] != room(path):
                assert order[room(path)] < order[module.split(".")[1]], f"{path.name} imports {module}"


def test_every_room_is_on_the_map():
    """The package docstring lists every room of the core in reading order."""
    below = IN_READING_ORDER[IN_READING_ORDER.index("session") :]
    places = [hindsight_async.__doc__.index(f"\n    {name} ") for name in below]
    assert sorted(places) == places
    assert {room(path) for path in sources()} == set(IN_READING_ORDER)


def test_each_library_has_its_room():
    """An external library is imported only where it belongs."""
    for path in sources():
        for module in imports(path):
            owners = OWNED.get(module.split(".")[0])
            assert owners is None or room(path) in owners, f"{path.name} imports {module}"


def test_the_emulator_shares_no_code_with_the_client():
    """A wrong field name must fail against the emulator, so it may not read ours."""
    for path in (PACKAGE / "emulator").glob("*.py"):
        ours = {module for module in imports(path) if module.startswith("hindsight_async.")}
        assert {"hindsight_async.budget"} >= {name for name in ours if ".emulator" not in name}


@pytest.mark.parametrize("path", sources(), ids=lambda path: path.name)
def test_rooms_are_small(path):
    """A module stays under what one reader can hold, and so does a function."""
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= CODE_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
            assert node.end_lineno - first.lineno < FUNCTION_LINES, f"{path.name}: {node.name}"


def test_every_test_states_its_promise_in_one_line():
    """A test without a sentence promises nothing."""
    for path in Path(__file__).parent.glob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name.startswith("test_"):
                promise = ast.get_docstring(node)
                assert promise, f"{path.name}: {node.name}"
                assert "\n" not in promise, f"{path.name}: {node.name}"


def test_public_names_are_sorted_and_exist():
    """`__all__` is the public surface, in order."""
    assert sorted(hindsight_async.__all__) == hindsight_async.__all__
    assert all(hasattr(hindsight_async, name) for name in hindsight_async.__all__)


def test_the_core_has_four_dependencies():
    """Everything else is an extra."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = [requirement.split(">")[0] for requirement in project["dependencies"]]
    assert ["aiohttp", "aiolimiter", "attrs", "cattrs"] == names


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
        "README.md",
        "CHANGELOG.md",
        "LICENSE",
    }
    assert allowed >= {top for top in tops if not top.startswith(".")}
