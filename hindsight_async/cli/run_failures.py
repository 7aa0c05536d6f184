"""What ended a run, said once, with the advice that fits it: the key, the address, the month, the network, the ledger."""

import re
import textwrap
from datetime import datetime
from urllib.parse import urlsplit

from hindsight_async.call.access import API_KEY_VARIABLE, BASE_URL_VARIABLE
from hindsight_async.cli.causes import said_of
from hindsight_async.errors import (
    APIError,
    BulkAbortedError,
    ForbiddenError,
    HindsightError,
    LedgerError,
    NotSentError,
    QuotaExceededError,
    UnauthorizedError,
)

_WIDTH = 80

_WHY = (
    (r"Connect call failed|Connection refused|\[Errno (111|61|10061)\]", "connection refused"),
    (r"[Nn]ame or service|[Nn]ame resolution|getaddrinfo|nodename|Domain name|DNS", "name not found"),
    (r"unreachable|No route", "network unreachable"),
    (r"took too long|timed? ?out", "no answer in time"),
    (r"the proxy answered", "the proxy has no way there"),
)
"""What operating systems and libraries say of a connection that could not be made, and what a person reads."""


def say_failure(failure: HindsightError, *, done: int, in_doubt: int) -> str:
    """Return what ended a run and what to do about it, in lines of a terminal's width.

    Args:
        failure: What the run raised.
        done: How many rows this run had brought to a good end.
        in_doubt: Of how many that left nobody knows what became of them.

    """
    if done:
        so_far = f"Before that {done:,} {'was' if done == 1 else 'were'} done; they are not sent again."
    elif in_doubt:
        so_far = ""
    else:
        so_far = "Nobody was emailed."
    what, advice = _words_for(failure)
    lines = [" ".join(part for part in (what, so_far) if part), advice]
    return "\n".join(
        textwrap.fill(line, _WIDTH, break_long_words=False, break_on_hyphens=False) for line in lines if line
    )


def _words_for(failure: HindsightError) -> tuple[str, str]:  # noqa: PLR0911  a table, read by type
    """Return what happened, and what to do."""
    again = "then run the same command again."
    match failure:
        case UnauthorizedError():
            return (
                f"The API refused the key ({failure.status}: {said_of(failure)}).",
                f"Set {API_KEY_VARIABLE} to a key from the dashboard's Settings > API Keys.",
            )
        case ForbiddenError():
            return (
                f"The API knows the key and does not let it do this ({failure.status}: {said_of(failure)}).",
                f"Ask whoever made the key for its rights, or set {API_KEY_VARIABLE} to another; {again}",
            )
        case QuotaExceededError():
            return (
                f"{_sentence(failure.summary)}",
                f"Run the same command again {_from(failure.reset_at)}: it sends only what is left.",
            )
        case BulkAbortedError(__cause__=NotSentError() as met):
            where, why = unreached(met)
            return (
                f"No connection to {where} ({why}): {failure.summary.partition(':')[0]}.",
                f"Check the network, a proxy, and {BASE_URL_VARIABLE}; {again} --wait 2h waits longer.",
            )
        case BulkAbortedError():
            return (
                f"The run stopped itself: {failure.summary}.",
                f"Mend what these rows have in common, {again}",
            )
        case LedgerError():
            return (
                f"The ledger: {failure.summary}.",
                "What the results have is true all the same: keep them.",
            )
        case APIError():
            return (
                f"There is no API where this looked for it ({failure.status}: {said_of(failure)}).",
                f"Check {BASE_URL_VARIABLE} and any proxy, {again}",
            )
        case _:
            return (f"The run ended early: {failure.summary}.", "")


def unreached(error: HindsightError) -> tuple[str, str]:
    """Return to which host there was no connection, and why, in a few words."""
    found = re.search(r"(?:no connection|connecting) to (\S+?):? (.*)", error.summary)
    if not found:
        return "the API", error.summary
    why = next((words for pattern, words in _WHY if re.search(pattern, found[2])), None)
    return urlsplit(found[1]).netloc or found[1], why or re.sub(r"^\[Errno -?\d+\] ", "", found[2])


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def _from(moment: datetime | None) -> str:
    return "later" if moment is None else f"after {moment.astimezone():%Y-%m-%d %H:%M}"
