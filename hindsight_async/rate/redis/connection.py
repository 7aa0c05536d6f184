"""The connection to Redis: one script, called by one task; tells a Redis that is away from one that says no."""

import asyncio
import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from redis.asyncio import Redis, RedisCluster
from redis.exceptions import (
    AskError,
    AuthenticationError,
    AuthorizationError,
    ClusterError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
    ResponseError,
    TryAgainError,
)

from hindsight_async.errors import RedisRefusedError
from hindsight_async.rate.redis.messages import SCRIPT
from hindsight_async.rate.redis.timing import Timing
from hindsight_async.rate.redis.url import client_of

DIGEST = hashlib.sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()

SLOWEST_CONNECT = 3.0
"""Times `Timing.call` that one call may take with everything that has to be said on a new connection first."""

CANCELLED_AGAIN_AFTER = 0.05
"""Seconds that a cancelled call is given to end."""

UNAUTHENTICATED = "authenticated"
"""In the texts with which Redis refuses what comes before the password; redis-py makes no AuthenticationError of them."""

CANNOT_SERVE_NOW = (ClusterError, OutOfMemoryError, ReadOnlyError, TryAgainError)
"""Replies of a Redis that time heals, or a failover, or an operator; redis-py takes the code out of their texts."""

CANNOT_SERVE_NOW_CODE = re.compile(
    r"(?:^|: -)(?:OOM|BUSY|LOADING|MISCONF|READONLY|NOREPLICAS|TRYAGAIN|CLUSTERDOWN|MASTERDOWN|UNBLOCKED)\b"
    r"|^max number of clients"
)
"""The same, where redis-py leaves the code in; before version 7 Redis puts it behind the place in the script."""

SENT_ON = ("MOVED ", "ASK ")
"""How a node of a cluster begins the reply to a client that takes it for a server of its own."""

CALLED_BEFORE = ("late", b"late")
"""What the script says to a call number that it has seen."""

PARTS = ("permits", "log", "state", "processes", "interactive", "bulk")


class RedisAwayError(Exception):
    """Redis cannot be reached, does not answer, or cannot serve for now."""


def keys_of(organisation: str, process: str) -> list[str]:
    """Name the keys of an organisation, all in one hash slot of a cluster; its own name is not in them."""
    digest = hashlib.sha256(organisation.encode()).hexdigest()[:32]
    return [f"hindsight:{{{digest}}}:{part}" for part in (*PARTS, f"call:{process}")]


class Connection:
    """Calls the script through a client that somebody else made, and closes.

    Args:
        client: Of redis-py. Its connections serve one event loop in one process, and so does this.
        timing: How long a call may take.

    """

    def __init__(self, client: Redis | RedisCluster, timing: Timing) -> None:
        self._client: Any = client
        self._timing = timing
        # The event loop on which the client was first used; None until then.
        self._home: asyncio.AbstractEventLoop | None = None

    async def call(self, keys: Sequence[str], arguments: Sequence[str]) -> Sequence[Any]:
        """Run the script.

        A client may have its own way to repeat a call after a lost connection or answer. That takes effect once: the
        script does nothing for a call number that it has seen. What it had replied then is lost, as without a
        repetition, and the next call tells what became of it.

        Args:
            keys: As the script names them.
            arguments: Its arguments.

        Returns:
            What the script returned.

        Raises:
            RedisAwayError: Redis is out of reach, or may be in a moment what it is not now; or its answer was lost.
            RedisRefusedError: It says no, and will until somebody mends something.

        """
        self._stay_at_home()
        try:
            answer = await self._evaluate_in_time(keys, arguments)
        except (RedisError, RedisClusterException, TimeoutError, OSError) as error:
            raise _judged(error) from None
        if answer[0] in CALLED_BEFORE:
            raise RedisAwayError("its answer was lost, and the client asked again")
        return answer

    async def _evaluate_in_time(self, keys: Sequence[str], arguments: Sequence[str]) -> Sequence[Any]:
        # In a task of its own, since the client may lose a cancellation, and asyncio.timeout's with it: Python 3.11's
        # wait_for does, with which it sends, and a cluster's client then goes on with its retries.
        call = asyncio.ensure_future(self._evaluate(keys, arguments))
        try:
            await asyncio.wait([call], timeout=self._timing.call * SLOWEST_CONNECT)
            if not call.done():
                raise TimeoutError("no answer in time")
            return call.result()
        finally:
            while not call.done():
                call.cancel()
                await asyncio.wait([call], timeout=CANCELLED_AGAIN_AFTER)
            if not call.cancelled():
                # Told to nobody where it came too late.
                call.exception()

    async def _evaluate(self, keys: Sequence[str], arguments: Sequence[str]) -> Sequence[Any]:
        answer: Sequence[Any]
        with suppress(NoScriptError):
            answer = await self._client.execute_command("EVALSHA", DIGEST, len(keys), *keys, *arguments)
            return answer
        answer = await self._client.execute_command("EVAL", SCRIPT, len(keys), *keys, *arguments)
        return answer

    def _stay_at_home(self) -> None:
        """Refuse before a connection is touched whose answers somebody else may read, or nobody."""
        here = asyncio.get_running_loop()
        self._home = self._home or here
        if self._home is not here:
            raise RedisRefusedError(
                "the Redis client was used on another event loop or in the parent process before: "
                "give each its own RedisBudget and client, or give RedisBudget a URL, which may be used anywhere"
            )

    def start_afresh(self) -> None:
        """Leave what belongs to the event loop that is gone; a client of somebody else belongs to it for good."""

    async def close(self) -> None:
        """Close what is ours; the next call opens it anew."""


