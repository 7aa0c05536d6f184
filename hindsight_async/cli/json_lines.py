"""What other programs read: a line of JSON for each thing, with times as text."""

from datetime import date
from typing import Any, cast

import attrs

from hindsight_async.redaction import json_text


def json_line(values: Any) -> str:
    """Return the line, with its end; characters that cannot be seen are escaped in it."""
    return f"{json_text(values)}\n"


def plain_values(model: Any) -> dict[str, Any]:
    """Return an attrs object's fields by their names, None where they have no value."""
    return attrs.asdict(
        model, value_serializer=lambda _, __, value: value.isoformat() if isinstance(value, date) else value
    )


def values_that_are_set(value: Any) -> Any:
    """Return a value with only those fields of its models that are set, beside what came with no name of ours."""
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, list):
        return [values_that_are_set(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
    model = cast("Any", type(value))
    if not attrs.has(model):
        return value
    fields = {each.name: getattr(value, each.name) for each in attrs.fields(model)}
    extra = fields.pop("extra")
    return {name: values_that_are_set(one) for name, one in fields.items() if one is not None} | dict(extra)
