"""What comes back from an upload, with the API's own field names, and the words that the API takes."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from attrs import field, frozen

from hindsight_async.call.answered import Answered, extra_field

DealDocumentSource = Literal[
    "gong", "clari", "fathom", "fireflies", "avoma", "outreach", "gmail", "Salesforce", "Hubspot", "api"
]
"""Where a deal's document comes from, which chooses its icon (page upload-deal-document)."""

LibraryDocumentSource = Literal[
    "drive", "notion", "confluence", "onedrive", "sharepoint", "vanta", "url", "zapier", "api"
]
"""Where a document of the library comes from (page upload-library-document)."""

LibraryDocumentType = Literal["asset", "intel"]
"""One of your own ("asset"), or one about a competitor ("intel")."""


@frozen(kw_only=True)
class Document:
    """A document as the API knows it (pages upload-deal-document and upload-library-document).

    `status` is "processing" right after an upload, later "ready" or "failed"; no endpoint tells which. `deal_id` comes with
    a deal's document, `type` with one of the library. What the answer lacks, or has as another kind of value, is None and
    stands in `extra` as it came.
    """

    id: str
    file_name: str | None = None
    status: str | None = None
    type: str | None = None
    deal_id: str | None = None
    url: str | None = field(default=None, repr=False)
    created_at: datetime | None = None
    extra: Mapping[str, Any] = extra_field()


@frozen(kw_only=True)
class UploadedDocument(Answered):
    """The answer to an upload; `run_id` names the processing that it began."""

    document: Document
    run_id: str | None = None
    extra: Mapping[str, Any] = extra_field()
