"""A contact's notes: what `contact_context` may hold, and how to enrich what was sent before."""

import math
from collections.abc import Mapping
from typing import Any, TypeAlias, TypeGuard, cast

ContactContext: TypeAlias = str | Mapping[str, Any]
"""Text, or a mapping of what JSON can carry."""

DEPTH_LIMIT = 100
"""How deep a context may nest; deeper is a mistake such as a mapping that holds itself."""

INTEGER_BITS = 64
"""The widest integer sent; common JSON readers hold no wider one."""


def json_ready(value: object, path: str, depth: int = 0) -> Any:
    """Return a copy of `value` in plain JSON types.

    Args:
        value: What a caller passed.
        path: Where it stands, for an error's text.
        depth: How deep that is.

    Returns:
        The copy, which nobody else can alter.

    Raises:
        TypeError: JSON has no such type; the text names the place.
        ValueError: JSON or UTF-8 cannot carry the value, or it nests too deep, perhaps since it holds itself.

    """
    if depth > DEPTH_LIMIT:
        raise ValueError(f"{path.partition('.')[0]} nests deeper than {DEPTH_LIMIT} levels")
    match value:
        case None | bool():
            return value
        case str():
            return sendable_text(value, path)
        case int():
            if value.bit_length() > INTEGER_BITS:
                raise ValueError(f"{path} must be an integer of at most {INTEGER_BITS} bits")
            return value
        case float():
            if not math.isfinite(value):
                raise ValueError(f"{path} must be a finite number, not {value}")
            return value
        case Mapping():
            entries = cast("Mapping[object, object]", value)
            return {
                _key(key, path): json_ready(item, f"{path}.{key}", depth + 1) for key, item in entries.items()
            }
        case list() | tuple():
            items = cast("list[object]", value)
            return [json_ready(item, f"{path}[{i}]", depth + 1) for i, item in enumerate(items)]
        case _:
            raise TypeError(
                f"{path} must be something JSON can carry (text, number, bool, None, list, mapping), "
                f"not {type(value).__name__}"
            )


def sendable_text(value: str, path: str) -> str:
    """Return `value`; raise ValueError where UTF-8 cannot carry it."""
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{path} must be valid Unicode; it has half a surrogate pair at {error.start}"
        ) from None
    return value


def _key(key: object, path: str) -> str:
    if not isinstance(key, str):
        raise TypeError(f"{path} must have text keys, not {type(key).__name__}")
    return sendable_text(key, f"a key of {path}")


def merge_context(previous: ContactContext | None, changes: ContactContext | None) -> ContactContext | None:
    """Return `previous` enriched with `changes`, for the next `contact_context`.

    The API overwrites a contact's notes and never returns them (page update-interview), so keep
    what was sent and merge into that. Neither argument is altered.

    Args:
        previous: What was sent last, None for nothing.
        changes: What is new, None for nothing.

    Returns:
        Mappings merged at every depth, where the changes win; texts joined by a blank line; of None and a context the context.

    Raises:
        TypeError: A mapping would go onto text, or text onto a mapping.

    """
    if previous is None or changes is None:
        return changes if previous is None else previous
    if isinstance(previous, str) and isinstance(changes, str):
        return "\n\n".join(part for part in (previous, changes) if part)
    if isinstance(previous, Mapping) and isinstance(changes, Mapping):
        return _merged(previous, changes)
    raise TypeError(
        f"cannot merge {_kind(changes)} onto {_kind(previous)}: give both contexts as text or both as mappings"
    )


def _merged(previous: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(previous)
    for key, new in changes.items():
        old = merged.get(key)
        merged[key] = _merged(old, new) if _is_mapping(old) and _is_mapping(new) else new
    return merged


def _is_mapping(value: object) -> TypeGuard[Mapping[str, Any]]:
    return isinstance(value, Mapping)


def _kind(context: object) -> str:
    if isinstance(context, str):
        return "text"
    return "a mapping" if isinstance(context, Mapping) else f"a value of type {type(context).__name__}"
