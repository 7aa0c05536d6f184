"""Every async test runs on virtual time."""

import asyncio
import signal
from collections.abc import Callable

import pytest
from hypothesis import settings

from virtual_time import VirtualTimeLoop

# A slow machine is no failure.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")

# A shell that starts the tests in the background has them ignore Ctrl-C, and so would the programs that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Give every test a clock of its own."""
    return {"virtual": VirtualTimeLoop}
