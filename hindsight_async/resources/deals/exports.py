"""Exports of deals: started, waited for and downloaded into a file."""

import asyncio
import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from attrs import frozen

from hindsight_async.call.codec import encode
from hindsight_async.call.execute import Executor
from hindsight_async.call.request import Call, Endpoint
from hindsight_async.call.streaming import ReplyStream
from hindsight_async.errors import (
    APIError,
    DeadlineExceededError,
    ExportFailedError,
    HindsightError,
    WaitTimeoutError,
)
from hindsight_async.rate import Lane
from hindsight_async.resources.deals.export_file import OnProgress, check_writable, copy, written_whole
from hindsight_async.resources.deals.export_link import checked_link, expired, hide_link, is_expired
from hindsight_async.resources.deals.filter_encoding import document_of
from hindsight_async.resources.deals.filters import ExportFilters, checked_texts
from hindsight_async.resources.deals.models import Export, ExportStatus

if TYPE_CHECKING:
    import os


@frozen(kw_only=True)
class _StartExport:
    columns: list[str]
    filters: Mapping[str, Any] | None = None


_COLLECTION = "/deals/export"

_START = Endpoint(method="POST", route="POST /deals/export", reply_type=Export, repeatable=False)
_GET = Endpoint(method="GET", route="GET /deals/export/{id}", reply_type=Export, repeatable=True)
_DOWNLOAD = Endpoint(
    method="GET",
    route="GET /deals/export/{id}/download",
    reply_type=ReplyStream,
    repeatable=True,
    accepts="text/csv, */*;q=0.5",
)

FIRST_POLL_SECONDS = 5.0
"""How long a wait pauses at first."""

LONGEST_POLL_SECONDS = 30.0
"""How long it pauses at most."""

POLL_GROWTH = 1.5
"""By how much each pause is longer than the one before."""

LAST_POLL_SECONDS = 5.0
"""How long the last look may take, by which a wait may be longer than was asked for."""

DEFAULT_WAIT_SECONDS = 1800.0
"""How long an export is waited for where nothing is said. The API speaks of minutes."""


