"""A Redis URL: what is wrong with one is said where it was given, and never shows the password in it."""

import re
from typing import Any
from urllib.parse import SplitResult, parse_qsl, urlsplit

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

WHAT_IS_RIGHT = "redis must be a URL such as redis://:password@host:6379/0 (special characters quoted)"

MISUSES = (TypeError, ValueError, AttributeError, RedisError)
"""What the client raises for options that it does not know or cannot use."""


def client_of(url: str, timeout: float) -> Redis:
    """Make a client of a URL, which connects when first used.

    Args:
        url: As redis-py takes it: `redis://`, `rediss://` or `unix://`.
        timeout: Seconds to take a connection, or to answer.

    Returns:
        A client that repeats nothing by itself.

    Raises:
        ValueError: The URL is wrong; the text says in what.

    """
    if wrong := _wrong_with(url):
        raise ValueError(f"{WHAT_IS_RIGHT}: {wrong}")
    try:
        client = Redis.from_url(  # pyright: ignore[reportUnknownMemberType]
            url, socket_timeout=timeout, socket_connect_timeout=timeout, retry=Retry(NoBackoff(), 0)
        )
        # Options are looked at only when a connection is made; this one is not opened.
        pool: Any = client.connection_pool
        pool.make_connection()
    except MISUSES as error:
        raise ValueError(f"{WHAT_IS_RIGHT}: {_misused(error, url)}") from None
    return client


def _wrong_with(url: str) -> str | None:
    """Say what redis-py would overlook, or hear of only from the server; None where all is well."""
    try:
        parts = urlsplit(url)
    except ValueError:
        # Its text may show the password.
        return "this one cannot be read"
    over_a_socket = parts.scheme == "unix"
    options = _options(url)
    checks = {
        "its scheme must be redis, rediss or unix": parts.scheme in {"redis", "rediss", "unix"},
        "it has a # or an @ that is not quoted": not parts.fragment
        and "@" not in parts.query
        and (over_a_socket or "@" not in parts.path),
        "it names no host": over_a_socket or bool(parts.hostname),
        "it names no path, or something before it": not over_a_socket
        or (bool(parts.path) and not parts.hostname),
        "its port must be a number from 1 to 65535": over_a_socket or _is_port(parts),
        "its database must be a number": (over_a_socket or re.fullmatch(r"/?|/[0-9]+/?", parts.path))
        and re.fullmatch(r"[0-9]+", options.get("db", "0")),
        "it has an option without a value": all(options.values()),
    }
    return next((wrong for wrong, well in checks.items() if not well), None)


def _is_port(parts: SplitResult) -> bool:
    try:
        return parts.port != 0
    except ValueError:
        return False


def _options(url: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(url).query, keep_blank_values=True))


def _misused(error: Exception, url: str) -> str:
    options = _options(url)
    named = [name for name in options if re.search(rf"\b{re.escape(name)}\b", str(error))] or list(options)
    if isinstance(error, TypeError) and "unexpected keyword" in str(error):
        return f"the Redis client knows no option {named[0]} there"
    return f"the Redis client cannot use its option {' or '.join(named)}"
