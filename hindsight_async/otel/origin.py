"""What all that is told of one session has in common: where its calls go, and what its user says of it."""

from urllib.parse import urlsplit
from weakref import ref

from hindsight_async.otel.conventions import (
    SERVER_ADDRESS,
    SERVER_PORT,
    URL_FULL,
    Attributes,
    Value,
    of_route,
)
from hindsight_async.session import HindsightSession

_DEFAULT_PORTS = {"http": 80, "https": 443}
_REDACTED = "REDACTED"


class Origin:
    """One session, which is not kept alive: it holds those who listen to it.

    Args:
        session: Whose calls are told of.
        attributes: What its user says of it.

    """

    def __init__(self, session: HindsightSession, attributes: Attributes) -> None:
        self._session = ref(session)
        self._given = dict(attributes)
        self._base_url: str | None = None
        self._attributes = self._given

    def attributes(self) -> dict[str, Value]:
        """Return what the user says, and host and port."""
        return {**self._given_and_server()}

    def of_call(self, route: str) -> dict[str, Value]:
        """Return the same of a call on a route such as `GET /interviews/{id}`, which has no ids, and few values."""
        return {**self._given_and_server(), **of_route(route)}

    def full_url(self, route: str) -> dict[str, str]:
        """Return the address with its ids redacted: the conventions want one, and ids are nobody's business."""
        self._given_and_server()
        if self._base_url is None:
            return {}
        return {URL_FULL: self._base_url + route.partition(" ")[2].replace("{id}", _REDACTED)}

    def _given_and_server(self) -> dict[str, Value]:
        base_url = self._read_base_url()
        if base_url != self._base_url:
            self._base_url = base_url
            self._attributes = {**self._given, **({} if base_url is None else _server(base_url))}
        return self._attributes

    def _read_base_url(self) -> str | None:
        session = self._session()
        try:
            return None if session is None else session.base_url
        except ValueError:  # as the call is about to say itself
            return None


def _server(base_url: str) -> dict[str, Value]:
    parts = urlsplit(base_url)
    return {SERVER_ADDRESS: parts.hostname or "", SERVER_PORT: parts.port or _DEFAULT_PORTS[parts.scheme]}
