"""A proxy out of its URL, and what to do about its refusals."""

import base64
from http import HTTPStatus
from urllib.parse import unquote, urlsplit

from attrs import field, frozen

from hindsight_async.redaction import Secret

_SCHEMES = ("http", "https")


@frozen(eq=False)
class Proxy:
    """Where the proxy is, without user and password, and the headers that name these to it."""

    url: str
    host: str
    headers: dict[str, str] = field(factory=dict[str, str], repr=False)


def parse_proxy(url: Secret) -> Proxy:
    """Take user and password out of a proxy's URL.

    Raises ValueError, which repeats nothing of the URL, since that may carry a password.
    """
    proxy = _read_proxy(url.value)
    if isinstance(proxy, str):
        raise ValueError(proxy)  # out here, where no local variable is the URL  # noqa: TRY004
    return proxy


def _read_proxy(url: str) -> Proxy | str:
    """Return the proxy, or what is wrong with its URL."""
    try:
        parts = urlsplit(url.strip())
        host, port = parts.hostname, parts.port
    except ValueError:
        return "proxy has an unreadable host or port: it must look like http://host:3128"
    if parts.scheme not in _SCHEMES:
        return "proxy must begin with http:// or https:// (SOCKS is not spoken)"
    if not host or parts.path.strip("/") or parts.query or parts.fragment:
        return "proxy must look like http://user:password@host:3128, with no path, query or fragment"
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if ":" in user:
        return "proxy: a user's name cannot hold a colon, which is where the password begins"
    where = f"[{host}]" if ":" in host else host
    where = where if port is None else f"{where}:{port}"
    if not user and not password:
        return Proxy(f"{parts.scheme}://{where}", host)
    encoded = base64.b64encode(f"{user}:{password}".encode()).decode("ascii")
    return Proxy(f"{parts.scheme}://{where}", host, {"Proxy-Authorization": f"Basic {encoded}"})


def advice_on_refusal(status: int) -> str:
    """Say what to do about a proxy that lets nobody through and answers with `status`."""
    match status:
        case HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
            return "check the user and password in its URL"
        case HTTPStatus.FORBIDDEN:
            return "have whoever runs it allow this address"
        case _:
            return "ask whoever runs it why it does not reach this address"
