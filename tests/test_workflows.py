"""The checks that run elsewhere: they are the parts of `.ci/run`, with pinned programs and the least permissions."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
GITHUB = ROOT / ".github"
CI = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

WORKFLOWS = sorted(GITHUB.glob("workflows/*.yml"))
FORMS = sorted(path for path in GITHUB.glob("ISSUE_TEMPLATE/*.yml") if path.name != "config.yml")
PINNED = r"[\w.-]+/[\w.-]+@[0-9a-f]{40}"

NOT_TRIED_YET = {"3.14"}
"""Pythons that the workflow tries, and that the package does not name yet as tested."""


def read(path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def jobs(path):
    return read(path)["jobs"].items()


def commands_of(path):
    """Yield the words of each command, with its job's matrix put in."""
    for _, job in jobs(path):
        for step in job.get("steps", []):
            if "run" in step:
                matrix = job.get("strategy", {}).get("matrix", {})
                variables = {
                    name: re.fullmatch(r"\$\{\{ matrix\.(\w+) \}\}", value)
                    for name, value in step.get("env", {}).items()
                }
                words = step["run"].split()
                for index, word in enumerate(words):
                    found = variables.get(word.strip('"$'))
                    if found:
                        words[index] = matrix[found[1]]
                yield words


def parts():
    return set(re.findall(r"^part_(\w+)\(\)", CI, re.MULTILINE))


def test_the_parts_are_those_that_the_script_tells_of():
    """Whoever reads the head of `.ci/run` knows all parts."""
    head = CI.split("set -euo")[0]
    told = re.findall(r"^#   ([a-z_]+(?:, [a-z_]+)*)", head, re.MULTILINE)
    assert parts() == {name for names in told for name in names.split(", ")}


def test_all_of_it_is_all_parts():
    """What runs before a change is taken leaves out only what is for other systems, and for a release."""
    lanes = re.findall(r"^  lane ([a-z_ ]+) >", CI, re.MULTILINE) + re.findall(r"tests\+?=\(([^)]*)\)", CI)
    assert parts() - {"portable", "ready"} == {
        word.strip('"').partition(":")[0] for word in " ".join(lanes).split()
    }


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_run_parts_and_nothing_else(path):
    """What is checked, and how, stands in one place."""
    for words in commands_of(path):
        assert ".ci/run" == words[0]
        named = words[1] if isinstance(words[1], list) else [words[1]]
        assert parts() >= set(named)


def test_the_workflow_runs_every_part():
    """A new part does not go unrun there."""
    run = set()
    for words in commands_of(GITHUB / "workflows" / "tests.yml"):
        run |= set(words[1]) if isinstance(words[1], list) else {words[1]}
    assert parts() - {"ready"} == run


def test_the_pythons_are_those_that_the_package_names():
    """A classifier is true of what was tested, and what is allowed is tried."""
    prefix = "Programming Language :: Python :: "
    named = {
        line.removeprefix(prefix) for line in PYPROJECT["project"]["classifiers"] if line.startswith(prefix)
    }
    tests = read(GITHUB / "workflows" / "tests.yml")["jobs"]
    assert named | NOT_TRIED_YET == set(tests["suite"]["strategy"]["matrix"]["python"])
    assert PYPROJECT["project"]["requires-python"] == f">={min(named)}"


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_may_do_the_least(path):
    """Nothing is allowed but what a job says, each job ends, and each action is the very code that was looked at."""
    assert {} == read(path)["permissions"]
    assert "concurrency" in read(path)
    for name, job in jobs(path):
        assert {"contents": "read"} == job["permissions"] or (
            name == "publish" and {"id-token": "write"} == job["permissions"]
        )
        if "steps" not in job:
            continue
        assert 0 < job["timeout-minutes"] <= 60
        for step in job["steps"]:
            assert "uses" not in step or re.fullmatch(PINNED, step["uses"])
            assert not step.get("uses", "").startswith("actions/checkout@") or step["with"] == {
                "persist-credentials": False
            }
    for line in path.read_text(encoding="utf-8").splitlines():
        assert "uses: " not in line or "./" in line or re.search(r"# v\d+\.\d+\.\d+$", line)


def test_one_action_has_one_version():
    """The workflows agree on what they use."""
    text = "".join(path.read_text(encoding="utf-8") for path in WORKFLOWS)
    used = set(re.findall(r"uses: ([\w.-]+/[\w.-]+)@(.*)", text))
    assert len(used) == len({name for name, _ in used})


def test_a_commit_is_checked_as_it_is_later():
    """The hooks run the commands of `.ci/run lint`, with the versions that everybody installs."""
    (repository,) = read(ROOT / ".pre-commit-config.yaml")["repos"]
    assert "local" == repository["repo"]
    lint = re.sub(r'"\$\(programs \w+\)/(\w+)"', r"\1", CI)
    for hook in repository["hooks"]:
        assert "system" == hook["language"]
        assert f"  {hook['entry']}" in lint
    dev = PYPROJECT["project"]["optional-dependencies"]["dev"]
    pinned = {line.partition("==")[0] for line in dev if "==" in line}
    assert {hook["entry"].split()[0] for hook in repository["hooks"]} | {"pyright"} == pinned


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.name)
def test_forms_ask_for_something(path):
    """Each has a name, a description, and a question that must be answered."""
    form = read(path)
    assert form["name"]
    assert form["description"]
    asked = [field for field in form["body"] if field["type"] != "markdown"]
    assert len(asked) == len({field["id"] for field in asked})
    assert any(field.get("validations", {}).get("required") for field in asked)


def test_dependabot_looks_after_packages_and_actions():
    """Both are proposed together once a week, when they are some days old."""
    updates = read(GITHUB / "dependabot.yml")["updates"]
    assert ["pip", "github-actions"] == [update["package-ecosystem"] for update in updates]
    assert all(["*"] == group["patterns"] for update in updates for group in update["groups"].values())


def test_a_release_without_an_address_is_refused():
    """Whoever tags before the repository's address is filled in, or under another version, is told all that is missing."""
    # It looks for a Python of its own, and takes the first that runs.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", ROOT / ".ci" / "run", "ready", "v0.0.0"],
        env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert 1 == done.returncode
    version = PYPROJECT["project"]["version"]
    assert f"the tag v0.0.0 is not v{version}, the version in pyproject.toml" in done.stderr.splitlines()
    if "urls" not in PYPROJECT["project"]:
        assert (
            "[project.urls] in pyproject.toml does not say where the repository is"
            in done.stderr.splitlines()
        )
