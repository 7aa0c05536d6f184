"""What a full disk does, from the kernel."""

from contextlib import contextmanager

import pytest


@contextmanager
def full_disk(size=0):
    """Let no file of this process grow past `size` bytes."""
    resource = pytest.importorskip("resource", reason="this system limits no process's files")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
