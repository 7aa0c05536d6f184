"""Slots of a budget as blocks: what the executor does with one, without a request."""

from attrs import frozen


@frozen
class Answer:
    """What the budget is told of an answer."""

    status: int
    headers: object


class HeldPermit:
    """`async with HeldPermit(door, route=...) as permit` around one request, over with its answer or at the end of the block."""

    def __init__(self, door, **asked):
        self._door, self._asked = door, asked
        self._over = False

    async def __aenter__(self):
        self.permit = await self._door.acquire(**self._asked)
        return self

    async def __aexit__(self, *_):
        if not self._over:
            self._door.release(self.permit)

    def answered(self, status, headers):
        """Give the slot back with an answer."""
        self._over = True
        self._door.release(self.permit, Answer(status, headers))
