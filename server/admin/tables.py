# SPDX-License-Identifier: AGPL-3.0-or-later
"""Tables as people make them: Excel workbooks, and CSV with or without a byte-order mark, in UTF-8 or GB 18030."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from itertools import zip_longest
from pathlib import Path
from xml.etree.ElementTree import ParseError
from zipfile import BadZipFile

from openpyxl import Workbook, load_workbook
from openpyxl.styles import Font
from openpyxl.utils import get_column_letter
from openpyxl.utils.exceptions import InvalidFileException

from server.domain.errors import Invalid


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with one line or feature of a file, and the mend."""

    file: str
    where: str
    text: str

    def __str__(self) -> str:
        return f"{self.file}, {self.where}: {self.text}" if self.where else f"{self.file}: {self.text}"


class Refused(Invalid):
    """A file was refused as a whole; nothing was changed. ``problems`` has one sentence for each thing to mend."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


def read_text(path: Path) -> str:
    """The text of a file in UTF-8 or GB 18030. Raises Refused when it cannot be read."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise Refused([Problem(str(path), "", f"cannot be read ({error.strerror})")]) from None
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise Refused([Problem(path.name, "", "is neither UTF-8 nor GB 18030 text: save it as CSV in UTF-8")])


Rows = list[tuple[int, dict[str, str]]]


def read_table(path: Path, columns: Collection[str]) -> Rows:
    """The rows of a CSV file or of a workbook's first sheet with their line numbers, every value a stripped text;
    ``columns`` must be in the header. Raises Refused."""
    return _read_excel(path, columns) if path.suffix.lower() == ".xlsx" else read_csv(path, columns)


def _read_excel(path: Path, columns: Collection[str]) -> Rows:
    try:
        with closing(load_workbook(path, read_only=True, data_only=True)) as book:
            sheet = book.worksheets[0]
            sheet.reset_dimensions()  # what a program says of a sheet's size may be less than what it wrote
            lines = [[_cell(value) for value in line] for line in sheet.iter_rows(values_only=True)]
    except (OSError, InvalidFileException, BadZipFile, KeyError, ValueError, ParseError) as error:
        raise Refused([Problem(path.name, "", f"is no Excel workbook that can be read ({error})")]) from None
    header = lines[0] if lines else []
    _check_header(path, header, columns)
    return [
        (number, {name: value for name, value in zip_longest(header, line[: len(header)], fillvalue="") if name})
        for number, line in enumerate(lines[1:], start=2)
        if any(line)
    ]


def _cell(value: object) -> str:
    """As it would be typed: a telephone number or code that Excel took for a number is digits again."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="minutes")
    return "" if value is None else _as_typed(str(value))


# What a spreadsheet that opens a CSV file would calculate: neither a number nor a telephone number, and begins so.
_FORMULA = re.compile(r"(?![+-]?[\d.]+$)[=+\-@]")


def _as_typed(text: str) -> str:
    """A value without the spaces around it, and without the apostrophe with which ``write_table`` disarms a formula."""
    text = text.strip()
    return text[1:] if text.startswith("'") and _FORMULA.match(text[1:]) else text


_MOMENT = re.compile(r"(\d{4})[-/.年](\d{1,2})[-/.月](\d{1,2})日?(?:[ T]+(\d{1,2})(:\d{2}(?::\d{2})?))?")


def iso(text: str) -> str:
    """A day, or a day and an hour, as Excel in China shows and saves it (2026/10/1 8:00, 2026年10月1日), by ISO 8601;
    any other text as it is."""
    found = _MOMENT.fullmatch(text)
    if found is None:
        return text
    year, month, day, hour, rest = found.groups()
    return f"{year}-{month:0>2}-{day:0>2}" + (f" {hour:0>2}{rest}" if hour else "")


def _disarmed(text: str) -> str:
    return f"'{text}" if _FORMULA.match(text) else text


def _check_header(path: Path, header: Collection[str], columns: Collection[str]) -> None:
    missing = [name for name in columns if name not in header]
    if missing:
        raise Refused([Problem(path.name, "line 1", f"the header lacks {', '.join(missing)}")])
    if twice := [name for name, times in Counter(header).items() if name and times > 1]:
        raise Refused([Problem(path.name, "line 1", f"the header has {', '.join(twice)} twice: which one counts?")])


def write_table(path: Path, header: Sequence[str], lines: Iterable[Sequence[str]]) -> None:
    """Write a table that ``read_table`` reads: a workbook when the name ends in .xlsx, else CSV. Raises Refused."""
    try:
        if path.suffix.lower() == ".xlsx":
            _write_excel(path, header, lines)
            return
        # With a byte-order mark, so that Excel reads the Chinese names.
        with path.open("w", encoding="utf-8-sig", newline="") as file:
            csv.writer(file).writerows([_disarmed(text) for text in line] for line in [header, *lines])
    except OSError as error:
        raise Refused([Problem(str(path), "", f"cannot be written ({error.strerror})")]) from None


def _write_excel(path: Path, header: Sequence[str], lines: Iterable[Sequence[str]]) -> None:
    book = Workbook()
    sheet = book.worksheets[0]
    for row, line in enumerate([header, *lines], start=1):
        for column, text in enumerate(line, start=1):
            cell = sheet.cell(row, column)
            # Text always: neither a number that loses its zeros nor a formula.
            cell.number_format, cell.data_type, cell.value = "@", "s", text or None
            if cell.data_type == "f":
                cell.data_type = "s"
            cell.font = Font(bold=row == 1)
    sheet.freeze_panes = "A2"
    for column, name in enumerate(header, start=1):
        sheet.column_dimensions[get_column_letter(column)].width = max(12, len(name) + 4)
    book.save(path)


def read_csv(path: Path, columns: Collection[str]) -> Rows:
    """The rows with their line numbers, every value stripped; ``columns`` must be in the header. Raises Refused."""
    text = read_text(path)
    reader = csv.DictReader(io.StringIO(text, newline=""), restkey="", restval="")
    header = [name.strip() for name in reader.fieldnames or ()]
    _check_header(path, header, columns)
    reader.fieldnames = header
    rows, problems = [], []
    try:
        for row in reader:
            if row.pop("", None):
                problems.append(Problem(path.name, f"line {reader.line_num}", "has more values than the header"))
                continue
            values = {name: _as_typed(value or "") for name, value in row.items()}
            if any(values.values()):  # as Excel saves the empty rows below a table
                rows.append((reader.line_num, values))
    except csv.Error as error:
        raise Refused([Problem(path.name, f"line {reader.line_num}", f"is not CSV ({error})")]) from None
    if problems:
        raise Refused(problems)
    return rows
