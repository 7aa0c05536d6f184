"""What a child process does with the state that it finds when its parent forks: it starts afresh."""

import os
from typing import Protocol
from weakref import WeakSet


class Forgetful(Protocol):
    """Has state that means nothing in a child process."""

    def forget_parent(self) -> object:
        """Start afresh; return what must not be let go of, since that would close what the parent uses."""
        ...


_forgetful: WeakSet[Forgetful] = WeakSet()
_inherited: list[object] = []


def start_afresh_after_fork(one: Forgetful) -> None:
    """Have it start afresh in every child process."""
    _forgetful.add(one)


def _forget_parent() -> None:
    _inherited.extend([one.forget_parent() for one in list(_forgetful)])


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parent)
