"""The page about tests of one's own, from its own text."""

import os
import subprocess
import sys

import pytest

from doc_pages import named_blocks

FILES = ("conftest", "test_enroll")


@pytest.mark.slow
def test_the_tests_of_the_page_pass(tmp_path):
    """Copied into a folder they are collected, warn of nothing and pass, with a real key in the shell."""
    blocks = named_blocks()
    for name in FILES:
        (tmp_path / f"{name}.py").write_text(blocks[name], encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "pytest", "-q", "-p", "no:asyncio", "--strict-markers"],
        cwd=tmp_path, env={**os.environ, "HINDSIGHT_API_KEY": "of-production", "PYTEST_ADDOPTS": ""},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert 0 == done.returncode, done.stdout + done.stderr
    assert f"{blocks['test_enroll'].count('def test_')} passed" in done.stdout
