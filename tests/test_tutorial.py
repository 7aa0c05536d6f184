"""The tutorial, from its own text: whoever types what it says gets what it says."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from doc_pages import PAGES
from hindsight_async import Plan
from hindsight_async.emulator import Emulator
from hindsight_async.testing import serving

PAGE = (PAGES / "tutorial.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^```sh\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
SHOWN = re.findall(r"^```text\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
NOT_HERE = ("pip install", "hindsight-async emulate")
"""What a test has already, and what stands in another terminal."""

SECONDS = 120


@pytest.mark.slow
def test_the_commands_of_the_tutorial_do_what_it_says(tmp_path):
    """One after another in one shell: three people are enrolled once, and what one of them said is saved."""
    here = [block for block in COMMANDS if not any(each in block for each in NOT_HERE)]
    assert len(NOT_HERE) == len(COMMANDS) - len(here)
    with serving(Emulator(plan=Plan.GROWTH, remote_control=True)) as emulator:
        environment = {
            **os.environ,
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "HINDSIGHT_API_KEY": emulator.api_key,
            "HINDSIGHT_BASE_URL": emulator.base_url,
        }
        script = "\n".join(f"{block}\necho == $?" for block in here)
        done = subprocess.run(
            ["bash", "-c", script], cwd=tmp_path, env=environment,
            capture_output=True, text=True, timeout=SECONDS, check=False,
        )  # fmt: skip
        emailed = [email.address for email in emulator.outbox]
    codes = re.findall(r"^== (\d+)$", done.stdout, re.MULTILINE)
    assert ["0", "0", "2", "0", "0", "0", "0", "0", "0"] == codes, done.stdout + done.stderr
    assert ["amara@northwind.example", "ben@fjordbank.example", "carla@luzverde.example"] == sorted(emailed)
    lines = {line.strip() for line in f"{done.stdout}\n{done.stderr}".splitlines()}
    shown = {line.strip() for block in SHOWN for line in block.splitlines()}
    assert shown
    assert set() == shown - lines
    (transcript,) = (tmp_path / "interviews").glob("*.md")
    assert "Pricing, mostly." in transcript.read_text(encoding="utf-8")
