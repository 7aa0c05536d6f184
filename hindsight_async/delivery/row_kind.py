"""What a resource says about its rows: when two are the same, what the ledger keeps of one, what it tells of an earlier one."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

from attrs import frozen

from hindsight_async.call.execute import SendHooks
from hindsight_async.delivery.ledger.entries import LedgerEntry, LedgerRow
from hindsight_async.delivery.outcomes import OutcomeStatus

if TYPE_CHECKING:
    from hindsight_async.delivery.ledger.contexts import Context

Request = TypeVar("Request")
Response = TypeVar("Response")

Send = Callable[[Request, SendHooks], Awaitable[Response]]
"""Sends a request, and tells the hooks when it leaves."""


def _kept_in_no_ledger(*_: object) -> NoReturn:
    raise TypeError("rows of this kind are kept in no ledger")


def _has_no_context(_: object) -> None:
    return None


@frozen(kw_only=True)
class RowKind(Generic[Request, Response]):
    """What a resource says about its rows, and a caller about theirs.

    What begins with `ledger_row` is asked only where there is a ledger.
    """

    success: OutcomeStatus
    """What a row becomes that the API took."""

    key_of: Callable[[Request], str]
    """Returns the same key for requests that would do the same; raises TypeError for what is no such request."""

    id_of: Callable[[Response], int]
    """Returns the interview request id."""

    caller_key_of: Callable[[Request], str] | None = None
    """Returns the caller's own key, checked, which then goes before that of `key_of`; None where they have none."""

    ledger_row: Callable[[str, int, Request], LedgerRow] = _kept_in_no_ledger
    """Returns what the ledger is told of a key, a row's index and its request."""

    kept_of: Callable[[Response], Mapping[str, Any]] = _kept_in_no_ledger
    """Returns what the ledger keeps of a response beside its id, by the names of LedgerEntry."""

    context_of: Callable[[Request], "Context | None"] = _has_no_context
    """Returns the contact's notes that a request sets, None where it leaves them as they are."""

    earlier_response: Callable[[LedgerEntry], Response] = _kept_in_no_ledger
    """Returns the response of an earlier call, as far as the ledger kept it."""

    body_of: Callable[[Request], Mapping[str, Any]] = _kept_in_no_ledger
    """Returns the request as a queue keeps it, in plain JSON types."""

    request_of: Callable[[Mapping[str, Any]], Request] = _kept_in_no_ledger
    """Makes the request again from what `body_of` returned."""

    once_within: timedelta | None = None
    """How long a person for whom there is one row gets no other (`ledger.once_per_contact`); None for no such rule."""

    @property
    def is_create(self) -> bool:
        """Whether such rows make something, and name nothing that could be missing."""
        return self.success is OutcomeStatus.CREATED
