"""The compose file of the emulator's page, from its own text: its commands are run as they stand, without containers."""

import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from doc_pages import PAGES, named_blocks

[FILE] = re.findall(
    r"^```yaml\n(.*?)^```", (PAGES / "emulator.md").read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
)
SERVICE = "http://hindsight:"
READY_SECONDS = 60


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def test_the_two_services_name_the_same_key_port_and_volume():
    """The program waits until the emulator is healthy, and nobody but this machine reaches its port."""
    file = yaml.safe_load(FILE)
    emulator, app = file["services"]["hindsight"], file["services"]["app"]
    command, environment = emulator["command"][-1], app["environment"]
    assert f"{SERVICE}8123/api/v1" == environment["HINDSIGHT_BASE_URL"]
    assert f"--port 8123 --api-key {environment['HINDSIGHT_API_KEY']} " in command
    assert {"hindsight": {"condition": "service_healthy"}} == app["depends_on"]
    assert ["127.0.0.1:8123:8123"] == emulator["ports"]
    assert ["hindsight-state:/state"] == emulator["volumes"]
    assert {"hindsight-state": None} == file["volumes"]
    for service in (emulator, app):
        assert re.fullmatch(r"python:3\.\d+-slim", service["image"])


@pytest.mark.slow
def test_its_commands_do_what_the_page_says(tmp_path):
    """The emulator gets healthy, the program enrolls somebody over the network's http, and the state is kept."""
    port = free_port()
    # Without containers the service has no name here; the unspecified address is as little a loopback one as that.
    text = (
        FILE.replace(SERVICE, "http://0.0.0.0:").replace("8123", str(port)).replace("/state/", f"{tmp_path}/")
    )
    services = yaml.safe_load(text)["services"]
    (tmp_path / "bin").mkdir()
    pip = tmp_path / "bin" / "pip"
    pip.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/installed\n')
    pip.chmod(0o700)
    (tmp_path / "enroll_someone.py").write_text(named_blocks()["enroll_someone"], encoding="utf-8")
    path = os.pathsep.join([str(tmp_path / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]])

    def run(command, **environment):
        return subprocess.run(
            command, cwd=tmp_path, env={"PATH": path, **environment},
            capture_output=True, text=True, timeout=READY_SECONDS, check=False,
        )  # fmt: skip

    word, *check = services["hindsight"]["healthcheck"]["test"]
    assert "CMD" == word
    with subprocess.Popen(
        services["hindsight"]["command"], cwd=tmp_path, env={"PATH": path},
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    ) as emulator:  # fmt: skip
        try:
            until = time.monotonic() + READY_SECONDS
            while run(check).returncode != 0:
                assert emulator.poll() is None
                assert time.monotonic() < until
            done = run(services["app"]["command"], **services["app"]["environment"])
            assert (0, "") == (done.returncode, done.stderr)
            assert done.stdout.startswith(f"http://0.0.0.0:{port}/survey?token=tok_")
        finally:
            emulator.terminate()
        _, said = emulator.communicate(timeout=READY_SECONDS)
    assert 0 == emulator.returncode
    assert re.search(r"POST /interviews +201", said)
    assert "jane@acme.example" in (tmp_path / "hindsight").read_text(encoding="utf-8")
    assert "--quiet hindsight-async[cli]\n" in (tmp_path / "installed").read_text().replace("install ", "")
