"""The one cattrs converter, between models and what JSON holds; a wrong kind is kept, never coerced.

A model is any attrs class, and says itself how it is read, so that a new one needs no line here:

- a field without a default is required, and where it is an `int` it is an id;
- what no field knows or can hold goes, as it came, into the field `extra`, made by `extra_field`;
- what is no part of the wire format has `metadata=NOT_ON_THE_WIRE`.
"""

import enum
from collections.abc import Callable, Mapping
from datetime import date, datetime
from functools import cache, partial
from operator import eq
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, cast, get_args, get_origin

import attrs
from cattrs import Converter
from cattrs.fns import identity
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

from hindsight_async.call.answered import EXTRA, NOT_ON_THE_WIRE, NOTHING_KNOWN
from hindsight_async.call.codec import readers
from hindsight_async.call.values import (
    UnreadableError,
    id_spelled_otherwise,
    read_boolean,
    read_date,
    read_datetime,
    read_id,
    read_integer_or_nothing,
    read_member,
    read_number,
    read_text,
    read_text_or_nothing,
    wrong_kind,
)

T = TypeVar("T")


def _is_optional(kind: Any) -> bool:
    return get_origin(kind) in {UnionType, Union} and NoneType in (of := get_args(kind)) and len(of) == 2  # noqa: PLR2004


def _optional_hook(kind: Any, converter: Converter) -> Any:
    (inner,) = (one for one in get_args(kind) if one is not NoneType)
    structure: Any = converter.get_structure_hook(inner)

    def structure_or_nothing(value: object, _type: Any) -> Any:
        return None if value is None else structure(value, inner)

    return structure_or_nothing


def _is_list(kind: Any) -> bool:
    return get_origin(kind) is list


def _list_hook(kind: Any, converter: Converter) -> Any:
    (item,) = get_args(kind)
    structure_item: Any = converter.get_structure_hook(item)

    def structure(value: object, _type: Any) -> list[Any]:
        if not isinstance(value, list):
            raise wrong_kind("a list", value)
        read: list[Any] = []
        try:
            for one in cast("list[object]", value):
                read.append(structure_item(one, item))  # noqa: PERF401  its length says where it broke off
        except UnreadableError as error:
            raise UnreadableError(str(error), f"[{len(read)}]{error.place}") from None
        return read

    return structure


def _object_hook(_kind: Any) -> Any:
    def structure(value: object, _type: Any) -> Mapping[str, Any]:
        if not isinstance(value, dict):
            raise wrong_kind("an object", value)
        return cast("Mapping[str, Any]", value)

    return structure


def _is_mapping(kind: Any) -> bool:
    return (get_origin(kind) or kind) in {dict, Mapping}


@cache
def _wire_fields(model: Any) -> tuple["attrs.Attribute[Any]", ...]:
    fields = attrs.fields(attrs.resolve_types(model))
    return tuple(
        one for one in fields if one.name != EXTRA and not NOT_ON_THE_WIRE.items() <= one.metadata.items()
    )


def _model_hook(model: type[Any], converter: Converter) -> Any:
    """Compile the reader of one model; what it does not know goes to `extra`."""
    known = frozenset(field.name for field in _wire_fields(cast("Any", model)))
    left_out = {field.name: override(omit=True) for field in attrs.fields(model) if field.name not in known}
    structure_known: Any = make_dict_structure_fn(
        model, converter, _cattrs_detailed_validation=False, **cast("Any", left_out)
    )

    def structure(value: object, _type: Any) -> Any:
        if not isinstance(value, dict):
            raise wrong_kind("an object", value)
        document: dict[str, Any] = value  # pyright: ignore[reportUnknownVariableType]
        try:
            result: Any = structure_known(document, model)
        except Exception:  # noqa: BLE001  cattrs and the hooks raise errors of many classes
            return read_field_by_field(document, model, NOTHING_KNOWN)
        if known.issuperset(document):
            return result
        extra = {name: document[name] for name in document.keys() - known}
        return attrs.evolve(result, extra=extra)

    return structure


def read_field_by_field(document: Mapping[str, Any], model: type[T], known: Mapping[str, object]) -> T:
    """Read what can be read, and keep all else in `extra` as it came.

    Raises UnreadableError only where that leaves out a required field, such as an id or a transcript's text.
    """
    readable: dict[str, Any] = {}
    problems: dict[str, UnreadableError] = {}
    for field in _wire_fields(cast("Any", model)):
        if field.name in document:
            try:
                readable[field.name] = readers[field.type](document[field.name], field.type)
            except UnreadableError as error:
                problems[field.name] = error
    extra = {name: value for name, value in document.items() if name not in readable}
    for field in _wire_fields(cast("Any", model)):
        name = field.name
        if field.default is not attrs.NOTHING or name in readable:
            continue
        if field.type is int and (number := id_spelled_otherwise(document.get(name))) is not None:
            readable[name] = number
        elif name in known:
            readable[name] = known[name]
        else:
            problem = problems.get(name, UnreadableError("a required field is missing"))
            raise UnreadableError(str(problem), f".{name}{problem.place}")
    return cast("Any", model)(**readable, extra=extra)  # type: ignore[no-any-return]


def _holds_a_model(kind: Any) -> bool:
    return attrs.has(kind) or any(map(_holds_a_model, get_args(kind)))


def _request_hook(request: Any, converter: Converter) -> Any:
    """Compile the writer of one request; what is at its default is left out."""
    # All else is plain JSON already: texts, and what was copied into plain types when the request was made.
    as_they_are = {
        field.name: override(unstruct_hook=identity)
        for field in attrs.fields(attrs.resolve_types(request))
        if not _holds_a_model(field.type)
    }
    return make_dict_unstructure_fn(
        request, converter, _cattrs_omit_if_default=True, **cast("Any", as_they_are)
    )


def _build_converter() -> Converter:
    converter = Converter(detailed_validation=False)
    # Of the factories, and of the functions, cattrs asks the one that came last first.
    converter.register_structure_hook_factory(attrs.has, _model_hook)
    converter.register_structure_hook_factory(_is_mapping, _object_hook)
    converter.register_structure_hook_factory(_is_list, _list_hook)
    converter.register_structure_hook_factory(_is_optional, _optional_hook)
    converter.register_structure_hook_func(partial(eq, str | None), read_text_or_nothing)
    converter.register_structure_hook_func(partial(eq, int | None), read_integer_or_nothing)
    plain: dict[type[Any], Any] = {
        int: read_id,
        float: read_number,
        bool: read_boolean,
        str: read_text,
        enum.StrEnum: read_member,
        date: read_date,
        datetime: read_datetime,
    }
    for kind, hook in plain.items():
        converter.register_structure_hook(kind, hook)
    converter.register_unstructure_hook_factory(attrs.has, _request_hook)
    return converter


_converter = _build_converter()


def reader_of(kind: Any) -> Callable[[object, Any], Any]:
    """Return what makes a value of a type of what JSON holds; it raises UnreadableError, or what cattrs raises."""
    return cast("Callable[[object, Any], Any]", _converter.get_structure_hook(kind))


def writer_of(model: Any) -> Callable[[Any], dict[str, Any]]:
    """Return what makes plain JSON types of an instance of a model."""
    return cast("Callable[[Any], dict[str, Any]]", _converter.get_unstructure_hook(model))
