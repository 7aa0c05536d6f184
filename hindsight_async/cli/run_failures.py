"""What ended a run, said once, with the advice that fits it: the key, the address, the month, the network, the ledger."""

import textwrap
from datetime import datetime

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
        case BulkAbortedError(__cause__=NotSentError()):
            return (
                _sentence(failure.summary),
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


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def _from(moment: datetime | None) -> str:
    return "later" if moment is None else f"after {moment.astimezone():%Y-%m-%d %H:%M}"
