"""A network that is gone for a while is waited for here, by whatever sends many requests: a bulk run or a queue.

    there     -- a request finds no connection at all -->             gone
    gone      -- a pause, then one request looks, in vain -->         gone, and the next pause is longer
    gone      -- any request is answered -->                          there, for all
    gone      -- one looks in vain when the time is over -->          given up

Within one call a connection that fails is tried again by `call.retry`, a few times and for seconds; this is for what
lasts longer. Only a connection that could not be made counts: nothing of such a request left, so it may be sent again.
"""

import asyncio
import logging
import random as chance
from collections import deque
from collections.abc import Callable
from math import inf
from typing import Any, Final

from hindsight_async.errors import BulkAbortedError, Delivery, HindsightError, NotSentError

logger = logging.getLogger("hindsight_async.delivery")

FIRST_PAUSE: Final = 1.0
"""Seconds before the first look whether the network is back."""

LONGEST_PAUSE: Final = 15.0
"""Seconds that no pause exceeds, so that a run goes on soon after the network does; a look costs one connection."""

_MOST_DOUBLINGS: Final = 16
"""Beyond the longest pause, and short of a float's overflow."""


def finds_no_network(error: BaseException) -> bool:
    """Return whether a request that ended in this had no connection to leave on."""
    return isinstance(error, NotSentError) and error.no_connection


def was_answered(error: BaseException) -> bool:
    """Return whether it came of an answer, be it a refusal: the network is there then."""
    return isinstance(error, HindsightError) and error.http is not None


def pause_before_look(looks: int, random: float) -> float:
    """Return the seconds to wait before the network is looked for again.

    Args:
        looks: How many requests looked for it in vain one after another, from 1.
        random: A number in [0, 1); shortens the pause by up to half, so that many programs do not return as one.

    """
    pause = FIRST_PAUSE * 2.0 ** min(looks - 1, _MOST_DOUBLINGS)
    return min(pause, LONGEST_PAUSE) * (1 - random / 2)