class DealExports:
    """The part of `Deals` that makes files of many deals."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    async def start_export(self, *, columns: Iterable[str], filters: ExportFilters | None = None) -> Export:
        """Have the API make a CSV file of deals (page export-deals).

        It is sent again only where it provably was not processed, since each start makes a file.

        Args:
            columns: Which columns the file is to have, such as `name`, `amount` or `custom_answer_{name}`.
            filters: Which deals; None for all.

        Returns:
            The export, which is pending; its `export_id` is good for 30 days.

        Raises:
            TypeError: An argument is of the wrong type; the text names it.
            ValueError: There are no columns, or one is empty.
            HindsightError: Anything else; where `delivery` is UNKNOWN it may have been started.

        """
        if filters is not None and not isinstance(filters, ExportFilters):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"filters must be ExportFilters, not {type(filters).__name__}")
        request = _StartExport(columns=[*checked_texts("columns", columns)], filters=document_of(filters))
        call = Call(_START, _COLLECTION, encode(request))
        return await self._executor.run(call, lane="interactive", deadline=self._executor.deadline)

    async def get_export(self, export_id: str) -> Export:
        """Read how far an export is (page export-deals).

        Args:
            export_id: As `start_export` returned it.

        Returns:
            The export, also a failed one.

        Raises:
            TypeError: The id is no text.
            ValueError: It is empty or no id.
            HindsightError: The export cannot be read.

        """
        return await self._read(export_id, lane="interactive", deadline=self._executor.deadline)

    async def wait_for_export(
        self,
        export_id: str,
        *,
        timeout: float | None = DEFAULT_WAIT_SECONDS,  # noqa: ASYNC109  it raises what `asyncio.timeout` cannot
    ) -> Export:
        """Read an export, after `FIRST_POLL_SECONDS` and then ever less often, until it is completed.

        Each look is one request, behind single calls. Given up or cancelled, the wait leaves the export alone.

        Args:
            export_id: As `start_export` returned it.
            timeout: Seconds, give or take `LAST_POLL_SECONDS` for the last look; None for no end.

        Returns:
            The completed export.

        Raises:
            TypeError: An argument is of the wrong type.
            ValueError: The id is no id, or `timeout` is negative.
            ExportFailedError: The API could not make it.
            WaitTimeoutError: It was still pending when the time was up; `last` is the export as it was last read.
            HindsightError: It cannot be read. It goes on all the same, and can be waited for again.

        """
        _check_timeout(timeout)
        path = _item_path(export_id)
        loop = asyncio.get_running_loop()
        ends_at = math.inf if timeout is None else loop.time() + timeout
        pause, looks = FIRST_POLL_SECONDS, 0
        last: Export | None = None

        def ran_out() -> WaitTimeoutError:
            how_far = "unknown" if last is None or last.status is None else last.status.value
            what = f"the export is not completed after {timeout:g} s ({how_far})"
            return WaitTimeoutError(what, last=last, method="GET", path=path, attempts=looks)

        while True:
            left = max(ends_at - loop.time(), LAST_POLL_SECONDS)
            looks += 1
            try:
                last = await self._read(export_id, lane="bulk", deadline=None if timeout is None else left)
            except HindsightError as error:
                no_answer = not isinstance(error, APIError) and loop.time() >= ends_at
                if no_answer or isinstance(error, DeadlineExceededError):
                    raise ran_out() from error
                raise
            if last.status is ExportStatus.FAILED:
                raise _failed(last)
            if last.status is ExportStatus.COMPLETED:
                return last
            if loop.time() >= ends_at:
                raise ran_out()
            await asyncio.sleep(min(pause, ends_at - loop.time()))
            pause = min(pause * POLL_GROWTH, LONGEST_POLL_SECONDS)

    async def download_export(
        self, export: Export, path: "str | os.PathLike[str]", *, on_progress: OnProgress | None = None
    ) -> Path:
        """Download the CSV file of a completed export.

        It is written beside `path` and renamed once it is whole, readable for its owner alone; a download that breaks
        off leaves what was there before. The session's deadline ends where the answer begins; from then on
        `Timeouts.read` counts from one piece to the next. Only the API's own origin is sent the key.

        Args:
            export: As `wait_for_export` or `get_export` returned it.
            path: The file; one that is there is replaced.
            on_progress: Called with the bytes that are here, and those that there will be, None where that is unknown.

        Returns:
            Where it is.

        Raises:
            TypeError: An argument is of the wrong type.
            ValueError: The export is not completed, and so has no link.
            OSError: The file cannot be made, which is said before anything is sent, or written.
            ExportFailedError: The API could not make it.
            ExportExpiredError: Its link is no longer taken.
            HindsightError: It cannot be downloaded, or broke off.

        """
        if not isinstance(export, Export):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"export must be an Export, not {type(export).__name__}")
        if export.status is ExportStatus.FAILED:
            raise _failed(export)
        link = export.download_url
        if not link:
            raise ValueError(
                f"the export {export.export_id} has no link yet: wait for it with wait_for_export"
            )
        call = Call(_DOWNLOAD, f"{_item_path(export.export_id)}/download", url=checked_link(link))
        try:
            async with (
                written_whole(path) as write,
                self._executor.stream(call, lane="interactive", deadline=self._executor.deadline) as stream,
            ):
                await copy(stream, write, on_progress)
        except HindsightError as error:
            hide_link(error, link)
            if isinstance(error, APIError) and is_expired(error, export.expires_at, datetime.now(UTC)):
                raise expired(error) from error
            raise
        return Path(path)

    async def export_to_file(
        self,
        path: "str | os.PathLike[str]",
        *,
        columns: Iterable[str],
        filters: ExportFilters | None = None,
        timeout: float | None = DEFAULT_WAIT_SECONDS,  # noqa: ASYNC109  as in `wait_for_export`
    ) -> Path:
        """Export deals into a CSV file: start, wait, download.

        Where the wait ends early the export goes on: `wait_for_export` and `download_export` take it up by the id in
        `last.export_id` of a WaitTimeoutError, and in the `path` of every other HindsightError.

        Args:
            path: The file; one that is there is replaced.
            columns: Which columns the file is to have.
            filters: Which deals; None for all.
            timeout: Seconds to wait for the export; None for no end.

        Returns:
            Where it is.

        Raises:
            TypeError: As from `start_export`.
            ValueError: As from `start_export` and `wait_for_export`.
            OSError: The file cannot be made, which is said before anything is sent, or written.
            HindsightError: As from `start_export`, `wait_for_export` and `download_export`.

        """
        _check_timeout(timeout)
        await check_writable(path)
        started = await self.start_export(columns=columns, filters=filters)
        try:
            export = await self.wait_for_export(started.export_id, timeout=timeout)
        except WaitTimeoutError as error:
            error.last = error.last or started
            raise
        return await self.download_export(export, path)

    async def _read(self, export_id: str, *, lane: Lane, deadline: float | None) -> Export:
        call = Call(_GET, _item_path(export_id), known={"export_id": export_id})
        return await self._executor.run(call, lane=lane, deadline=deadline)


def _item_path(export_id: str) -> str:
    if not isinstance(export_id, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"export_id must be text (str), not {type(export_id).__name__}")
    # Dots alone would lead to another route.
    if not export_id.strip("."):
        raise ValueError("export_id must be the id that start_export returned")
    return f"{_COLLECTION}/{quote(export_id, safe='')}"


def _check_timeout(timeout: float | None) -> None:
    if timeout is None:
        return
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"timeout must be seconds, or None for no end, not {type(timeout).__name__}")
    if not timeout >= 0:
        raise ValueError("timeout must be at least 0 seconds, or None for no end")


def _failed(export: Export) -> ExportFailedError:
    return ExportFailedError(
        f"the export failed: {export.error or 'the API gives no reason'}",
        export_id=export.export_id,
        reason=export.error,
        method="GET",
        path=_item_path(export.export_id),
        attempts=1,
    )
