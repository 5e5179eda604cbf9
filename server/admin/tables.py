# SPDX-License-Identifier: AGPL-3.0-or-later
"""Reading CSV files as people make them: with or without a byte-order mark, in UTF-8 or in Excel's GB 18030."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

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


def read_csv(path: Path, columns: Collection[str]) -> list[tuple[int, dict[str, str]]]:
    """The rows with their line numbers, every value stripped; ``columns`` must be in the header. Raises Refused."""
    text = read_text(path)
    reader = csv.DictReader(io.StringIO(text, newline=""), restkey="", restval="")
    header = [name.strip() for name in reader.fieldnames or ()]
    missing = [name for name in columns if name not in header]
    if missing:
        raise Refused([Problem(path.name, "line 1", f"the header lacks {', '.join(missing)}")])
    reader.fieldnames = header
    rows, problems = [], []
    try:
        for row in reader:
            if row.pop("", None):
                problems.append(Problem(path.name, f"line {reader.line_num}", "has more values than the header"))
                continue
            rows.append((reader.line_num, {name: (value or "").strip() for name, value in row.items()}))
    except csv.Error as error:
        raise Refused([Problem(path.name, f"line {reader.line_num}", f"is not CSV ({error})")]) from None
    if problems:
        raise Refused(problems)
    return rows
