"""`get`: single interviews, with what was said in them."""

import asyncio
import re
import sys
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from hindsight_async.cli.file_arguments import JsonOption, LinksOption
from hindsight_async.cli.followed import Followed, Source
from hindsight_async.cli.json_lines import json_line, plain_values
from hindsight_async.cli.shared_options import DEFAULT_SHARED, SharedOption
from hindsight_async.cli.terminal import ExitCode, counted, harmless, refuse, say
from hindsight_async.redaction import escaped
from hindsight_async.resources.interviews.models import Interview
from hindsight_async.session import HindsightSession

NAME_WIDTH = 22
"""Columns for the name of an interview's field."""

_OPENS_IT = re.compile("url|link|token", re.IGNORECASE)


def get(
    *ids: int,
    links: LinksOption = False,
    as_json: JsonOption = False,
    shared: SharedOption = DEFAULT_SHARED,
) -> int:
    """Show single interviews, with what was said in them.

    Each takes one request of the plan and the month. They come in the order of the ids.

    Parameters
    ----------
    ids
        Interview request ids.
    links
        Show the survey links too, which open the interviews.
    as_json
        Print each as a line of JSON.
    shared
        For all commands.

    """
    if not ids:
        return refuse("get needs interview ids, such as 4821; status shows all that a ledger knows")
    return asyncio.run(_get(ids, shared.session(), json_line if as_json else _described, links=links))


async def _get(
    ids: tuple[int, ...],
    hindsight: HindsightSession,
    shown: Callable[[Mapping[str, Any]], str],
    *,
    links: bool,
) -> int:
    source = Source(counted(len(ids), "interview"), map(Followed, ids))
    coming, read = deque(ids), dict[int, str]()

    def show_those_whose_turn_it_is() -> None:
        while coming and (coming[0] in read or coming[0] in source.failed):
            sys.stdout.write(read.get(coming.popleft(), ""))

    async def keep(interview: Interview) -> None:
        values = plain_values(interview)
        read[interview.interview_request_id] = shown(values if links else _without_links(values))
        if not sys.stdout.isatty():  # where it would come between two looks of what is being done
            show_those_whose_turn_it_is()

    try:
        async with hindsight:
            await source.read(hindsight, [*source.interviews], yes=True, on_read=keep)
    finally:
        show_those_whose_turn_it_is()
    for number, error in source.failed.items():
        say(f"hindsight-async: {number}: {error}")
    return ExitCode.SOME_FAILED if source.failed else ExitCode.DONE


def _without_links(values: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what lets anybody into an interview, also where the API has a new name for it."""
    kept = {name: value for name, value in values.items() if not _OPENS_IT.search(name)}
    return kept | {
        "extra": {name: value for name, value in values["extra"].items() if not _OPENS_IT.search(name)}
    }


def _described(values: Mapping[str, Any]) -> str:
    """Return an interview for people: a line for each field that is set, then what was said."""
    said = values["transcript"]
    fields = {name: value for name, value in values.items() if name not in {"transcript", "extra"}}
    lines = [
        f"{name:<{NAME_WIDTH}}{escaped(str(value))}" for name, value in fields.items() if value is not None
    ]
    text = "" if said is None else "\n" + harmless(said["content"].strip("\n")) + "\n"
    return "\n".join([*lines, text, ""])
