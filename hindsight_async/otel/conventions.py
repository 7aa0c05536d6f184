"""The names that OpenTelemetry's conventions give to what events tell, and those of ours beside them."""

from collections.abc import Mapping
from typing import Final

SCHEMA_URL: Final = "https://opentelemetry.io/schemas/1.27.0"

ERROR_TYPE: Final = "error.type"
METHOD: Final = "http.request.method"
RESEND_COUNT: Final = "http.request.resend_count"
STATUS: Final = "http.response.status_code"
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"
URL_FULL: Final = "url.full"
URL_TEMPLATE: Final = "url.template"

ATTEMPT: Final = "hindsight.attempt"
BUDGET_WAIT: Final = "hindsight.budget.wait"
CALL: Final = "hindsight.call"
DELIVERY: Final = "hindsight.delivery"
LANE: Final = "hindsight.lane"
OUTCOME: Final = "hindsight.outcome"
OUTCOME_UNKNOWN: Final = "hindsight.outcome_unknown"
SECONDS: Final = "hindsight.seconds"

SUCCESS: Final = "ok"
"""The outcome of a call that returned a result; of any other it is what `delivery` says."""

Value = str | bool | int | float
Attributes = Mapping[str, Value]

_FIRST_ERROR = 400


def of_route(route: str) -> dict[str, str]:
    """Return method and path of a route such as `GET /interviews/{id}`; it has no ids, and few values."""
    method, _, template = route.partition(" ")
    return {METHOD: method, URL_TEMPLATE: template}


def of_answer(status: int | None, error: str | None) -> dict[str, str | int]:
    """Return the status, and the type of the error: the status again where that says it, else the class of what was raised."""
    answer: dict[str, str | int] = {} if status is None else {STATUS: status}
    if status is not None and status >= _FIRST_ERROR:
        answer[ERROR_TYPE] = str(status)
    elif error is not None:
        answer[ERROR_TYPE] = error
    return answer
