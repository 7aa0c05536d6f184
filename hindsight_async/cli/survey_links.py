"""Survey links that are in no results file, as after a crash or on another machine: read back from the API."""

from collections.abc import Mapping, Sequence

from hindsight_async.cli.followed import Followed, Source
from hindsight_async.cli.terminal import NotConfirmedError, counted, say, wrapped
from hindsight_async.errors import HindsightError
from hindsight_async.resources.interviews.models import Interview
from hindsight_async.session import HindsightSession


async def read_links(hindsight: HindsightSession, ids: Sequence[int], *, yes: bool) -> Mapping[int, str]:
    """Return the links of interviews, read at plan speed; of those that cannot be read there is none.

    Args:
        hindsight: The session.
        ids: Which interviews.
        yes: Whether reading may take what is kept of the month for others, without asking.

    """
    links: dict[int, str] = {}

    async def keep(interview: Interview) -> None:
        if interview.survey_url:
            links[interview.interview_request_id] = interview.survey_url

    say(
        wrapped(
            f"Reading {counted(len(ids), 'link')} that no earlier results have: a request each, no emails."
        )
    )
    try:
        await Source("links", [Followed(number) for number in ids]).read(
            hindsight, ids, yes=yes, on_read=keep
        )
    except HindsightError as error:
        say(wrapped(f"Links could not be read: {error.summary}"))
    except NotConfirmedError:
        pass  # what a run has made is told all the same
    if missing := len(set(ids)) - len(links):
        say(f"{counted(missing, 'link')} still missing: the same command again reads them.")
    return links