class NetworkWait:
    """What all senders of a run share, each a task of its own, so that one at a time looks whether the network is back.

    `delivery.row.deliver` does for each row what a user of it has to do:

        await network.passable()            # before a request; at once while the network is there
        try:
            response = await send()
        except BaseException as error:
            if network.failed(error):       # it found no connection: mark the row as not sent, and begin again above
                ...
            raise
        network.worked()

    Each `passable` is followed, in the same task, by one `failed` or `worked`: the one that looks has the turn until then,
    and the others wait. Once it is given up nobody waits any more: `passable` returns at once and `failed` is False.
    Whoever goes on after that, such as a queue whose pause a person lifts, makes another one.

    Args:
        seconds: How long to wait for one answer since the first request that found no connection; 0 for not at all,
            None for as long as it takes. The last look is made when they are over.
        random: Returns a number in [0, 1).

    Raises:
        ValueError: `seconds` is negative or no number.
        TypeError: It is of another type.

    """

    def __init__(self, seconds: float | None, *, random: Callable[[], float] = chance.random) -> None:
        if type(seconds) not in {int, float} and seconds is not None:
            raise TypeError(f"wait_for_network must be a number or None, not {type(seconds).__name__}")
        if seconds is not None and not seconds >= 0:
            raise ValueError("wait_for_network must be seconds, at least 0, or None for as long as it takes")
        self.seconds = inf if seconds is None else seconds
        self.error: HindsightError | None = None
        """What the last request met that found no connection; None while the network is there."""
        self.given_up: BulkAbortedError | None = None
        """What ends the run, or pauses the queue, once the time is over."""
        self.on_change: Callable[[NetworkWait], object] | None = None
        """Told when the network is gone, when it is back and when it is given up; None for a line in the log."""
        self.gone_for = 0.0
        """Seconds for which the network was gone, once it is back or given up; while it is gone ask `seconds_gone`."""
        self._random = random
        self._gone_since = 0.0
        """The moment of the first request that found no connection."""
        self._looks = 0
        """How many looked in vain, one after another."""
        self._looking: asyncio.Task[Any] | None = None
        """Whose turn it is to look; None during a pause."""
        self._is_due = False
        """Whether the next that asks may look."""
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._pause: asyncio.TimerHandle | None = None

    @property
    def is_gone(self) -> bool:
        """Whether it is waited for."""
        return self.error is not None and self.given_up is None

    @property
    def seconds_gone(self) -> float:
        """For how many seconds it has been gone; 0 while it is there."""
        return asyncio.get_running_loop().time() - self._gone_since if self.is_gone else 0.0

    async def passable(self) -> None:
        """Return once the calling task may send a request: at once, or when the network is back or to be looked for."""
        while self.is_gone:
            if self._is_due:
                self._is_due = False
                self._looking = asyncio.current_task()
                return
            waiting = asyncio.get_running_loop().create_future()
            self._waiting.append(waiting)
            try:
                await waiting
            except asyncio.CancelledError:
                if waiting.done() and not waiting.cancelled() and self.is_gone:
                    self._let_one_look()  # it was to be this one
                raise
            finally:
                if waiting in self._waiting:
                    self._waiting.remove(waiting)

    def failed(self, error: BaseException) -> bool:
        """Note that a request ended in this; return whether it is to be sent again once the network is back.

        Args:
            error: Anything at all, a cancellation too; what is no answer and no missing connection tells nothing.

        """
        if was_answered(error):
            self.worked()
            return False
        had_the_turn = self._looking is asyncio.current_task()
        if isinstance(error, NotSentError) and finds_no_network(error):
            self._found_none(error, had_the_turn=had_the_turn)
            # Of a change that was tried before and has no answer it may be the second attempt that found none.
            return self.is_gone and error.delivery is Delivery.NOT_SENT
        if had_the_turn:
            self._looking = None
            self._let_one_look()
        return False

    def worked(self) -> None:
        """Note that a request was answered: all may go on."""
        if self.error is None:
            return
        self.gone_for, was_given_up = self.seconds_gone, self.given_up is not None
        self.error = None
        if not was_given_up:
            self._let_all_go()
            self._tell()

    def _found_none(self, error: NotSentError, *, had_the_turn: bool) -> None:
        if not self.seconds or self.given_up is not None:
            return
        now = asyncio.get_running_loop().time()
        is_news, self.error = self.error is None, error
        if is_news:
            self._gone_since, self._looks = now, 0
        elif not had_the_turn:
            return  # it left before the others began to wait
        self._looking = None
        self._looks += 1
        left = self._gone_since + self.seconds - now
        if left <= 0:
            self._give_up(error, now)
            return
        pause = min(left, pause_before_look(self._looks, self._random()))
        self._pause = asyncio.get_running_loop().call_later(pause, self._let_one_look)
        if is_news:
            self._tell()

    def _give_up(self, error: NotSentError, now: float) -> None:
        self.gone_for = now - self._gone_since
        self.given_up = BulkAbortedError(f"the network was gone for {self.gone_for:.0f} s: {error.summary}")
        self.given_up.__cause__ = error
        self._let_all_go()
        self._tell()

    def _let_one_look(self) -> None:
        self._is_due = True
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)
                break

    def _let_all_go(self) -> None:
        self._looking, self._is_due = None, False
        if self._pause is not None:
            self._pause.cancel()
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)

    def _tell(self) -> None:
        if self.on_change is not None:
            try:
                self.on_change(self)
            except Exception:
                logger.exception("on_change failed")  # the run goes on
        elif self.is_gone and self.error is not None:
            patience = "as long as it takes" if self.seconds == inf else f"up to {self.seconds:g} s"
            logger.warning("%s; it is tried again for %s", self.error.summary, patience)
        elif self.given_up is None:
            logger.warning("the network is back after %.0f s", self.gone_for)
