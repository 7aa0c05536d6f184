"""The public names that need an extra, loaded on first use."""

from importlib import import_module
from typing import Any

NEEDS_AN_EXTRA = {
    "DurableQueue": ("hindsight_async.delivery.queue.queue", "bulk"),
    "Ledger": ("hindsight_async.delivery.ledger.ledger", "bulk"),
    "LedgerRun": ("hindsight_async.delivery.ledger.run", "bulk"),
    "RedisBudget": ("hindsight_async.rate.redis.budget", "redis"),
}
"""Where these names lie, and the extra that installs what they need."""


def load_on_first_use(name: str) -> Any:
    """Return what a public name stands for.

    Raises:
        AttributeError: There is no such name.
        ImportError: Its extra is not installed; the text names it.

    """
    if name not in NEEDS_AN_EXTRA:
        raise AttributeError(f"module 'hindsight_async' has no attribute {name!r}")
    module, extra = NEEDS_AN_EXTRA[name]
    try:
        return getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        raise ImportError(how_to_install(error, name, extra), name=error.name) from error


def how_to_install(error: ModuleNotFoundError, what: str, extra: str) -> str:
    """Return what to do about a module that is missing: `what` needs the extra."""
    return f"{error.name} is not installed: {what} needs pip install 'hindsight-async[{extra}]'"
