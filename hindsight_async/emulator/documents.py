"""Uploads: which forms are taken, what is kept of them, and what is answered."""

from collections.abc import Collection, Mapping
from datetime import datetime
from email.message import Message
from email.parser import HeaderParser
from typing import Any

from attrs import field, frozen

from hindsight_async.emulator.answers import Answer, json_answer, wrong_request

TARGETS = ("deal_id", "salesforce_id", "hubspot_id")
"""The fields of which one names a deal."""

DEAL_FIELDS = {"file_name", "content_type", "file_url", "source", *TARGETS}
"""The fields of `POST /deals/documents`, beside `file`."""

LIBRARY_FIELDS = {
    "file_name",
    "content_type",
    "file_url",
    "source",
    "type",
    "competitor_id",
    "competitor_name",
}
"""The fields of `POST /documents/library`, beside `file`."""

DEAL_SOURCES = {
    "gong", "clari", "fathom", "fireflies", "avoma", "outreach", "gmail", "Salesforce", "Hubspot", "api",
}  # fmt: skip
LIBRARY_SOURCES = {"drive", "notion", "confluence", "onedrive", "sharepoint", "vanta", "url", "zapier", "api"}
LIBRARY_TYPES = {"asset", "intel"}


@frozen
class Upload:
    """A document that was uploaded."""

    document_id: str
    """Such as `doc_upload_000001`."""
    fields: Mapping[str, str]
    """What the form said, such as `file_name` and `deal_id`."""
    content: bytes | None = field(repr=False)
    """The file; None where its URL was given."""
    created_at: datetime
    """When it was whole, on the server's wall clock; aware, UTC."""


def upload_to_deal(
    raw: bytes,
    content_type: str,
    *,
    uploads: list[Upload],
    deals: Collection[str] | None,
    now: datetime,
    origin: str,
) -> Answer:
    """Take a document to a deal.

    Args:
        raw: The body.
        content_type: Its media type, with the boundary.
        uploads: Where it is kept.
        deals: The ids of the deals that exist; None for any.
        now: The server's wall clock.
        origin: What URLs begin with.

    Raises:
        WrongRequestError: The form is wrong (400), or there is no such deal (404).

    """
    fields, content = _checked_form(raw, content_type, DEAL_FIELDS, ("file_name", "content_type"))
    targets = [name for name in TARGETS if name in fields]
    if len(targets) != 1:
        raise wrong_request(
            400, f"Exactly one of {', '.join(TARGETS)} is required", missing_fields=[*TARGETS]
        )
    _check_word(fields, "source", DEAL_SOURCES)
    deal_id = fields.get("deal_id") or f"deal_of_{fields[targets[0]]}"
    if deals is not None and deal_id not in deals:
        raise wrong_request(404, "Deal with the specified ID was not found")
    upload = _keep(uploads, fields, content, now)
    url = f"{origin}/deals/{deal_id}/documents/viewer/{upload.document_id}"
    return _answer(upload, url, deal_id=deal_id)


def upload_to_library(
    raw: bytes, content_type: str, *, uploads: list[Upload], now: datetime, origin: str
) -> Answer:
    """Take a document to the library; arguments and errors as for `upload_to_deal`, but that there is no deal."""
    required = ("file_name", "content_type", "type")
    fields, content = _checked_form(raw, content_type, LIBRARY_FIELDS, required)
    if "competitor_id" in fields and "competitor_name" in fields:
        raise wrong_request(400, "Provide either competitor_id or competitor_name")
    _check_word(fields, "type", LIBRARY_TYPES)
    _check_word(fields, "source", LIBRARY_SOURCES)
    upload = _keep(uploads, fields, content, now)
    return _answer(upload, f"{origin}/documents/viewer/{upload.document_id}", type=fields["type"])


def parse_form(raw: bytes, content_type: str) -> dict[str, tuple[Message, bytes]]:
    """Return the parts of a multipart form, each its head and its content, by their names.

    Raises:
        WrongRequestError: It is no such form (400).

    """
    kind = HeaderParser().parsestr(f"Content-Type: {content_type}\n\n")
    boundary = kind.get_boundary()
    if kind.get_content_type() != "multipart/form-data" or not boundary:
        raise wrong_request(400, "The request body must be multipart/form-data")
    _, *parts = (b"\r\n" + raw).split(b"\r\n--" + boundary.encode())
    if not parts or not parts.pop().startswith(b"--"):
        raise wrong_request(400, "The form has no end")
    form: dict[str, tuple[Message, bytes]] = {}
    for part in parts:
        head, blank, content = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        message = HeaderParser().parsestr(head.decode("utf-8", "replace"))
        name = message.get_param("name", header="Content-Disposition")
        if not blank or not isinstance(name, str):
            raise wrong_request(400, "A part of the form has no name")
        form[name] = (message, content)
    return form


def _checked_form(
    raw: bytes, content_type: str, known: Collection[str], required: Collection[str]
) -> tuple[dict[str, str], bytes | None]:
    form = parse_form(raw, content_type)
    file = form.pop("file", None)
    if unknown := sorted(form.keys() - known):
        raise wrong_request(400, f"Not accepted here: {', '.join(unknown)}", unknown_fields=unknown)
    fields = {name: content.decode("utf-8", "replace") for name, (_, content) in form.items()}
    if missing := [name for name in required if not fields.get(name)]:
        raise wrong_request(400, "Invalid parameters", missing_fields=missing)
    if (file is None) == ("file_url" not in fields):
        raise wrong_request(400, "Provide either file or file_url", missing_fields=["file", "file_url"])
    if file is not None and file[0].get_filename() is None:
        raise wrong_request(400, "file must be a file", invalid_fields=["file"])
    return fields, None if file is None else file[1]


def _check_word(fields: Mapping[str, str], name: str, words: Collection[str]) -> None:
    if name in fields and fields[name] not in words:
        raise wrong_request(400, f"{name} must be one of {', '.join(sorted(words))}", invalid_fields=[name])


def _keep(uploads: list[Upload], fields: Mapping[str, str], content: bytes | None, now: datetime) -> Upload:
    upload = Upload(f"doc_upload_{len(uploads) + 1:06}", fields, content, now)
    uploads.append(upload)
    return upload


def _answer(upload: Upload, url: str, **more: Any) -> Answer:
    document = {
        "id": upload.document_id,
        "file_name": upload.fields["file_name"],
        "status": "processing",
        "url": url,
        "created_at": upload.created_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        **more,
    }
    return json_answer(200, {"document": document, "run_id": upload.document_id.replace("doc", "run", 1)})
