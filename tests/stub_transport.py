"""A transport that answers at once, for what is about everything but the network."""

from datetime import UTC, datetime

from hindsight_async.call.execute import Executor
from hindsight_async.call.request import Reply
from hindsight_async.call.retry import RetryPolicy
from hindsight_async.resources.interviews.calls import Interviews
from hindsight_async.resources.interviews.poll_schedule import Pace
from hindsight_async.resources.interviews.recipients import AllowedRecipients, BlockedRecipients, CreateGuard


class StubTransport:
    """Creates every interview it is asked for."""

    def __init__(self):
        self.sent = 0

    def open(self, loop):
        """Be open."""

    async def send(self, call, *, loop, deadline, attempt):
        """Answer 201."""
        self.sent += 1
        body = b'{"interview_request_id":%d,"contact_id":"c","status":"sent"}' % self.sent
        return Reply(201, {}, body)


def stubbed_interviews(budget, *, max_in_flight=16):
    """Return interviews over a stub, and the stub."""
    transport = StubTransport()
    executor = executor_over(transport, budget, max_in_flight=max_in_flight)
    guard = CreateGuard(AllowedRecipients({}), BlockedRecipients(), None)
    return Interviews(executor, guard=guard, pace=Pace(), max_in_flight=max_in_flight), transport


def executor_over(transport, budget, *, max_in_flight=16):
    """Return an executor over a transport."""
    return Executor(
        transport,
        budget.join(max_in_flight),
        policy=RetryPolicy(),
        deadline=None,
        random=lambda: 0.5,
        wall_clock=lambda: datetime.now(UTC),
    )
