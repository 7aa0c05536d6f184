"""Work that is done to its end also where its caller is cancelled, once or at every await."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """Await short work to its end, so that nothing stays open; then pass on a cancellation that came meanwhile.

    Args:
        work: What is to be done; it must end by itself, and soon, since nothing cuts it off.

    Returns:
        What `work` returns.

    Raises:
        CancelledError: The caller was cancelled; what `work` raised is outweighed.

    """
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is None or task.cancelled():
        return task.result()
    task.exception()  # heard, and outweighed
    raise cancelled


async def until_ended(task: asyncio.Task[Any]) -> None:
    """Wait until a task is over; a cancellation meanwhile cuts it off, and is passed on once it is over.

    Args:
        task: What ends soon where it is cancelled once, as by recording what it was at. Cancelled again it would leave
            that undone, so however often the caller is cancelled, it is cancelled once.

    Raises:
        CancelledError: The caller was cancelled. What the task raised stays in it.

    """
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            if cancelled is None:
                task.cancel()
            cancelled = error
    if cancelled is not None:
        raise cancelled
