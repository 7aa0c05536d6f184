"""A database's URL works as its hosting provider gives it, or is refused with what to write instead."""

import asyncio
import shutil
import ssl
import time
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis.strategies import text

from hindsight_async import Ledger, LedgerError
from hindsight_async.delivery.ledger.postgres_url import (
    CONNECT_SECONDS,
    LEASE_SECONDS,
    LONGEST_LEDGER_NAME,
    OUTAGE_SECONDS,
    read_url,
)
from raw_server import CERTIFICATE

PLACE = "postgresql+asyncpg://owner:secret@db.example:6543/crm"
RELOAD_SECONDS = 30.0


def read(query):
    return read_url(sa.make_url(f"{PLACE}?{query}"))


@pytest.mark.parametrize(
    ("query", "own_url"),
    [
        ("", "postgresql://"),
        ("sslmode=require", "postgresql://?sslmode=require"),
        ("sslmode=verify-full&sslrootcert=%2Fetc%2Fca.pem", "postgresql://?sslmode=verify-full&sslrootcert=%2Fetc%2Fca.pem"),
        ("sslmode=require&channel_binding=prefer", "postgresql://?sslmode=require"),
        ("application_name=crm&connect_timeout=3&lease_seconds=9", "postgresql://"),
        ("ledger=autumn&outage_seconds=9", "postgresql://"),
        ("sslmode=require&channel_binding=require", "postgresql://"),
        ("channel_binding=require&sslrootcert=ca.pem", "postgresql://?sslmode=verify-full&sslrootcert=ca.pem"),
        ("sslmode=verify-full&sslrootcert=system", "postgresql://"),
    ],
)  # fmt: skip
def test_the_driver_reads_what_it_alone_understands(query, own_url):
    """TLS goes into a URL of its own; SQLAlchemy's has user, place and database, and nothing that it would stumble over."""
    place = read(query)
    assert sorted(own_url.split("?")[-1].split("&")) == sorted(place.own_url.split("?")[-1].split("&"))
    assert PLACE == place.url.render_as_string(hide_password=False)


def test_what_is_not_given_has_a_default():
    """Each of them is a constant, and a parameter goes before it."""
    usual = read("")
    other = read("connect_timeout=3&lease_seconds=9&outage_seconds=0.5&application_name=crm&ledger=autumn")
    assert (LEASE_SECONDS, OUTAGE_SECONDS, CONNECT_SECONDS, "hindsight-async", "") == settings_of(usual)
    assert (9.0, 0.5, 3.0, "crm", "autumn") == settings_of(other)


def settings_of(place):
    seconds = place.lease_seconds, place.outage_seconds, place.connect_seconds
    return *seconds, place.application_name, place.ledger


@pytest.mark.parametrize(
    ("query", "is_verified"),
    [
        ("sslmode=require&channel_binding=require", True),
        ("channel_binding=require", True),
        ("sslmode=verify-full&sslrootcert=system", True),
        ("sslmode=require&channel_binding=prefer", False),
        ("channel_binding=require&sslrootcert=ca.pem", False),
    ],
)
def test_who_asks_for_bound_channels_gets_a_server_that_proves_who_it_is(query, is_verified):
    """The driver binds none; a certificate that the system trusts keeps out whom binding would, unless a file is named."""
    (context,) = read(query).tls.values() or (None,)
    assert is_verified is (context is not None)
    assert context is None or (context.check_hostname and context.verify_mode is ssl.CERT_REQUIRED)


def test_what_sqlalchemy_reads_stays_in_its_url():
    """The size of a cache behind a pooler, and a place in the query."""
    place = read("prepared_statement_cache_size=0&host=%2Frun%2Fpostgresql")
    assert {"prepared_statement_cache_size": "0", "host": "/run/postgresql"} == dict(place.url.query)


