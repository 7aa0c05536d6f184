"""How the documentation is built: `python -m sphinx -W -n docs build/docs`."""

import inspect
import re
import tomllib
from pathlib import Path
from typing import Any

import hindsight_async
from hindsight_async import emulator
from hindsight_async.cli import app as command_line

_PROJECT = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8"))[
    "project"
]

project = html_title = _PROJECT["name"]
version = release = _PROJECT["version"]
author = _PROJECT["authors"][0]["name"]

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]

myst_heading_anchors = 3

autodoc_default_options = {
    "members": True,
    "inherited-members": "BaseException,Enum,dict,str",
    "member-order": "bysource",
}
autodoc_preserve_defaults = True
napoleon_use_ivar = True
python_maximum_signature_line_length = 88
default_role = "code"  # what docstrings have between backticks
# The pages hold no types but ours, and that a public signature mentions public ones alone is tested elsewhere.
nitpick_ignore_regex = [("py:.*", ".*")]

# `python -m sphinx -b linkcheck docs build/links` visits what is elsewhere: by hand, since that is not always there.
linkcheck_ignore = [r"http://127\.0\.0\.1", r"http://user:", r"https://app\.usehindsight\.com/api"]

html_theme = "furo"
html_theme_options: dict[str, list[str]] = {"top_of_page_buttons": []}
html_static_path = ["_static"]
html_css_files = ["wide.css"]
html_show_copyright = False
html_copy_source = False

_PUBLIC = {*hindsight_async.__all__, *emulator.__all__}
_COLON = "\ue000"
"""Stands for a colon where the reader of docstrings would take what is before it for a type."""


def _is_made_by_us(value: object) -> bool:
    """Whether nobody but this package calls a class, since it takes what is not public."""
    if not inspect.isclass(value):
        return False
    parameters = inspect.signature(value.__init__).parameters.values()
    required = [each for each in parameters if each.default is each.empty]
    ours = re.findall(r"hindsight_async[\w.]*\.(\w+)", " ".join(str(each.annotation) for each in required))
    return bool({name for name in ours if name[0].isupper()} - _PUBLIC)


def _no_constructor(_app: object, what: str, _name: str, value: object, *_: Any) -> tuple[str, None] | None:
    return ("", None) if what == "class" and _is_made_by_us(value) else None


def _escaped(line: str) -> str:
    parts = line.split("`")
    parts[::2] = [re.sub(r"(?<=[^\s*])\*", r"\\*", part) for part in parts[::2]]
    return "`".join(parts)


def _before_it_is_read(
    _app: object, what: str, _name: str, value: object, _options: object, lines: list[str]
) -> None:
    section = ""
    kept: list[str] = []
    for line in lines:
        if re.fullmatch(r"\w+:", line):
            section = line
        elif line and not line.startswith(" "):
            section = ""
        if section == "Args:" and what == "class" and _is_made_by_us(value):
            continue
        is_a_sentence = what == "attribute" or (section in {"Returns:", "Yields:"} and line != section)
        kept.append(_escaped(line).replace(":", _COLON) if is_a_sentence else _escaped(line))
    lines[:] = kept


def _after_it_was_read(
    _app: object, _what: str, _name: str, _value: object, _options: object, lines: list[str]
) -> None:
    lines[:] = [line.replace(_COLON, ":") for line in lines]


def _with_examples(usage: re.Match[str]) -> str:
    command = command_line
    for word in usage[1].split():
        command = command[word]
    _, *lines = (command.help_epilogue or "").splitlines()
    examples = "\n".join(["\nFor example:\n\n```console", *map(str.strip, lines), "```\n"])
    return f"{usage[0]}{examples if lines else ''}"


def _with_the_commands(_app: object, page: str, text: list[str]) -> None:
    if page == "commands":
        _, _, all_of_them = command_line.generate_docs().partition("## Table of Contents\n")
        # Without that table, which the page has beside it, and links to options, whose headings have other anchors.
        listed = re.sub(r"^ *- \[.*\n|(?<=\* )\[(`--.*?`)\]\(.*?\)", r"\1", all_of_them, flags=re.MULTILINE)
        text[0] += re.sub(
            r"(?m)^#+ hindsight-async ([\w ]+)\n\n```console\n.*\n```\n", _with_examples, listed
        )


def setup(app: Any) -> None:
    """Have Sphinx read docstrings as they are written here, and the commands out of the program."""
    app.connect("source-read", _with_the_commands)
    app.connect("autodoc-process-signature", _no_constructor)
    app.connect("autodoc-process-docstring", _before_it_is_read, priority=400)
    app.connect("autodoc-process-docstring", _after_it_was_read, priority=600)
