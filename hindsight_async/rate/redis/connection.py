"""The connection to Redis: one script, called by one task; tells a Redis that is away from one that says no."""

import asyncio
import hashlib
from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    ClusterDownError,
    NoScriptError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)

from hindsight_async.errors import RedisRefusedError
from hindsight_async.rate.redis.messages import SCRIPT
from hindsight_async.rate.redis.timing import Timing

DIGEST = hashlib.sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()

SLOWEST_CONNECT = 3.0
"""Times `Timing.call` that one call may take with everything that has to be said on a new connection first."""

UNAUTHENTICATED = "authenticated"
"""In the texts with which Redis refuses what comes before the password; redis-py makes no AuthenticationError of them."""

PARTS = ("permits", "state", "named", "probes", "processes", "interactive", "bulk")


class RedisAwayError(Exception):
    """Redis cannot be reached, or does not answer."""


def keys_of(organisation: str, process: str) -> list[str]:
    """Name the keys of an organisation, all in one hash slot of a cluster; its own name is not in them."""
    digest = hashlib.sha256(organisation.encode()).hexdigest()[:32]
    return [f"hindsight:{{{digest}}}:{part}" for part in (*PARTS, f"call:{process}")]


class Connection:
    """Calls the script, over a connection made when first needed.

    Args:
        url: Of Redis.
        timing: How long a call may take.

    Raises:
        ValueError: The URL is none of Redis.

    """

    def __init__(self, url: str, timing: Timing) -> None:
        self._url = url
        self._timing = timing
        self._client = self._new_client()

    def _new_client(self) -> Any:
        try:
            # A call is never repeated below this: what became of a lost one is told to the script by the next.
            return Redis.from_url(  # pyright: ignore[reportUnknownMemberType]
                self._url,
                socket_timeout=self._timing.call,
                socket_connect_timeout=self._timing.call,
                retry=Retry(NoBackoff(), 0),
            )
        except ValueError:
            # Its text may show a part of the password.
            raise ValueError(
                "url must be one of Redis, such as redis://:password@host:6379/0 (special characters quoted)"
            ) from None

    async def call(self, keys: Sequence[str], document: str) -> Sequence[Any]:
        """Run the script.

        Args:
            keys: As the script names them.
            document: Its one argument.

        Returns:
            What the script returned.

        Raises:
            RedisAwayError: Redis is out of reach, or may be in a moment what it is not now.
            RedisRefusedError: It says no, and will until somebody mends something.

        """
        try:
            async with asyncio.timeout(self._timing.call * SLOWEST_CONNECT):
                return await self._evaluate(keys, document)
        except (RedisError, TimeoutError, OSError) as error:
            raise _judged(error) from None

    async def _evaluate(self, keys: Sequence[str], document: str) -> Sequence[Any]:
        try:
            answer: Sequence[Any] = await self._client.execute_command(
                "EVALSHA", DIGEST, len(keys), *keys, document
            )
        except NoScriptError:
            answer = await self._client.execute_command("EVAL", SCRIPT, len(keys), *keys, document)
        return answer

    def start_afresh(self) -> None:
        """Leave the connection to the event loop that is gone."""
        self._client = self._new_client()

    async def close(self) -> None:
        """Close the connection; the next call opens another."""
        client, self._client = self._client, self._new_client()
        try:
            await client.aclose()
        except (RedisError, OSError, TimeoutError):
            # Closed or broken, it is gone.
            return


def _judged(error: Exception) -> RedisAwayError | RedisRefusedError:
    text = str(error) or type(error).__name__
    if _is_about_the_password(error):
        return RedisRefusedError(f"Redis lets nobody in with this user and password: {text}")
    if isinstance(error, ResponseError) and not isinstance(error, (ReadOnlyError, ClusterDownError)):
        return RedisRefusedError(f"Redis refuses: {text}")
    return RedisAwayError(text)


def _is_about_the_password(error: BaseException | None) -> bool:
    # The client may wrap what Redis said into an error of the connection.
    while error is not None:
        if isinstance(error, (AuthenticationError, AuthorizationError)) or UNAUTHENTICATED in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False
