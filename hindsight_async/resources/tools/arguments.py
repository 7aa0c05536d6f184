"""What the documentation asks of each tool's arguments (pages tools, select-deal, get-deal), checked before they leave."""

import math
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any, cast

from attrs import field, frozen

from hindsight_async.resources.interviews.context import json_ready, sendable_text

MOST_DEAL_IDS = 10
"""How many deals one get-deal reads."""

LARGEST_PAGE = 50
"""How many deals one select-deal lists."""


@frozen(kw_only=True)
class Documented:
    """What is documented of one tool; it takes other arguments too.

    Args:
        required: What it cannot do without.
        numbers: Whole numbers by name, each with the largest that is taken, None for no end; the smallest is 1.
        lists: Lists by name, each with the most entries that are taken; the fewest is 1.
        alternatives: Of which it takes one at most.
        writes: Whether it changes anything, so that a second call is not the same as one.

    """

    required: tuple[str, ...] = ()
    numbers: Mapping[str, int | None] = field(factory=dict[str, int | None])
    lists: Mapping[str, int] = field(factory=dict[str, int])
    alternatives: tuple[str, ...] = ()
    writes: bool = False


TOOLS: Mapping[str, Documented] = {
    "select-deal": Documented(
        numbers={"limit": LARGEST_PAGE, "page": None},
        alternatives=("query", "semantic_query", "segment_id"),
    ),
    "get-deal": Documented(required=("deal_ids",), lists={"deal_ids": MOST_DEAL_IDS}),
    "search-across-deals": Documented(required=("query",), numbers={"limit": 25}),
    "search-deal-documents": Documented(required=("deal_ids", "query"), numbers={"limit": 30}),
    "search-competitive-assets": Documented(required=("query", "competitor_id"), numbers={"limit": 25}),
    "search-competitive-intel": Documented(required=("query", "competitor_id"), numbers={"limit": 25}),
    "search-knowledge-base": Documented(required=("query",), numbers={"limit": 25}),
    "pull-full-document": Documented(required=("doc_ids",), lists={"doc_ids": 5}),
    "search-web": Documented(required=("query",), numbers={"limit": None}),
    "scrape-url": Documented(required=("urls",), lists={"urls": 5}),
    "map-site-urls": Documented(required=("url",), numbers={"limit": 100}),
    "pull-schema": Documented(numbers={"sample_size": 200}),
    "create-dataset": Documented(writes=True),
    "analyze-dealgrid-subset": Documented(),
}
"""The documented tools by name."""

NOT_DOCUMENTED = Documented(writes=True)
"""What is taken of a tool that is new: perhaps it changes something."""


def checked(name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of a tool's arguments in plain JSON types, without what is None.

    Raises:
        TypeError: An argument is of a type that the API would refuse; the text names it.
        ValueError: One is missing, out of bounds, or excludes another.

    """
    given = cast("dict[str, Any]", json_ready(arguments, "arguments"))
    given = {argument: value for argument, value in given.items() if value is not None}
    rules = TOOLS.get(name, NOT_DOCUMENTED)
    if missing := [argument for argument in rules.required if given.get(argument) in (None, "", [])]:
        raise ValueError(f"{name} needs {' and '.join(missing)}, and not empty")
    together = [argument for argument in rules.alternatives if argument in given]
    if len(together) > 1:
        raise ValueError(f"{' and '.join(together)} exclude each other in {name}: give one of them")
    for argument in rules.numbers.keys() & given.keys():
        _check_number(argument, given[argument], rules.numbers[argument])
    for argument in rules.lists.keys() & given.keys():
        _check_list(argument, given[argument], rules.lists[argument])
    return given


def _check_number(argument: str, value: object, most: int | None) -> None:
    to = "at least 1" if most is None else f"from 1 to {most}"
    if type(value) is not int:
        raise TypeError(f"{argument} must be a whole number {to}, not {type(value).__name__}")
    if value < 1 or (most is not None and value > most):
        raise ValueError(f"{argument} must be a whole number {to}, not {value}")


def _check_list(argument: str, value: object, most: int) -> None:
    if not isinstance(value, list):
        raise TypeError(f"{argument} must be a list of 1 to {most}, not {type(value).__name__}")
    entries = cast("list[object]", value)
    if not 1 <= len(entries) <= most:
        raise ValueError(f"{argument} must be a list of 1 to {most}, not of {len(entries)}")


def text(name: str, value: object) -> str | None:
    """Return a text that is not empty, or None; raise, naming it, for all else."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise TypeError(f"{name} must be text (str), not {type(value).__name__}")
    if not value or value.isspace():
        raise ValueError(f"{name} must not be empty; leave it out instead")
    return sendable_text(value, name)


def texts(name: str, values: Iterable[str]) -> list[str]:
    """Return texts that are not empty, each once; raise, naming them, for all else."""
    if isinstance(values, str):
        raise TypeError(f"{name} must be a list of texts, not one text")
    return list(dict.fromkeys(cast("str", text(f"an entry of {name}", value or "")) for value in values))


def number_range(name: str, least: float | None, most: float | None) -> dict[str, float] | None:
    """Return what is given of a range of numbers as the API has it; None where nothing is."""
    found = {bound: value for bound, value in (("min", least), ("max", most)) if value is not None}
    for bound, value in found.items():
        if type(value) is not int and type(value) is not float:
            raise TypeError(f"{name}_{bound} must be a number, not {type(value).__name__}")
        if not math.isfinite(value):
            raise ValueError(f"{name}_{bound} must be a finite number, not {value}")
    return _in_order(name, found, ("min", "max"))


def date_range(name: str, first: date | None, last: date | None) -> dict[str, str] | None:
    """Return what is given of a range of dates as the API has it; None where nothing is."""
    found = {bound: value for bound, value in (("from", first), ("to", last)) if value is not None}
    for bound, value in found.items():
        # A datetime is a date to Python, and would be sent with its time.
        if type(value) is not date:
            raise TypeError(f"{name}_{bound} must be a datetime.date, not {type(value).__name__}")
    ordered = _in_order(name, found, ("from", "to"))
    return None if ordered is None else {bound: value.isoformat() for bound, value in ordered.items()}


def _in_order(name: str, found: dict[str, Any], bounds: tuple[str, str]) -> dict[str, Any] | None:
    first, last = bounds
    if len(found) > 1 and found[first] > found[last]:
        raise ValueError(f"{name}_{first} must not be more than {name}_{last}")
    return found or None
