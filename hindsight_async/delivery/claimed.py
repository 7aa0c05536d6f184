"""Rows that other runs had in hand: a bulk run asks for them again at its end, since a run that died lets them go.

Whether a run lives shows when its lease is over: one that does has renewed it by then. So what is still in hand after
the longest lease that was left at the first asking is in living hands, and stays `claimed`.
"""

import asyncio
import time
from collections.abc import AsyncGenerator
from typing import Final, Generic, TypeVar

from hindsight_async.delivery.input import IncomingRows
from hindsight_async.delivery.outcomes import Outcome, OutcomeStatus
from hindsight_async.delivery.row import IN_HAND_SECONDS, Row, claim
from hindsight_async.errors import LedgerInUseError

Request = TypeVar("Request")
Response = TypeVar("Response")

FIRST_PAUSE: Final = 0.05
"""Seconds between the first two askings; each pause is twice the one before."""

LONGEST_PAUSE: Final = 1.0
"""Seconds between two askings, at most."""


class ClaimedRows(Generic[Request, Response]):
    """The rows of one bulk run that others have in hand, each with its outcome should it stay so.

    They are as many as other runs have in hand, however long the input is.

    Args:
        input_rows: Where the rows give back their place, so that the others come in.

    """

    def __init__(self, input_rows: IncomingRows[Request]) -> None:
        self._input_rows = input_rows
        self._rows: dict[Row[Request, Response], Outcome[Request, Response]] = {}
        self._is_over = False

    def keep(self, row: Row[Request, Response], outcome: Outcome[Request, Response]) -> bool:
        """Take a row that others have in hand; return False of every other, and once nobody asks again."""
        if outcome.status is not OutcomeStatus.CLAIMED or self._is_over:
            return False
        if not row.ahead:
            self._input_rows.give_back()
            row.ahead = True
        self._rows[row] = outcome
        return True

    async def ask_again(self) -> AsyncGenerator[Row[Request, Response]]:
        """Yield each row once it is free, with no outcome, or others are done with it, with its outcome."""
        ends: float | None = None
        pause = FIRST_PAUSE
        while self._rows and (ends is None or time.monotonic() < ends):
            if ends is not None:
                await asyncio.sleep(min(pause, ends - time.monotonic()))
                pause = min(2 * pause, LONGEST_PAUSE)
            for row in await self._ask():
                yield row
            if ends is None:
                # A little later than the database says, whose clock has no say here.
                ends = (
                    time.monotonic() + max(map(_lease_seconds, self._rows.values()), default=0) + FIRST_PAUSE
                )

    async def _ask(self) -> list[Row[Request, Response]]:
        rows = list(self._rows)
        for row in rows:
            row.outcome = None
        await claim(rows)
        for row in rows:
            if row.outcome is not None and row.outcome.status is OutcomeStatus.CLAIMED:
                self._rows[row] = row.outcome
        # No row is given away in whose place a cancellation could lose it: what is asked from here on awaits nothing.
        decided = [row for row in rows if row.outcome is not self._rows[row]]
        for row in decided:
            del self._rows[row]
        return decided

    def end(self) -> list[tuple[Row[Request, Response], Outcome[Request, Response]]]:
        """Return the rows that stay claimed; none is kept from here on."""
        self._is_over = True
        rows, self._rows = self._rows, {}
        return list(rows.items())


def _lease_seconds(outcome: Outcome[Request, Response]) -> float:
    error = outcome.error
    seconds = error.retry_after if isinstance(error, LedgerInUseError) else None
    return IN_HAND_SECONDS if seconds is None else seconds
