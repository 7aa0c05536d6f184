"""A fault of the emulator as it is typed: `POST /interviews 503 times=3`."""

from collections.abc import Callable, Mapping
from typing import Any, Final

EXAMPLE: Final = "'POST /interviews 503 times=3'"

FOR_EVER: Final = "forever"
"""Instead of a number of times."""


def parse_fault(text: str) -> dict[str, Any]:
    """Return what `Emulator.fail` takes, which checks the values.

    Args:
        text: `[ROUTE] HOW [NAME=VALUE ...]`: a method and a path, else every request is meant; a status or another way to
            fail; and what else is said of it, by the names of `Emulator.fail`.

    Raises:
        ValueError: It is not of that form; the text says what would be right.

    """
    words = text.split()
    named = [word for word in words if "=" in word]
    rest = words[: len(words) - len(named)]
    if named != words[len(rest) :] or not 1 <= len(rest) <= 3:  # noqa: PLR2004  method, path and how
        raise ValueError(
            f"a fault is written like {EXAMPLE}: a route, or none for any, how it fails, and more"
        )
    *route, how = rest
    options = dict(_option(word) for word in named)
    return {"route": " ".join(route) or "*", "how": int(how) if _is_whole(how) else how, **options}


def _option(word: str) -> tuple[str, Any]:
    name, _, value = word.partition("=")
    if name not in _READ_BY:
        raise ValueError(
            f"a fault has no {name}=: it takes {', '.join(_READ_BY)} (a body or headers: by the remote control)"
        )
    try:
        return name, _READ_BY[name](value)
    except ValueError:
        expected = f"a whole number or {FOR_EVER}" if name == "times" else "a number"
        raise ValueError(f"{name}= must be {expected}, not {value!r}") from None


def _times(value: str) -> int | None:
    return None if value == FOR_EVER else int(value)


def _seconds_or_text(value: str) -> float | str:
    return int(value) if _is_whole(value) else value


def _is_whole(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10  # noqa: PLR2004  more is no number of anything here


_READ_BY: Final[Mapping[str, Callable[[str], Any]]] = {
    "at": str, "times": _times, "seconds": float, "status": int, "to": str, "retry_after": _seconds_or_text,
}  # fmt: skip
