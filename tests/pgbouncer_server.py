"""A PgBouncer of the tests' own before a PostgreSQL server, in transaction mode and with few of the server's sessions."""

import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from postgres_server import PASSWORD, READY_SECONDS

SESSIONS = 2
"""Fewer than runs, so that what one leaves in a session meets the others."""

CONFIGURATION = """\
[databases]
* = host=127.0.0.1 port={server_port} user=owner password={password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {folder}/users
pool_mode = transaction
default_pool_size = {sessions}
logfile = {folder}/log
"""


@contextmanager
def running(server):
    """Yield the port of one; skip where it is not installed."""
    program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        pytest.skip("PgBouncer is not installed: apt install pgbouncer")
    folder = Path(tempfile.mkdtemp(prefix="pgbouncer-"))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (folder / "users").write_text(f'"owner" "{PASSWORD}"\n')
    fields = {"server_port": server.port, "password": PASSWORD, "port": port, "folder": folder}
    (folder / "ini").write_text(CONFIGURATION.format(**fields, sessions=SESSIONS))
    for path in (folder, *folder.iterdir()):
        server.give(path)
    process = subprocess.Popen(
        [program, "-q", folder / "ini"], cwd=folder, stderr=subprocess.DEVNULL, **server.whom
    )
    try:
        ends = time.monotonic() + READY_SECONDS
        while not server.answers(port):
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < ends, "PgBouncer did not come up"
        yield port
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)
