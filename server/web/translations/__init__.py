# SPDX-License-Identifier: AGPL-3.0-or-later
"""The message catalogues: source strings are Chinese, ``en`` is committed as .po and compiled at set-up."""

from __future__ import annotations

from pathlib import Path

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

FOLDER = Path(__file__).resolve().parent


def compile_catalogues(folder: Path = FOLDER) -> list[Path]:
    """Compile every catalogue whose .mo is missing or older than its .po; returns those written."""
    written = []
    for source in sorted(folder.glob("*/LC_MESSAGES/*.po")):
        target = source.with_suffix(".mo")
        if target.exists() and target.stat().st_mtime >= source.stat().st_mtime:
            continue
        with source.open("rb") as file:
            catalogue = read_po(file, locale=source.parts[-3])
        # Whole or not at all: another process may be reading.
        part = target.with_suffix(".part")
        with part.open("wb") as file:
            write_mo(file, catalogue)
        part.replace(target)
        written.append(target)
    return written
