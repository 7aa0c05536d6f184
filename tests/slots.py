"""Slots of a budget as blocks: what the pipeline does with one, without a request."""

from attrs import frozen


@frozen
class Answer:
    """What the budget is told of an answer."""

    status: int
    headers: object


class Slot:
    """`async with Slot(door, route=...) as slot` around one request; `slot.answered(...)` says what came of it."""

    def __init__(self, door, **asked):
        self._door, self._asked = door, asked
        self._answer = None

    async def __aenter__(self):
        self.grant = await self._door.acquire(**self._asked)
        return self

    async def __aexit__(self, *_):
        self._door.release(self.grant, self._answer)

    def answered(self, status, headers):
        """Note the answer; the budget hears of it at the end of the block."""
        self._answer = Answer(status, headers)
