"""Every async test runs on virtual time."""

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import settings

from virtual_time import VirtualTimeLoop

# A slow machine is no failure.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Give every test a clock of its own."""
    return {"virtual": VirtualTimeLoop}
