"""`documents upload`: recordings and papers to a deal or to the library."""

import asyncio
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from hindsight_async.cli.file_arguments import JsonOption, LinksOption
from hindsight_async.cli.help import command_app, examples
from hindsight_async.cli.json_lines import json_line, plain_values
from hindsight_async.cli.progress import LIVE_SECONDS, PLAIN_SECONDS
from hindsight_async.cli.shared_options import DEFAULT_SHARED, SharedOption
from hindsight_async.cli.terminal import ExitCode, harmless, open_console, refuse, say
from hindsight_async.errors import Delivery, HindsightError
from hindsight_async.resources.documents.models import UploadedDocument
from hindsight_async.resources.documents.source import OnProgress
from hindsight_async.session import HindsightSession

documents_app = command_app(
    "documents",
    "Upload documents to a deal or to the library.",
    "documents upload call.mp3 --deal-id deal_xyz789",
)

LONGEST_NAME = 30
"""How many characters of a file's name stand before its bar, so that this fits a line of 80."""

_URLS = ("http://", "https://")


@documents_app.command(
    help_epilogue=examples(
        "documents upload call.mp3 --deal-id deal_xyz789",
        "documents upload card.pdf --type intel --competitor-name Rival",
    )
)
def upload(
    *files: str,
    deal_id: str | None = None,
    salesforce_id: str | None = None,
    hubspot_id: str | None = None,
    library: Annotated[str | None, Parameter(name="--type")] = None,
    competitor_id: str | None = None,
    competitor_name: str | None = None,
    content_type: str | None = None,
    source: str | None = None,
    links: LinksOption = False,
    as_json: JsonOption = False,
    shared: SharedOption = DEFAULT_SHARED,
) -> int:
    """Upload files one after another, to a deal or (with --type) to the library.

    Parameters
    ----------
    files
        Files, or URLs that Hindsight fetches by itself.
    deal_id
        Hindsight's id of the deal.
    salesforce_id
        Or the id of its Salesforce opportunity.
    hubspot_id
        Or the id of its HubSpot deal.
    library
        For the library: asset or intel.
    competitor_id
        For the library: the competitor's id.
    competitor_name
        Or its name.
    content_type
        The media type of all of them; else guessed from each name.
    source
        Where they come from, such as gong or drive.
    links
        Show where each can be downloaded, too.
    as_json
        Print each as a line of JSON.
    shared
        For all commands.

    """
    deal = {"deal_id": deal_id, "salesforce_id": salesforce_id, "hubspot_id": hubspot_id}
    competitor = {"competitor_id": competitor_id, "competitor_name": competitor_name}
    if not files:
        return refuse("name at least one file")
    if library is None and any(competitor.values()):
        return refuse("--competitor-id and --competitor-name go with --type, for the library")
    if library is not None and any(deal.values()):
        return refuse("--type is for the library: give it, or a deal")
    missing = [file for file in files if not file.startswith(_URLS) and not Path(file).is_file()]
    if missing:
        return refuse(f"{missing[0]} is no file; nothing was sent")
    target = deal if library is None else {"type": library, **competitor}
    options = {**target, "content_type": content_type, "source": source}
    return asyncio.run(
        _upload_all(files, options, shared.session(deadline=None), as_json=as_json, links=links)
    )


async def _upload_all(
    files: tuple[str, ...],
    options: Mapping[str, Any],
    hindsight: HindsightSession,
    *,
    as_json: bool,
    links: bool,
) -> int:
    code = ExitCode.DONE
    async with hindsight:
        for file in files:
            try:
                uploaded = await _upload(file, options, hindsight)
            except HindsightError as error:
                say(f"hindsight-async: {harmless(file)}: {error}")
                unknown = error.delivery is Delivery.UNKNOWN
                code = ExitCode.UNKNOWN_OUTCOMES if unknown else max(code, ExitCode.SOME_FAILED)
            else:
                sys.stdout.write((_as_json if as_json else _line)(uploaded, links=links))
                sys.stdout.flush()
    return code


async def _upload(file: str, options: Mapping[str, Any], hindsight: HindsightSession) -> UploadedDocument:
    upload = (
        hindsight.documents.upload_to_library if "type" in options else hindsight.documents.upload_to_deal
    )
    if file.startswith(_URLS):
        return await upload(file_url=file, **options)
    with _shown_progress(Path(file).name) as on_progress:
        return await upload(file=file, on_progress=on_progress, **options)


@contextmanager
def _shown_progress(name: str) -> Generator[OnProgress]:
    """Show how far one file is: a live line on a terminal, a plain one every few seconds elsewhere."""
    console = open_console(stderr=True)
    if not console.is_terminal:
        yield _plain_lines(name)
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        DownloadColumn(),
        TimeRemainingColumn(),
    )
    bar = Progress(*columns, console=console, auto_refresh=False, transient=True)
    task = bar.add_task(_short(harmless(name)), total=None)
    renewed_at = 0.0

    def renew(sent: int, total: int | None) -> None:
        nonlocal renewed_at
        now = time.monotonic()
        if sent == total or now - renewed_at > LIVE_SECONDS:
            renewed_at = now
            with suppress(OSError):
                bar.update(task, completed=sent, total=total, refresh=True)

    # Renewed by the upload alone, since an error in a thread of Progress would be nobody's; a terminal that is gone takes
    # no line any more, and the upload goes on.
    with suppress(OSError):
        bar.start()
    try:
        yield renew
    finally:
        with suppress(OSError):
            bar.stop()


def _plain_lines(name: str) -> OnProgress:
    said_at = time.monotonic()

    def tell(sent: int, total: int | None) -> None:
        nonlocal said_at
        now = time.monotonic()
        if now - said_at >= PLAIN_SECONDS:
            said_at = now
            say(f"{harmless(name)}: {sent:,} of {total:,} bytes sent")

    return tell


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"


def _line(uploaded: UploadedDocument, *, links: bool) -> str:
    document = uploaded.document
    cells = [document.id, document.status, document.file_name, *([document.url] if links else [])]
    return "\t".join(harmless(cell or "") for cell in cells) + "\n"


def _as_json(uploaded: UploadedDocument, *, links: bool) -> str:
    left_out = {"extra"} if links else {"extra", "url"}
    document = {
        name: value for name, value in plain_values(uploaded.document).items() if name not in left_out
    }
    return json_line({"document": document, "run_id": uploaded.run_id})
