"""Variables as the shells take them, to be pasted or evaluated. Pure."""

import re
import shlex
from collections.abc import Callable, Mapping
from typing import Final, Literal, get_args

Syntax = Literal["sh", "fish", "powershell", "env"]
"""sh for bash and zsh as well; env for a file called `.env`."""

SYNTAXES: Final[tuple[Syntax, ...]] = get_args(Syntax)

TITLES: Final[Mapping[Syntax, str]] = {"sh": "sh", "fish": "fish", "powershell": "PowerShell", "env": ".env"}

_PLAIN = re.compile(r"[A-Za-z0-9_./:@%+=~-]+")


def assigned(variables: Mapping[str, str], syntax: Syntax) -> list[str]:
    """Return a line for each variable.

    Args:
        variables: Values by name; text of one line in ASCII, without quotes.
        syntax: Who reads it.

    """
    return [_ASSIGN[syntax](name, value) for name, value in variables.items()]


def _quoted(value: str) -> str:
    return value if _PLAIN.fullmatch(value) else f"'{value}'"


_ASSIGN: Final[Mapping[Syntax, Callable[[str, str], str]]] = {
    "sh": lambda name, value: f"export {name}={shlex.quote(value)}",
    "fish": lambda name, value: f"set -gx {name} {_quoted(value)}",
    "powershell": lambda name, value: f"$env:{name} = '{value}'",
    # Not all that read such files know quotes.
    "env": lambda name, value: f"{name}={value}",
}