@pytest.mark.parametrize(
    ("query", "complaint"),
    [
        ("sslmode=on", "sslmode in the ledger's URL must be one of disable, allow, prefer, require, verify-ca, verify-full"),
        ("sslmode=disable&channel_binding=require", "channel_binding=require .* needs TLS, which sslmode=disable forbids"),
        ("channel_binding=yes", "channel_binding in the ledger's URL must be one of prefer, disable, require"),
        ("sslmode=require&sslrootcert=system", "sslrootcert=system in the ledger's URL needs sslmode=verify-full"),
        ("channel_binding=require&sslcert=me.pem", "sslcert in the ledger's URL .* give as sslrootcert the file"),
        ("pgbouncer=true&schema=x", "has pgbouncer, schema: take it out; known are application_name, channel_binding"),
        ("application_name=crm&application_name=shop", "has application_name more than once: leave one"),
        ("outage_seconds=-1", "outage_seconds in the ledger's URL must be a number of seconds above 0"),
        ("ledger=Autumn", "ledger in the ledger's URL is 'Autumn': give up to 24 of a-z, 0-9 and _, a letter first"),
        ("ledger=", "ledger in the ledger's URL has no value"),
        ("connect_timeout=soon", "connect_timeout in the ledger's URL must be a number of seconds above 0"),
        ("lease_seconds=0", "lease_seconds in the ledger's URL must be a number of seconds above 0"),
        ("lease_seconds=1&lease_seconds=2", "has lease_seconds more than once"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_refused_with_what_to_write(query, complaint):
    """Where the ledger is named, before anything is opened or sent, and without the password."""
    with pytest.raises(ValueError, match=complaint) as raised:
        Ledger(f"{PLACE}?{query}")
    assert "secret" not in str(raised.value)


@given(text(max_size=30) | text("ab9_Z", max_size=30))
def test_a_ledgers_name_is_safe_in_every_statement_or_refused(name):
    """Whatever is given, what comes through is small letters, digits and underscores, a letter first, and short."""
    is_name = (
        name.isascii() and name.replace("_", "a").isalnum() and name == name.lower() and name[0].isalpha()
    )
    try:
        seen = read_url(sa.make_url(PLACE).update_query_dict({"ledger": name})).ledger
    except ValueError:
        seen = None
    assert (name if is_name and len(name) <= LONGEST_LEDGER_NAME else None) == seen


@pytest.fixture
def with_tls(postgres):
    """Let the server speak TLS, with a certificate that no authority has signed."""
    folder = Path(postgres.execute("postgres", "SHOW data_directory")[0][0])
    for name in ("server.crt", "server.key"):
        shutil.copy(CERTIFICATE, folder / name)
        (folder / name).chmod(0o600)
        shutil.chown(folder / name, folder.stat().st_uid, folder.stat().st_gid)
    switch(postgres, "on")
    yield
    switch(postgres, "off")


def switch(postgres, to):
    postgres.execute("postgres", f"ALTER SYSTEM SET ssl = {to}")
    postgres.execute("postgres", "SELECT pg_reload_conf()")
    ends = time.monotonic() + RELOAD_SECONDS
    while postgres.execute("postgres", "SHOW ssl") != [(to,)]:
        assert time.monotonic() < ends


async def begin(url):
    async with Ledger(url).run():
        pass


def how_it_connects(url):
    """Return whether by TLS, and under which name, while a run is on."""

    async def look():
        import asyncpg

        async with Ledger(url).run():
            connection = await asyncpg.connect(url.split("?")[0].replace("+asyncpg", ""))
            try:
                seen = await connection.fetchrow(
                    "SELECT ssl, application_name FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)"
                    " WHERE datname = current_database() AND pid != pg_backend_pid()"
                )
            finally:
                await connection.close()
        return tuple(seen)

    return asyncio.run(look())


@pytest.mark.servers
@pytest.mark.parametrize(
    ("query", "seen"),
    [
        ("sslmode=require", (True, "hindsight-async")),
        ("ssl=require", (True, "hindsight-async")),
        ("sslmode=disable&application_name=crm", (False, "crm")),
        ("sslmode=require&connect_timeout=10&options=-c%20statement_timeout%3D9s", (True, "hindsight-async")),
    ],
)
@pytest.mark.usefixtures("with_tls")
def test_a_providers_url_is_followed(postgres, database, query, seen):
    """What it asks for is what the server sees."""
    assert seen == how_it_connects(f"{postgres.url(database)}?{query}")


@pytest.mark.servers
@pytest.mark.usefixtures("with_tls")
def test_bound_channels_are_not_pretended(postgres, database):
    """No authority has signed this server's certificate, so who asks for bound channels does not get in."""
    with pytest.raises(LedgerError, match="certificate"):
        asyncio.run(begin(f"{postgres.url(database)}?sslmode=require&channel_binding=require"))


@pytest.mark.servers
@pytest.mark.usefixtures("with_tls")
def test_a_server_that_cannot_prove_who_it_is_gets_no_password(postgres, database):
    """Its certificate is its own, so `verify-full` needs that as root, and `127.0.0.1` in it."""
    where = f"{postgres.url(database)}?sslmode=verify-full"
    with pytest.raises(LedgerError):
        asyncio.run(begin(f"{where}&sslrootcert=/no/such/file.pem"))
    asyncio.run(begin(f"{where}&sslrootcert={CERTIFICATE}".replace("127.0.0.1", "localhost")))


@pytest.mark.servers
def test_a_server_without_tls_is_refused_where_it_is_asked_for(postgres, database):
    """`require` is a promise; nothing is written in the clear."""
    with pytest.raises(LedgerError, match="rejected SSL upgrade"):
        asyncio.run(begin(f"{postgres.url(database)}?sslmode=require"))
