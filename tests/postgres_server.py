"""A PostgreSQL server of the tests' own, on a free port, with a database for each test."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode

import pytest

PASSWORD = "the-owner-s-secret"
PROGRAMS = ("initdb", "postgres", "pg_isready")
USERS = ("postgres", "nobody")
READY_SECONDS = 60.0
EMPTY_IT = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}' AND pid <> pg_backend_pid()",
    "DROP SCHEMA public CASCADE",  # which waits for those
    "CREATE SCHEMA public",
    "GRANT USAGE ON SCHEMA public TO public",
    "ALTER DATABASE {} RESET ALL",
)


def programs():
    """Return the directory with the server's programs, None where there is no such thing."""
    on_path = shutil.which("initdb")
    places = [Path(on_path).resolve().parent] if on_path else []
    packaged = Path("/usr/lib/postgresql").glob("*/bin")
    places += sorted(packaged, key=lambda place: place.parent.name.zfill(4), reverse=True)
    return next((place for place in places if all((place / name).exists() for name in PROGRAMS)), None)


def _as_whom():
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    import pwd  # which Windows lacks

    for name in USERS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    return pytest.skip("PostgreSQL does not run as root, and there is neither a user postgres nor nobody")


class Server:
    """A server with one owner; `start` and `stop` may follow each other."""

    def __init__(self, folder, binaries):
        self._folder = folder
        self._binaries = binaries
        self.whom = _as_whom()
        """Whom its process belongs to, as `subprocess` takes it."""
        self.give(folder)
        (folder / "password").write_text(PASSWORD)
        options = [
            "-U",
            "owner",
            "-A",
            "scram-sha-256",
            "--pwfile",
            folder / "password",
            "-E",
            "UTF8",
            "--no-sync",
        ]
        made = subprocess.run(
            [binaries / "initdb", "-D", folder / "data", "--locale", "C", *options],
            capture_output=True,
            text=True,
            cwd=folder,
            check=False,
            **self.whom,
        )
        assert 0 == made.returncode, made.stderr
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.start()
        self._free = []

    def give(self, path):
        """Let the server's user have a file or directory."""
        if self.whom:
            os.chown(path, self.whom["user"], self.whom["group"])

    def start(self):
        # Nothing here survives a power cut, nor has to: it is clients that are killed.
        settings = ["fsync=off", "listen_addresses=127.0.0.1", "max_connections=200", "shared_buffers=16MB"]
        settings += [f"unix_socket_directories={self._folder}", f"port={self.port}", "autovacuum=off"]
        options = [word for setting in settings for word in ("-c", setting)]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._binaries / "postgres", "-D", self._folder / "data", *options],
                stdout=log,
                stderr=log,
                cwd=self._folder,
                **self.whom,
            )
        try:
            self._wait_until_it_answers()
        except BaseException:
            self.stop()
            raise

    def _wait_until_it_answers(self):
        ends = time.monotonic() + READY_SECONDS
        while not self.answers(self.port):
            assert self._process.poll() is None, (self._folder / "log").read_text()
            assert time.monotonic() < ends, "the server did not come up"

    def answers(self, port):
        """Whether something at this port speaks PostgreSQL."""
        asked = [self._binaries / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]
        return 0 == subprocess.run(asked, check=False).returncode

    def stop(self):
        """End it at once, with every connection."""
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait()

    def url(self, database, *, user="owner", password=PASSWORD, lease=None, port=None, **parameters):
        if lease is not None:
            parameters["lease_seconds"] = lease
        query = f"?{urlencode(parameters)}" if parameters else ""
        return f"postgresql+asyncpg://{user}:{password}@127.0.0.1:{port or self.port}/{database}{query}"

    def database(self):
        """Return the name of an empty database."""
        if self._free:
            return self._free.pop()
        name = f"d{uuid.uuid4().hex}"
        self.execute("postgres", f"CREATE DATABASE {name}")
        return name

    def take_back(self, database):
        """Empty a database that nobody needs any more, which takes a fraction of the time of making one."""
        self.execute(database, *(line.format(database) for line in EMPTY_IT))
        self._free.append(database)

    def execute(self, database, *statements):
        """Run statements as the owner; return the rows of the last one."""
        import asyncpg

        async def run():
            connection = await asyncpg.connect(
                host="127.0.0.1", port=self.port, user="owner", password=PASSWORD, database=database
            )
            try:
                for statement in statements:
                    rows = await connection.fetch(statement)
                return [tuple(row) for row in rows]
            finally:
                await connection.close()

        return asyncio.run(run())


@contextmanager
def running():
    """Start a server, and stop it at the end; skip where there is none to start."""
    pytest.importorskip("asyncpg", reason="asyncpg is not installed: pip install 'hindsight-async[postgres]'")
    binaries = programs()
    if binaries is None:
        pytest.skip("PostgreSQL is not installed: apt install postgresql")
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    try:
        server = Server(folder, binaries)
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
