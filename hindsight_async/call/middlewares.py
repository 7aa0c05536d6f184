"""What is looked at once more just before each request that aiohttp sends, also those that it sends by itself."""

from typing import Any
from urllib.parse import urljoin

import aiohttp
from yarl import URL

from hindsight_async.call.access import is_on_this_machine
from hindsight_async.call.failure import NOT_CONNECTED
from hindsight_async.call.request import Call

_REPEATED_BY_AIOHTTP = frozenset({"GET", "PUT", "DELETE"})

_FOR_THE_API_ALONE = ("Authorization", "Proxy-Authorization")


def address_of(link: str, base_url: str) -> URL:
    """Return the address that a link means; as it is spelled, since a signature may be of that."""
    return URL(urljoin(f"{base_url}/", link), encoded=True)


def is_of(url: URL, base_url: str) -> bool:
    """Return whether an address is one of the API's own origin."""
    return url.origin() == URL(base_url).origin()


def middlewares_for(call: Call[Any], base_url: str) -> tuple[aiohttp.ClientMiddlewareType, ...]:
    """Return what each request of a call passes, the outermost first."""
    never_repeat = (_never_repeat,) if call.endpoint.method in _REPEATED_BY_AIOHTTP else ()
    return never_repeat if call.url is None else (*never_repeat, _key_only_for(base_url))


class _LostConnectionError(aiohttp.ClientConnectionError):
    """A lost connection, in a class that aiohttp does not repeat GET requests on."""


async def _never_repeat(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    # aiohttp sends idempotent verbs again by itself on a dead pooled connection, past the rate budget and the count of
    # attempts; what is repeated is decided in one place, and not there. It does so on just these two classes (and not
    # on their common parent), so the same news in another class passes it by. POST and PATCH it never repeats.
    try:
        return await handler(request)
    except NOT_CONNECTED:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise _LostConnectionError(f"{type(error).__name__}: {error}") from None


def _key_only_for(base_url: str) -> aiohttp.ClientMiddlewareType:
    """Return what keeps the API key from every origin but the API's own, wherever a link or a redirect leads."""

    async def keep_the_key(
        request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        origin = request.url.origin()
        if not is_of(request.url, base_url):
            # What a link opens is as confidential as the key, except between two programs on this machine.
            if origin.scheme != "https" and not (
                is_on_this_machine(str(origin)) and is_on_this_machine(base_url)
            ):
                raise aiohttp.InvalidURL(origin, "not https")
            for name in _FOR_THE_API_ALONE:
                request.headers.popall(name, None)
        return await handler(request)

    return keep_the_key
