"""What a child process does with the state that it finds when its parent forks: it starts afresh."""

import os
from typing import Protocol
from weakref import WeakSet


class Forgetful(Protocol):
    """Has state that means nothing in a child process, as the scheduler of a budget and the connections do."""

    def forget_parent(self) -> object:
        """Start afresh; return what must not be let go of, since that would close what the parent uses."""
        ...


# Weakly, since nobody says when one of them is used no more.
_forgetful: WeakSet[Forgetful] = WeakSet()

# What the child found, kept until it ends: an event loop or a socket that is collected is closed first, and some of
# that reaches the parent, such as taking a socket out of the epoll set that both share.
_inherited: list[object] = []


def start_afresh_after_fork(one: Forgetful) -> None:
    """Have `one` forget its parent in every child process, before anything else runs there."""
    _forgetful.add(one)


def _forget_parent() -> None:
    _inherited.extend([one.forget_parent() for one in list(_forgetful)])


# Windows has no fork.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parent)