class OwnConnection(Connection):
    """Calls the script over a connection that is made from a URL when first needed, on whichever event loop.

    Args:
        url: Of Redis.
        timing: How long a call may take.

    Raises:
        ValueError: The URL is none of Redis.

    """

    def __init__(self, url: str, timing: Timing) -> None:
        self._url = url
        super().__init__(client_of(url, timing.call), timing)

    def start_afresh(self) -> None:
        """Leave the connection to the event loop that is gone."""
        self._client, self._home = client_of(self._url, self._timing.call), None

    async def close(self) -> None:
        """Close the connection; the next call opens another."""
        client = self._client
        self.start_afresh()
        with suppress(RedisError, OSError, TimeoutError):
            # Closed or broken, it is gone.
            await client.aclose()


def connector(redis: str | Redis | RedisCluster, timing: Timing) -> Callable[[], Connection]:
    """Return what makes a connection, each time that a budget begins with nothing.

    Args:
        redis: A URL, or a client that somebody else made.
        timing: How long a call may take.

    Returns:
        A function that makes a new connection of a URL, and gives out the one and only of a client: it knows on which
        event loop that was first used.

    Raises:
        ValueError: The URL is none of Redis.

    """
    if isinstance(redis, str):
        # Tried here, where it was given, and not in the first call.
        OwnConnection(redis, timing)
        return partial(OwnConnection, redis, timing)
    connection = Connection(redis, timing)
    return lambda: connection


def _judged(error: Exception) -> RedisAwayError | RedisRefusedError:
    text = str(error) or type(error).__name__
    chain = list(_with_causes(error))
    if any(isinstance(one, (AuthenticationError, AuthorizationError)) for one in chain) or any(
        UNAUTHENTICATED in str(one) for one in chain
    ):
        return RedisRefusedError(f"Redis lets nobody in with this user and password: {text}")
    # The parser of a lone server's client has classes for these only from redis-py 6 on.
    if isinstance(error, AskError) or text.startswith(SENT_ON):
        return RedisRefusedError(
            "Redis is one node of a cluster: give RedisBudget a redis.asyncio.RedisCluster"
        )
    # A cluster that is being rearranged sends its clients on, which is no answer to what came of it.
    replies = [one for one in chain if isinstance(one, ResponseError) and not isinstance(one, AskError)]
    if replies and not any(_will_pass(reply) for reply in replies):
        return RedisRefusedError(f"Redis refuses: {text}")
    return RedisAwayError(text)


def _with_causes(error: BaseException | None) -> Iterator[BaseException]:
    # The client may wrap what Redis said into an error of the connection, or of the cluster.
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _will_pass(reply: BaseException) -> bool:
    return isinstance(reply, CANNOT_SERVE_NOW) or bool(CANNOT_SERVE_NOW_CODE.search(str(reply)))
