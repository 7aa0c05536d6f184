"""What stands behind the `?` of a database's URL: the parameters that hosting providers write, as the driver takes them."""

import math
import re
import ssl
from collections.abc import Mapping
from typing import Any, Final

import sqlalchemy as sa
from attrs import field, frozen

LEASE_SECONDS: Final = 30.0
"""How long a run that is not heard of counts as alive; another number may be given as `?lease_seconds=` in the URL."""

CONNECT_SECONDS: Final = 10.0
"""How long the server may take to let a connection in; another number may be given as `?connect_timeout=`."""

OUTAGE_SECONDS: Final = 120.0
"""How long a run waits for a database that is away; another number may be given as `?outage_seconds=`.

What hosting providers call a failover takes them from half a minute to two.
"""

LONGEST_LEDGER_NAME: Final = 24
"""How many characters a ledger's name may have: PostgreSQL cuts a name at 63 bytes, and an index's begins with it."""

_LEDGER_NAME = re.compile(f"[a-z][a-z0-9_]{{0,{LONGEST_LEDGER_NAME - 1}}}")

_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")

_BINDINGS = ("prefer", "disable", "require")

_SYSTEM = "system"
"""As `sslrootcert`, as libpq has it: the certificates that the operating system trusts."""

_MAY_STAND_TWICE = {"host", "port"}

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

_HERE = {
    "application_name",
    "channel_binding",
    "connect_timeout",
    "lease_seconds",
    "ledger",
    "outage_seconds",
}


@frozen(kw_only=True)
class PostgresUrl:
    """Where a database is and how to connect."""

    url: sa.URL = field(repr=False)
    """What SQLAlchemy takes."""
    own_url: str = field(repr=False)
    """What asyncpg takes beside it."""
    tls: Mapping[str, Any] = field(repr=False)
    """What asyncpg takes as arguments, where the certificates of no file are to be trusted but the system's."""
    lease_seconds: float
    outage_seconds: float
    connect_seconds: float
    application_name: str
    ledger: str
    """The name of one of several ledgers in the database; empty for that which has none."""


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
    twice = sorted(name for name in given.keys() - _MAY_STAND_TWICE if not isinstance(given[name], str))
    if twice:
        raise ValueError(f"the ledger's URL has {', '.join(twice)} more than once: leave one")
    own = {name: given[name] for name in _BY_ASYNCPG & given.keys()}
    return PostgresUrl(
        url=url.difference_update_query(_BY_ASYNCPG | _HERE),
        tls=_tls(own, given.get("channel_binding", _BINDINGS[0])),
        own_url=_for_asyncpg(own),
        lease_seconds=_seconds(given, "lease_seconds", LEASE_SECONDS),
        outage_seconds=_seconds(given, "outage_seconds", OUTAGE_SECONDS),
        connect_seconds=_seconds(given, "connect_timeout", CONNECT_SECONDS),
        application_name=given.get("application_name", "hindsight-async"),
        ledger=_ledger(given.get("ledger")),
    )


def _tls(own: dict[str, str], binding: str) -> Mapping[str, Any]:
    """Change what asyncpg reads to what it can keep, and return what it is told beside it."""
    mode = own.get("sslmode", "prefer")
    if mode not in _SSL_MODES:
        raise ValueError(f"sslmode in the ledger's URL must be one of {', '.join(_SSL_MODES)}")
    if binding not in _BINDINGS:
        raise ValueError(f"channel_binding in the ledger's URL must be one of {', '.join(_BINDINGS)}")
    if binding == "require":
        # It keeps out who stands between and has another certificate. asyncpg cannot bind channels; to look at
        # the certificate keeps them out too.
        if mode == "disable":
            raise ValueError(
                "channel_binding=require in the ledger's URL needs TLS, which sslmode=disable forbids: take one out"
            )
        own["sslmode"] = mode = "verify-full"
        own.setdefault("sslrootcert", _SYSTEM)
    if own.get("sslrootcert") != _SYSTEM:
        return {}
    if mode != "verify-full":
        raise ValueError("sslrootcert=system in the ledger's URL needs sslmode=verify-full")
    del own["sslrootcert"], own["sslmode"]
    ignored = sorted(name for name in own if name.startswith("ssl"))
    if ignored:
        raise ValueError(
            f"{', '.join(ignored)} in the ledger's URL cannot be kept beside the certificates of the system: give as"
            " sslrootcert the file of the authority that has signed the server's"
        )
    return {"ssl": ssl.create_default_context()}


def _ledger(name: str | None) -> str:
    if name is not None and not _LEDGER_NAME.fullmatch(name):
        raise ValueError(
            f"ledger in the ledger's URL is {name[:40]!r}: give up to {LONGEST_LEDGER_NAME} of a-z, 0-9 and _, a letter first"
        )
    return name or ""


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
