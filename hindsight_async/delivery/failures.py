"""How many rows of a run failed one after another: what failed together counts once."""

from collections.abc import Iterable
from typing import Any

from hindsight_async.delivery.outcomes import Outcome, OutcomeStatus, counts_against_the_run
from hindsight_async.delivery.row import Row
from hindsight_async.errors import BulkAbortedError

_SUCCESSES = (OutcomeStatus.CREATED, OutcomeStatus.UPDATED)


class FailuresInARow:
    """Counts failures since the last success, and says when there are too many.

    Requests that are under way at a time meet a broken connection or a failing server at a time, so a hiccup of a second
    would nearly use the limit up. Those that were under way when the first row failed by some cause, and fail by the
    same one, count once with it. Rows that were begun later count each, so that a server which goes on failing, and may
    email somebody each time, does not get as many more. So does each refusal, which is about the row itself.

    Args:
        limit: How many are too many.

    Raises:
        ValueError: It is no whole number of at least 1.

    """

    def __init__(self, limit: int) -> None:
        if type(limit) is not int or limit < 1:
            raise ValueError("abort_after_failures must be a whole number of at least 1")
        self._limit = limit
        self._count = 0
        self._together: dict[object, set[int]] = {}
        """For each cause since the last success, the rows that were under way when the first one failed by it."""

    def take(self, outcome: Outcome[Any, Any], at_work: Iterable[Row[Any, Any]]) -> BulkAbortedError | None:
        """Count what became of a row; return what ends the run, None where it goes on.

        Args:
            outcome: Of the row.
            at_work: The rows that workers are at, without this one.

        """
        if outcome.status in _SUCCESSES:
            self._count = 0
            self._together.clear()
        if not counts_against_the_run(outcome):
            return None
        if outcome.status is not OutcomeStatus.REJECTED:
            cause = _cause_of(outcome)
            if outcome.index in self._together.get(cause, ()):
                return None
            self._together.setdefault(cause, {row.index for row in at_work if row.attempts})
        self._count += 1
        if self._count < self._limit:
            return None
        last = outcome.error.summary if outcome.error else outcome.status
        return BulkAbortedError(f"{self._count} rows in a row failed; the last: {last}")


def _cause_of(outcome: Outcome[Any, Any]) -> object:
    error = outcome.error
    foreign = None if error is None else type(error.__cause__)
    return outcome.status, type(error), foreign, getattr(error, "status", None), getattr(error, "code", None)
