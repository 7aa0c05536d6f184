"""What stays out of error texts and logs: secrets and people's addresses."""

import re
from collections.abc import Iterable
from typing import Any

DEEPEST_NEST = 100
"""How deep lists may nest in what an error keeps, objects half as deep: more could not be copied or pickled."""

_ADDRESS = re.compile(r"[^\s@<>\"'(),;:=]{1,64}@[^\s@<>\"'(),;:=]{1,255}")


class Secret:
    """A value that no repr shows, so that no traceback which prints local variables does."""

    __slots__ = ("value",)

    def __init__(self, value: str) -> None:
        self.value = value

    def __repr__(self) -> str:
        return "<secret>"


def without_addresses(text: str) -> str:
    """Return `text` with every email address replaced, for logs and error texts."""
    return _ADDRESS.sub("<address>", text)


def without_secret(value: Any, secret: str, depth: int = 0) -> Any:
    """Return `value` with `secret` replaced in every text, and what nests deeper than DEEPEST_NEST left out."""
    match value:
        case str():
            return value.replace(secret, "<api key>")
        case dict() | list() | tuple() if depth > DEEPEST_NEST:
            return "<nested too deep>"
        case dict():
            return dict(_each(value.items(), secret, depth))
        case list():
            return list(_each(value, secret, depth))
        case tuple():
            return tuple(_each(value, secret, depth))
        case _:
            return value


def _each(values: Any, secret: str, depth: int) -> Iterable[Any]:
    return (without_secret(value, secret, depth + 1) for value in values)
