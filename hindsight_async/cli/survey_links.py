"""Survey links that are in no results file, as after a crash or on another machine: read back from the API."""

from collections.abc import Sequence

from hindsight_async.cli.followed import Followed, Source
from hindsight_async.cli.terminal import NotConfirmedError, counted, say, wrapped
from hindsight_async.errors import HindsightError
from hindsight_async.resources.interviews.models import Interview
from hindsight_async.session import HindsightSession


async def read_links(
    hindsight: HindsightSession, ids: Sequence[int], links: dict[int, str], *, yes: bool
) -> None:
    """Read the links of interviews at plan speed; of those that cannot be read there is none.

    Args:
        hindsight: The session.
        ids: Which interviews.
        links: Where they go as they come, so that who is interrupted keeps what is there.
        yes: Whether reading may take what is kept of the month for others, without asking.

    """

    async def keep(interview: Interview) -> None:
        if interview.survey_url:
            links[interview.interview_request_id] = interview.survey_url

    say(
        wrapped(
            f"Reading {counted(len(ids), 'link')} that no earlier results have: a request each, no emails."
        )
    )
    try:
        source = Source("links", [Followed(number) for number in ids])
        await source.read(hindsight, ids, yes=yes, on_read=keep)
    except HindsightError as error:
        say(wrapped(f"Links could not be read: {error.summary}"))
    except NotConfirmedError:
        pass  # what a run has made is told all the same
    if missing := len(set(ids)) - len(links):
        say(f"{counted(missing, 'link')} still missing: the same command again reads them.")
