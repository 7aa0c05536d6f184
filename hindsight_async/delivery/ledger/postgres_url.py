"""What stands behind the `?` of a database's URL: the parameters that hosting providers write, as the driver takes them."""

import math
from typing import Any, Final

import sqlalchemy as sa
from attrs import field, frozen

LEASE_SECONDS: Final = 30.0
"""How long a run that is not heard of counts as alive; another number may be given as `?lease_seconds=` in the URL."""

CONNECT_SECONDS: Final = 10.0
"""How long the server may take to let a connection in; another number may be given as `?connect_timeout=`."""

_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")

_BY_SQLALCHEMY = {"host", "port", "prepared_statement_cache_size", "ssl"}
"""These it takes out of the URL itself; what else it finds there it hands to `asyncpg.connect` as arguments."""

_BY_ASYNCPG = {
    "options",
    "passfile",
    "sslcert",
    "sslcrl",
    "sslkey",
    "sslmode",
    "sslpassword",
    "sslrootcert",
    "ssl_max_protocol_version",
    "ssl_min_protocol_version",
    "target_session_attrs",
}
"""These asyncpg reads as libpq does, and only in a URL of its own."""

_HERE = {"application_name", "channel_binding", "connect_timeout", "lease_seconds"}


@frozen(kw_only=True)
class PostgresUrl:
    """Where a database is and how to connect."""

    url: sa.URL = field(repr=False)
    """What SQLAlchemy takes."""
    own_url: str = field(repr=False)
    """What asyncpg takes beside it."""
    lease_seconds: float
    connect_seconds: float
    application_name: str


def read_url(url: sa.URL) -> PostgresUrl:
    """Tell apart who reads which parameter.

    Raises:
        ValueError: A parameter is unknown or has a wrong value; the text names it and says what to write.

    """
    given: dict[str, Any] = dict(url.query)
    unknown = sorted(given.keys() - _BY_SQLALCHEMY - _BY_ASYNCPG - _HERE)
    if unknown:
        known = ", ".join(sorted(_BY_SQLALCHEMY | _BY_ASYNCPG | _HERE))
        raise ValueError(f"the ledger's URL has {', '.join(unknown)}: take it out; known are {known}")
    if given.get("sslmode", _SSL_MODES[0]) not in _SSL_MODES:
        raise ValueError(f"sslmode in the ledger's URL must be one of {', '.join(_SSL_MODES)}")
    if given.get("channel_binding") == "require":
        raise ValueError(
            "channel_binding=require in the ledger's URL cannot be kept, since asyncpg does not bind channels: take it"
            " out, and write sslmode=verify-full to have the server prove who it is"
        )
    return PostgresUrl(
        url=url.difference_update_query(_BY_ASYNCPG | _HERE),
        own_url=_for_asyncpg({name: given[name] for name in _BY_ASYNCPG & given.keys()}),
        lease_seconds=_seconds(given, "lease_seconds", LEASE_SECONDS),
        connect_seconds=_seconds(given, "connect_timeout", CONNECT_SECONDS),
        application_name=str(given.get("application_name", "hindsight-async")),
    )


def _for_asyncpg(parameters: dict[str, Any]) -> str:
    return sa.URL.create("postgresql", query=parameters).render_as_string()


def _seconds(given: dict[str, Any], name: str, default: float) -> float:
    try:
        seconds = float(given.get(name, default))
    except (TypeError, ValueError):
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise ValueError(f"{name} in the ledger's URL must be a number of seconds above 0")
    return seconds
