"""Interviews that are accepted now and created when the plan lets them: `Interviews.queue`."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from hindsight_async.call.execute import Executor, SendHooks
from hindsight_async.delivery.options import DEFAULT_ABORT_AFTER_FAILURES
from hindsight_async.rate import Lane
from hindsight_async.rate.client import check_lane
from hindsight_async.resources.interviews.models import CreatedInterview, CreateInterview
from hindsight_async.resources.interviews.recipients import CreateGuard

if TYPE_CHECKING:
    from os import PathLike

    from hindsight_async.delivery.ledger.ledger import Ledger
    from hindsight_async.delivery.outcomes import Outcome
    from hindsight_async.delivery.queue.queue import DurableQueue

DEFAULT_MAX_AGE: Final = timedelta(days=7)
"""How long a request may have been queued and still be sent without a person."""


class InterviewQueues:
    """What `Interviews` has of queues."""

    _executor: Executor
    _guard: CreateGuard
    _max_in_flight: int
    _create: Callable[[CreateInterview, Lane, float | None, SendHooks | None], Awaitable[CreatedInterview]]

    @property
    def _row_deadline(self) -> float | None:
        raise NotImplementedError

    def queue(
        self,
        ledger: "Ledger | str | PathLike[str]",
        *,
        send: bool = True,
        lane: Lane = "bulk",
        max_age: timedelta = DEFAULT_MAX_AGE,
        once_per_contact_within: timedelta | None = None,
        abort_after_failures: int = DEFAULT_ABORT_AFTER_FAILURES,
        on_outcome: "Callable[[Outcome[CreateInterview, CreatedInterview]], object] | None" = None,
    ) -> "DurableQueue[CreateInterview, CreatedInterview]":
        """Accept requests on disk and create their interviews when the plan lets them, each once (extra `bulk`).

        While its block is open, everything in the ledger that is queued is sent in the background, also what an
        earlier process left there. One process at a time sends from a file, many from a PostgreSQL database. What was
        not sent for a passing reason is tried again, after growing pauses; nothing else is repeated. A refused key, an
        exhausted quota and many failures in a row pause the queue for every process, until somebody lifts that
        (`hindsight-async queue resume`).

        Args:
            ledger: The path of a file, the URL of a database, or a Ledger. The body of a request, and with it the
                address, is in it until the interview is created, also with `store_addresses=False`.
            send: False to only accept: others send, and a file may be in use by one of them.
            lane: "interactive" goes before "bulk".
            max_age: What was queued for longer becomes `expired`, and is not sent without a person.
            once_per_contact_within: A person who has a row in the ledger under another key, which is queued or on its way,
                or was created or left unknown within this time, gets no other: what is put is a `duplicate` then.
            abort_after_failures: So many requests in a row that fail, but for want of a network, pause the queue.
            on_outcome: A function, also an asynchronous one, which is called at most once for each request with what
                became of it; what it raises is logged.

        Returns:
            The queue, to be entered with `async with`.

        Raises:
            TypeError: `on_outcome` is no function, or `max_age` no timedelta.
            ValueError: `abort_after_failures` is below 1, `a time is not above 0, the lane is unknown, or `ledger` is
                no place for one.
            ModuleNotFoundError: The extra is not installed.

        """
        from hindsight_async.delivery.ledger.ledger import Ledger  # noqa: PLC0415  needs the extra `bulk`
        from hindsight_async.delivery.queue.queue import DurableQueue  # noqa: PLC0415  the same
        from hindsight_async.resources.interviews.rows import creates_with  # noqa: PLC0415  later

        check_lane(lane)
        if on_outcome is not None and not callable(on_outcome):
            raise TypeError(f"on_outcome must be callable, not {type(on_outcome).__name__}")
        if not isinstance(max_age, timedelta):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"max_age must be a timedelta, not {type(max_age).__name__}")
        if max_age <= timedelta(0):
            raise ValueError("max_age must be above 0: so long a request may wait")
        if type(abort_after_failures) is not int or abort_after_failures < 1:
            raise ValueError("abort_after_failures must be a whole number of at least 1")
        executor = self._executor
        return DurableQueue(
            creates_with(None, once_per_contact_within),
            lambda request, hooks: self._create(request, lane, self._row_deadline, hooks),
            check=lambda request: self._guard.check_recipient(request.contact_email),
            open_session=executor.open if send else None,
            ledger=ledger if isinstance(ledger, Ledger) else Ledger(ledger),
            limit=lambda: executor.requests_per_minute,
            max_in_flight=self._max_in_flight,
            abort_after_failures=abort_after_failures,
            max_age=max_age,
            on_outcome=on_outcome,
        )
