"""Permits of a budget as blocks: what the executor does with one, without a request."""

from attrs import frozen


@frozen
class Answer:
    """What the budget is told of an answer."""

    status: int
    headers: object


class PermitBlock:
    """`async with PermitBlock(client, route=...) as permit` around one request, over with its answer or at the end of the block."""

    def __init__(self, client, **asked):
        self._client, self._asked = client, asked
        self._over = False

    async def __aenter__(self):
        self.permit = await self._client.acquire(**self._asked)
        return self

    async def __aexit__(self, *_):
        if not self._over:
            self._client.release(self.permit)

    def answered(self, status, headers):
        """Release the permit with an answer."""
        self._over = True
        self._client.release(self.permit, Answer(status, headers))
