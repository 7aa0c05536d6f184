"""Where requests go and with which key: as passed, else as the environment says at that moment."""

import ipaddress
import os
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from attrs import field, frozen

from hindsight_async.call.reading import ACCEPTED_PACKING
from hindsight_async.call.request import JSON
from hindsight_async.redaction import Secret

if TYPE_CHECKING:
    from hindsight_async.call.proxy import Proxy

API_KEY_VARIABLE = "HINDSIGHT_API_KEY"
BASE_URL_VARIABLE = "HINDSIGHT_BASE_URL"

DEFAULT_BASE_URL = "https://app.usehindsight.com/api/v1"

UNKNOWN_VERSION = "0+unknown"


@cache
def installed_version() -> str:
    """Return the version of this package; `UNKNOWN_VERSION` where no installer wrote it down."""
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415  later, with what it needs

    try:
        return version("hindsight-async")
    except PackageNotFoundError:
        # Copied or frozen into a program, without what an installer writes beside it.
        return UNKNOWN_VERSION


@frozen(eq=False)
class Access:
    """The address, the key, and the headers that every request has."""

    base_url: str
    api_key: Secret
    headers: Mapping[str, str] = field(repr=False)

    def headers_by(self, proxy: "Proxy | None") -> tuple[Mapping[str, str], Mapping[str, str] | None]:
        """Return what to tell the API, and what to tell the proxy alone where it makes a tunnel, as for https."""
        if proxy is None:
            return self.headers, None
        if self.base_url.startswith("https:"):
            return self.headers, proxy.headers
        return {**self.headers, **proxy.headers}, None


def check_given(
    api_key: Secret | None, base_url: str | None, proxy: "Proxy | None", *, allow_plain_http: bool
) -> None:
    """Raise, as `read_access` does, for what was passed and is wrong; the environment is not read."""
    if not isinstance(allow_plain_http, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"allow_plain_http must be bool, not {type(allow_plain_http).__name__}")
    if api_key is not None:
        _read_api_key(api_key)
    if base_url:
        _check_proxy(proxy, read_base_url(base_url, allow_plain_http=allow_plain_http))


def read_access(
    api_key: Secret | None = None,
    base_url: str | None = None,
    proxy: "Proxy | None" = None,
    *,
    allow_plain_http: bool = False,
) -> Access:
    """Return what was passed, and the rest as the environment says it now.

    Args:
        api_key: the key as passed, or None for HINDSIGHT_API_KEY.
        base_url: the address as passed, or None for HINDSIGHT_BASE_URL, else `DEFAULT_BASE_URL`.
        proxy: what requests go through, which must not see the key.
        allow_plain_http: whether the address may be one of plain http on another machine.

    Raises:
        ValueError: a missing or wrong key or address; the text names the argument or the variable.
        TypeError: a key that is no text.

    """
    where = read_base_url(base_url, allow_plain_http=allow_plain_http)
    _check_proxy(proxy, where)
    key = _read_api_key(api_key)
    return Access(
        where,
        key,
        {
            "Accept": JSON,
            "Accept-Encoding": ACCEPTED_PACKING,
            "Authorization": f"Bearer {key.value}",
            "User-Agent": f"hindsight-async/{installed_version()}",
        },
    )


def _read_api_key(given: Secret | None) -> Secret:
    key = Secret(os.environ.get(API_KEY_VARIABLE, "")) if given is None else given
    problem = _problem_with(key)
    if problem is not None:
        raise problem  # out here, where no local variable is the key
    return key


def _problem_with(api_key: Secret) -> ValueError | TypeError | None:
    key = api_key.value
    if not key:
        return ValueError(f"no API key: pass api_key or set the variable {API_KEY_VARIABLE}")
    if not isinstance(key, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        return TypeError(f"api_key must be text (str), not {type(key).__name__}")
    if not key.isascii() or not key.isprintable() or " " in key:
        return ValueError(
            f"the API key (api_key or {API_KEY_VARIABLE}) must be plain characters with no space or line end"
        )
    return None


def read_base_url(given: str | None, *, allow_plain_http: bool = False) -> str:
    """Return the address without a final slash, as `read_access` does."""
    name = "base_url" if given else BASE_URL_VARIABLE
    base_url = given or os.environ.get(BASE_URL_VARIABLE) or DEFAULT_BASE_URL
    return _checked_base_url(base_url, name, allow_plain_http=allow_plain_http)


def _checked_base_url(base_url: str, name: str, *, allow_plain_http: bool = False) -> str:
    like = f"{name} must look like {DEFAULT_BASE_URL}, with no query or fragment"
    try:
        parts = urlsplit(base_url)
        _ = parts.port  # which raises for what is no port
    except ValueError:
        raise ValueError(like) from None
    # urlsplit drops line ends; a pasted one shall not pass for part of the address.
    is_one_word = base_url.isprintable() and " " not in base_url
    if parts.scheme not in {"http", "https"} or not parts.hostname or not is_one_word:
        raise ValueError(like)
    if parts.query or parts.fragment:
        raise ValueError(like)
    if parts.username is not None:
        raise ValueError(
            f"{name} must not carry a user or password; the key goes into api_key or {API_KEY_VARIABLE}"
        )
    if parts.scheme == "http" and not _is_loopback(parts.hostname):
        _check_plain_http(parts.hostname, name, allow_plain_http=allow_plain_http)
    return base_url.rstrip("/")


def _check_plain_http(host: str, name: str, *, allow_plain_http: bool) -> None:
    why = f"{name} must be https for {host}: plain http would show the API key to the network"
    # What a test network may see is a key that was made up for it; this host lets real ones in.
    if host.rstrip(".") == urlsplit(DEFAULT_BASE_URL).hostname:
        raise ValueError(why)
    if not allow_plain_http:
        raise ValueError(
            f"{why} (http is taken for this machine only; for an emulator in a test network of its own "
            "pass allow_plain_http=True)"
        )


def _check_proxy(proxy: "Proxy | None", base_url: str) -> None:
    if proxy is not None and base_url.startswith("http:") and not _is_loopback(proxy.host):
        raise ValueError(
            "proxy must be on this machine for a base_url of plain http: it would see the API key"
        )


def is_on_this_machine(base_url: str) -> bool:
    """Return whether it is an address that a session takes, and one of this very machine."""
    try:
        return _is_loopback(urlsplit(_checked_base_url(base_url, "base_url")).hostname or "")
    except ValueError:
        return False


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
