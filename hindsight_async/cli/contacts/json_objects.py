"""An object of JSON Lines, read so strictly that it can be sent as it was written."""

import json
from typing import Any, NoReturn, cast

from hindsight_async.cli.contacts.columns import repeated
from hindsight_async.resources.interviews.context import json_ready, sendable_text

_PROBLEM_LENGTH = 300
_INTEGER_LENGTH = 20  # the digits of 64 bits, the widest integer that can be sent


def json_object(text: str) -> dict[str, Any]:
    """Return the JSON object in `text`.

    Raises:
        ValueError: It is anything else; the text repeats no address.

    """
    try:
        value: object = _JSON.decode(text.strip())
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON on one line: {error.msg} at character {error.pos + 1}") from None
    except RecursionError:
        raise ValueError("the JSON nests too deeply") from None
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004  # for the caller it is one more bad text
    entries = cast("dict[str, Any]", value)
    try:
        return {sendable_text(name, "a name"): json_ready(item, name) for name, item in entries.items()}
    except ValueError as error:
        raise ValueError(_presentable(str(error))) from None


def _presentable(problem: str) -> str:
    # The path in it is made of the file's own names, which may be addresses, or endless.
    text = " ".join(_withheld(word) if "@" in word else word for word in problem.split(" "))
    if len(text) <= _PROBLEM_LENGTH:
        return text
    return f"{text[: _PROBLEM_LENGTH // 2]}…{text[-_PROBLEM_LENGTH // 2 :]}"


def _withheld(path: str) -> str:
    name = path.partition(".")[0]
    return "(withheld)" if "@" in name else f"{name}.(withheld)"


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if twice := repeated([name for name, _ in pairs]):
        raise ValueError(f"{twice} stands more than once in one object")
    return dict(pairs)


def _integer(digits: str) -> int:
    if len(digits.lstrip("-")) > _INTEGER_LENGTH:
        raise ValueError(f"an integer of more than {_INTEGER_LENGTH} digits cannot be sent")
    return int(digits)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_JSON = json.JSONDecoder(object_pairs_hook=_object, parse_int=_integer, parse_constant=_refuse_constant)
