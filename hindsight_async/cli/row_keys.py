"""The keys of rows whose requests are on their way into a run, which knows the requests alone."""

from hindsight_async.cli.contacts import ContactRow
from hindsight_async.resources.interviews.models import CreateInterview


class RowKeys:
    """Keeps the key of each row from when its request is handed over until the run asks for it."""

    def __init__(self) -> None:
        self._by_request: dict[int, str] = {}
        """By the identity of a request, which lives until its run has asked for the key."""

    def request_of(self, row: ContactRow) -> CreateInterview:
        """Return the request of a row, and keep its key."""
        if row.key is not None:
            self._by_request[id(row.request)] = row.key
        return row.request

    def key_of(self, request: CreateInterview) -> str:
        """Return the key of a request, which is asked for once."""
        return self._by_request.pop(id(request))
