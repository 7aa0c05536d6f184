"""Exports of deals: jobs that take a while, may fail, and whose links grow old. Pure: the moment is handed in."""

import csv
import io
import itertools
import json
import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any, cast

from attrs import define, field

from hindsight_async.emulator.answers import Answer, json_answer, wrong_request
from hindsight_async.emulator.deal_filters import EXPORT_FILTERS, check_filters, matches
from hindsight_async.emulator.deals import DEAL_FIELDS, Deals, column_of

LINK_LIFETIME = timedelta(days=7)
RECORD_LIFETIME = timedelta(days=30)

_COLUMNS = {
    "all_competitors": "competitors", "scorecard": "custom_metrics", "deal_status": "status",
    "previous_status": "previous_status_id",
}  # fmt: skip
"""Columns of an export that are no field of a deal, and what they show of it."""

_PROPERTIES = {
    "crm_hubspot_account_": ("hubspot_custom_properties_account",),
    "crm_salesforce_account_": ("salesforce_custom_properties_account",),
    "crm_": ("hubspot_custom_properties", "salesforce_custom_properties"),
}
"""The prefixes of columns that show a property of the CRM, the longer ones first."""


@define
class ExportRecord:
    """An export as the server keeps it."""

    export_id: str
    """Such as `exp_000001`."""
    columns: list[str]
    filters: Mapping[str, Any]
    created_at: datetime
    ready_at: datetime
    """When it is completed, or fails; on the server's wall clock, as each moment here."""
    token: str = field(repr=False)
    """Opens the file without a key, so it stays out of the repr."""
    error: str | None = None
    """Why it fails; None where it does not."""
    expires_at: datetime | None = None
    """When its link is too old; set it to an earlier moment to have it so."""
    csv: bytes | None = field(default=None, repr=False)
    """The file, made of the deals as they were when it was first found ready; set it to have another one."""


class Exports(dict[str, ExportRecord]):
    """The exports by id.

    Args:
        deals: What is exported.

    Attributes:
        seconds: How long the next ones take.
        deals: What is exported.

    """

    def __init__(self, deals: Deals) -> None:
        super().__init__()
        self.seconds = 0.0
        self.deals = deals
        self._numbers = itertools.count(1)
        self._failures: list[str] = []

    def fail_next(self, reason: str) -> None:
        """Let the next export that is started fail, for this reason; called twice, the next two."""
        self._failures.append(reason)

    def clear(self) -> None:
        """Forget all of them, and those that were to fail."""
        super().clear()
        self._failures.clear()

    def new_id(self) -> str:
        """Return the id of the next one."""
        return next(new for number in self._numbers if (new := f"exp_{number:06}") not in self)

    def next_failure(self) -> str | None:
        """Return why the next one fails, and forget it; None where it does not."""
        return self._failures.pop(0) if self._failures else None


def start_export(exports: Exports, body: Mapping[str, Any], now: datetime) -> Answer:
    """Start what the body of POST /deals/export asks for.

    Raises:
        WrongRequestError: It asks for nothing that could be made (400).

    """
    if unknown := sorted(body.keys() - {"columns", "filters"}):
        raise wrong_request(400, f"Not accepted here: {', '.join(unknown)}", unknown_fields=unknown)
    columns: Any = body.get("columns")
    filters: Any = body.get("filters", {})
    if not isinstance(columns, list) or not columns:
        raise wrong_request(400, "columns must be a list of column ids", missing_fields=["columns"])
    if not isinstance(filters, dict):
        raise wrong_request(400, "filters must be an object", invalid_fields=["filters"])
    for column in columns:  # pyright: ignore[reportUnknownVariableType]
        _export_column(column)
    check_filters(filters, EXPORT_FILTERS)  # pyright: ignore[reportUnknownArgumentType]
    record = ExportRecord(
        exports.new_id(), cast("list[str]", columns), cast("dict[str, Any]", filters), now, now + timedelta(seconds=exports.seconds),
        secrets.token_urlsafe(24), exports.next_failure(),
    )  # fmt: skip
    exports[record.export_id] = record
    return json_answer(
        200,
        {
            "success": True,
            "export_id": record.export_id,
            "status": "pending",
            "message": "Export job started successfully",
        },
    )


def read_export(exports: Exports, export_id: str, now: datetime, base_url: str) -> Answer:
    """Return the answer to GET /deals/export/{id}.

    Raises:
        WrongRequestError: There is no such export, or none any more (404).

    """
    record = _existing(exports, export_id, now)
    told = {"export_id": export_id, "status": "pending", "created_at": _iso(record.created_at)}
    if now < record.ready_at:
        return json_answer(200, told)
    if record.error is not None:
        failed = {"status": "failed", "error": record.error, "failed_at": _iso(record.ready_at)}
        return json_answer(200, told | failed)
    content = _finished(exports, record)
    assert record.expires_at is not None  # noqa: S101
    completed = {
        "status": "completed",
        "download_url": f"{base_url}/deals/export/{export_id}/download?token={record.token}",
        "rows_exported": sum(1 for _ in csv.reader(io.StringIO(content.decode(), newline=""))) - 1,
        "completed_at": _iso(record.ready_at),
        "expires_at": _iso(record.expires_at),
    }
    return json_answer(200, told | completed)


def download_export(exports: Exports, export_id: str, token: str | None, now: datetime) -> Answer:
    """Return the file.

    Raises:
        WrongRequestError: It is not there yet (404), or the link is wrong or too old (403).

    """
    record = _existing(exports, export_id, now)
    if now < record.ready_at or record.error is not None:
        raise wrong_request(404, "Export not found")
    if token != record.token:
        raise wrong_request(403, "The download link is not valid")
    content = _finished(exports, record)
    if record.expires_at is not None and record.expires_at <= now:
        raise wrong_request(403, "The download link has expired")
    name = f'attachment; filename="{export_id}.csv"'
    return Answer(200, content, {"Content-Type": "text/csv; charset=utf-8", "Content-Disposition": name})


def _existing(exports: Exports, export_id: str, now: datetime) -> ExportRecord:
    record = exports.get(export_id)
    if record is None or record.created_at + RECORD_LIFETIME <= now:
        raise wrong_request(404, "Export not found")
    return record


def _finished(exports: Exports, record: ExportRecord) -> bytes:
    if record.csv is None:
        record.csv = _csv(exports, record)
    if record.expires_at is None:
        record.expires_at = record.ready_at + LINK_LIFETIME
    return record.csv


def _csv(exports: Exports, record: ExportRecord) -> bytes:
    file = io.StringIO(newline="")
    rows = csv.writer(file)
    rows.writerow(record.columns)
    columns = [_export_column(column) for column in record.columns]
    for deal in exports.deals.values():
        if matches(deal, record.filters, EXPORT_FILTERS):
            rows.writerow([_cell(read(deal)) for read in columns])
    return file.getvalue().encode()


def _export_column(name: Any) -> Any:
    if not isinstance(name, str):
        raise wrong_request(400, "columns must be a list of column ids", invalid_fields=["columns"])
    if name in _COLUMNS or name in DEAL_FIELDS:
        return column_of(_COLUMNS.get(name, name))
    for prefix, fields in _PROPERTIES.items():
        if name.startswith(prefix):
            wanted = name.removeprefix(prefix)
            return partial(_property, fields, wanted)
    return column_of(name)


def _property(fields: tuple[str, ...], name: str, deal: Mapping[str, Any]) -> Any:
    return next((deal[field][name] for field in fields if name in (deal[field] or {})), None)


def _cell(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (list, dict, bool)) else value


def _iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
