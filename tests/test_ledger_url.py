"""A database's URL works as its hosting provider gives it, or is refused with what to write instead."""

import asyncio
import shutil
import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from hindsight_async import Ledger, LedgerError
from hindsight_async.delivery.ledger.postgres_url import CONNECT_SECONDS, LEASE_SECONDS, read_url
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
    ],
)  # fmt: skip
def test_the_driver_reads_what_it_alone_understands(query, own_url):
    """TLS goes into a URL of its own; SQLAlchemy's has user, place and database, and nothing that it would stumble over."""
    place = read(query)
    assert sorted(own_url.split("?")[-1].split("&")) == sorted(place.own_url.split("?")[-1].split("&"))
    assert PLACE == place.url.render_as_string(hide_password=False)


def test_what_is_not_given_has_a_default():
    """Each of them is a constant, and a parameter goes before it."""
    usual, other = read(""), read("connect_timeout=3&lease_seconds=9&application_name=crm")
    assert (LEASE_SECONDS, CONNECT_SECONDS, "hindsight-async") == (
        usual.lease_seconds,
        usual.connect_seconds,
        usual.application_name,
    )
    assert (9.0, 3.0, "crm") == (other.lease_seconds, other.connect_seconds, other.application_name)


def test_what_sqlalchemy_reads_stays_in_its_url():
    """The size of a cache behind a pooler, and a place in the query."""
    place = read("prepared_statement_cache_size=0&host=%2Frun%2Fpostgresql")
    assert {"prepared_statement_cache_size": "0", "host": "/run/postgresql"} == dict(place.url.query)


@pytest.mark.parametrize(
    ("query", "complaint"),
    [
        ("sslmode=on", "sslmode in the ledger's URL must be one of disable, allow, prefer, require, verify-ca, verify-full"),
        ("sslmode=require&channel_binding=require", "channel_binding=require .* take it out, and write sslmode=verify-full"),
        ("pgbouncer=true&schema=x", "has pgbouncer, schema: take it out; known are application_name, channel_binding"),
        ("connect_timeout=soon", "connect_timeout in the ledger's URL must be a number of seconds above 0"),
        ("lease_seconds=0", "lease_seconds in the ledger's URL must be a number of seconds above 0"),
        ("lease_seconds=1&lease_seconds=2", "lease_seconds in the ledger's URL must be a number of seconds above 0"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_refused_with_what_to_write(query, complaint):
    """Where the ledger is named, before anything is opened or sent, and without the password."""
    with pytest.raises(ValueError, match=complaint) as raised:
        Ledger(f"{PLACE}?{query}")
    assert "secret" not in str(raised.value)


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
