"""The interviews resource: typed arguments to calls."""

from typing import TypeVar

from hindsight_async.call import Call
from hindsight_async.codec import encode
from hindsight_async.models import (
    CreatedInterview,
    CreateInterview,
    Interview,
    UpdatedInterview,
    UpdateInterview,
)
from hindsight_async.pipeline import Pipeline

T = TypeVar("T")

_COLLECTION = "/interviews"
_ITEM = "/interviews/{id}"


class Interviews:
    """Create, read and update interviews; reached as `session.interviews`."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    async def create(self, request: CreateInterview) -> CreatedInterview:
        """Create an interview; with a sequence this emails the contact (page create-interview).

        It is sent again only where it provably was not processed. Raises TypeError for another
        type of request, and HindsightError; where its `delivery` is UNKNOWN the contact may have
        been emailed.
        """
        return await self._pipeline.run(
            Call(
                method="POST",
                route=f"POST {_COLLECTION}",
                path=_COLLECTION,
                body=encode(_of_type(request, CreateInterview)),
                reply_type=CreatedInterview,
                repeatable=False,
            )
        )

    async def get(self, interview_request_id: int) -> Interview:
        """Read an interview; its transcript is there once it is completed (page get-interview).

        Interviews take hours: poll every 5 to 15 minutes. Raises TypeError or ValueError for what
        is no id, and HindsightError.
        """
        return await self._pipeline.run(
            Call(
                method="GET",
                route=f"GET {_ITEM}",
                path=_item_path(interview_request_id),
                reply_type=Interview,
                repeatable=True,
            )
        )

    async def update(self, interview_request_id: int, request: UpdateInterview) -> UpdatedInterview:
        """Replace the contact's notes or name, or this interview's objective (page update-interview).

        Raises TypeError or ValueError for wrong arguments, and HindsightError.
        """
        return await self._pipeline.run(
            Call(
                method="PATCH",
                route=f"PATCH {_ITEM}",
                path=_item_path(interview_request_id),
                body=encode(_of_type(request, UpdateInterview)),
                reply_type=UpdatedInterview,
                repeatable=True,
            )
        )


def _of_type(request: T, expected: type[T]) -> T:
    if not isinstance(request, expected):
        raise TypeError(f"request must be {expected.__name__}, not {type(request).__name__}")
    return request


def _item_path(interview_request_id: int) -> str:
    if type(interview_request_id) is not int:
        raise TypeError(f"interview_request_id must be an int, not {type(interview_request_id).__name__}")
    if interview_request_id < 0:
        raise ValueError("interview_request_id must not be negative")
    return f"{_COLLECTION}/{interview_request_id}"
