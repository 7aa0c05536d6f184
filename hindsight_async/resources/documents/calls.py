"""The documents resource: typed arguments to uploads."""

from collections.abc import Mapping
from typing import Any, get_args

from hindsight_async.call.execute import Executor
from hindsight_async.call.request import Call, Endpoint, Multipart
from hindsight_async.resources.documents.models import (
    DealDocumentSource,
    LibraryDocumentSource,
    LibraryDocumentType,
    UploadedDocument,
)
from hindsight_async.resources.documents.source import (
    File,
    OnProgress,
    Source,
    check_size,
    checked_text,
    read_source,
)

_TO_DEAL = Endpoint(
    method="POST", route="POST /deals/documents", reply_type=UploadedDocument, repeatable=False
)
_TO_LIBRARY = Endpoint(
    method="POST", route="POST /documents/library", reply_type=UploadedDocument, repeatable=False
)


class Documents:
    """Upload documents; reached as `session.documents`.

    The API takes PDF, DOCX, PPTX, XLSX, MD and TXT, and transcribes MP3, WAV, M4A and MP4. A file is read as it goes, in
    pieces. An upload is sent again only where nothing of it was processed (no connection, or a 429), and what can be read
    only once never after its first byte. `Timeouts.read` counts from the last piece that left.

    Args:
        executor: Takes calls to their answers.

    """

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    async def upload_to_deal(
        self,
        *,
        file: File | None = None,
        file_url: str | None = None,
        deal_id: str | None = None,
        salesforce_id: str | None = None,
        hubspot_id: str | None = None,
        file_name: str | None = None,
        content_type: str | None = None,
        source: DealDocumentSource | None = None,
        max_bytes: int | None = None,
        on_progress: OnProgress | None = None,
    ) -> UploadedDocument:
        """Add a document to a deal (page upload-deal-document).

        Give exactly one of `file` and `file_url`, and exactly one of `deal_id`, `salesforce_id` and `hubspot_id`.

        Args:
            file: A path, bytes, a file opened in binary mode, or an async file or iterable of bytes. What cannot be read
                from its start again, such as a pipe, is read once.
            file_url: Where the API fetches it.
            deal_id: Hindsight's id of the deal.
            salesforce_id: The id of the Salesforce opportunity.
            hubspot_id: The id of the HubSpot deal.
            file_name: What it is called; else the name of the file or at the end of the URL.
            content_type: Its media type; else guessed from the name.
            source: Where it comes from, which chooses its icon.
            max_bytes: Refuse a larger file. One whose size only its end tells is cut off there, and the outcome is unknown.
            on_progress: Called with the bytes that have left and those there are, None where only the end tells; from 0
                again where it is sent again. What it raises is logged.

        Returns:
            The document, which the API goes on to process.

        Raises:
            TypeError: An argument is of another type; the text names it.
            ValueError: An argument is wrong, or too many or too few are given; nothing was sent.
            NotFoundError: No such deal.
            NotSentError: Also where the file cannot be opened.
            HindsightError: Anything else; where `delivery` is UNKNOWN the document may be there.

        """
        targets = {"deal_id": deal_id, "salesforce_id": salesforce_id, "hubspot_id": hubspot_id}
        if sum(value is not None for value in targets.values()) != 1:
            raise ValueError("exactly one of deal_id, salesforce_id and hubspot_id must be given")
        _check_word("source", source or "api", DealDocumentSource)
        read = read_source(
            file, file_url, file_name=file_name, content_type=content_type,
            on_progress=on_progress, max_bytes=max_bytes,
        )  # fmt: skip
        more = {**targets, "file_url": file_url, "source": source}
        return await self._upload(Call(_TO_DEAL, "/deals/documents", _form(read, more)), read, max_bytes)

    async def upload_to_library(
        self,
        *,
        type: LibraryDocumentType,  # noqa: A002  the API's word
        file: File | None = None,
        file_url: str | None = None,
        competitor_id: str | None = None,
        competitor_name: str | None = None,
        file_name: str | None = None,
        content_type: str | None = None,
        source: LibraryDocumentSource | None = None,
        max_bytes: int | None = None,
        on_progress: OnProgress | None = None,
    ) -> UploadedDocument:
        """Add a document to the library (page upload-library-document).

        Give exactly one of `file` and `file_url`. The API's pages differ on whether it wants to know the competitor: give
        `competitor_id`, `competitor_name` or neither.

        Args:
            type: "asset" for one of your own, "intel" for one about a competitor.
            file: As for `upload_to_deal`.
            file_url: Where the API fetches it.
            competitor_id: Hindsight's id of the competitor.
            competitor_name: Its name, which the API looks up.
            file_name: As for `upload_to_deal`.
            content_type: As for `upload_to_deal`.
            source: Where it comes from.
            max_bytes: As for `upload_to_deal`.
            on_progress: As for `upload_to_deal`.

        Returns:
            The document, which the API goes on to process.

        Raises:
            TypeError: An argument is of another type; the text names it.
            ValueError: An argument is wrong, or too many or too few are given; nothing was sent.
            NotSentError: Also where the file cannot be opened.
            HindsightError: Anything else; where `delivery` is UNKNOWN the document may be there.

        """
        if competitor_id is not None and competitor_name is not None:
            raise ValueError("only one of competitor_id and competitor_name may be given")
        _check_word("type", type, LibraryDocumentType)
        _check_word("source", source or "api", LibraryDocumentSource)
        read = read_source(
            file, file_url, file_name=file_name, content_type=content_type,
            on_progress=on_progress, max_bytes=max_bytes,
        )  # fmt: skip
        more = {
            "file_url": file_url,
            "type": type,
            "competitor_id": competitor_id,
            "competitor_name": competitor_name,
            "source": source,
        }
        return await self._upload(Call(_TO_LIBRARY, "/documents/library", _form(read, more)), read, max_bytes)

    async def _upload(
        self, call: Call[UploadedDocument], source: Source, max_bytes: int | None
    ) -> UploadedDocument:
        if source.upload is not None and max_bytes is not None:
            await check_size(source.upload, max_bytes)
        return await self._executor.run(call, lane="interactive", deadline=self._executor.deadline)


def _form(source: Source, more: Mapping[str, str | None]) -> Multipart:
    fields = {name: checked_text(value, name) for name, value in more.items() if value is not None}
    files = {} if source.upload is None else {"file": source.upload}
    return Multipart(fields={**source.fields(), **fields}, files=files)


def _check_word(argument: str, value: object, words: Any) -> None:
    if value not in get_args(words):
        raise ValueError(f"{argument} must be one of {', '.join(get_args(words))}, not {value!r}")
