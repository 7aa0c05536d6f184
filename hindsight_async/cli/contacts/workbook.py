"""The rows of an Excel workbook, as a CSV file of the same sheet would have them."""

import io
from collections.abc import Callable
from datetime import datetime, time
from typing import Any, BinaryIO

from hindsight_async.cli.contacts.file_format import ContactFileError
from hindsight_async.cli.contacts.report_layout import Row
from hindsight_async.extras import how_to_install


def workbook_rows(file: BinaryIO, assume: Callable[[str], None]) -> list[Row]:
    """Return the rows of the first sheet that has any, without its blank ones.

    Args:
        file: Binary, seekable, and the caller's to close.
        assume: Is told which sheet it was, where there are several.

    Raises:
        ContactFileError: It is no workbook, is locked, or the extra that reads it is missing.

    """
    try:
        from python_calamine import CalamineError, CalamineWorkbook, SheetTypeEnum, SheetVisibleEnum  # noqa: PLC0415
    except ModuleNotFoundError as error:
        how = how_to_install(error, "an Excel workbook", "excel")
        raise ContactFileError(f"{how}, or save the sheet as CSV UTF-8") from None
    file.seek(0)
    try:
        # A copy in memory: a workbook is read from its end, and calamine would close what it was given.
        workbook = CalamineWorkbook.from_filelike(io.BytesIO(file.read()))
        shown = [
            sheet.name
            for sheet in workbook.sheets_metadata
            if sheet.typ == SheetTypeEnum.WorkSheet and sheet.visible == SheetVisibleEnum.Visible
        ]
        sheets = {name: workbook.get_sheet_by_name(name).to_python(skip_empty_area=False) for name in shown}
    except (CalamineError, OSError) as error:
        raise ContactFileError(
            f"the file looks like an Excel workbook and cannot be read as one ({type(error).__name__}):"
            " save the sheet as CSV UTF-8, without a password"
        ) from None
    with_rows = {
        name: rows for name, rows in ((name, _rows(cells)) for name, cells in sheets.items()) if rows
    }
    if not with_rows:
        return []
    name, rows = next(iter(with_rows.items()))
    if len(with_rows) > 1:
        assume(f"Of {len(with_rows)} sheets the first, {name!r}, was read.")
    return rows


def _rows(cells: list[list[Any]]) -> list[Row]:
    rows = ((number, [_text(cell) for cell in row]) for number, row in enumerate(cells, start=1))
    return [(number, row) for number, row in rows if any(map(str.strip, row))]


def _text(cell: object) -> str:
    """Return a cell as text: whole numbers without a point, times as ISO 8601."""
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    if isinstance(cell, datetime) and cell.time() == time():
        return cell.date().isoformat()
    return str(cell)
