# SPDX-License-Identifier: AGPL-3.0-or-later
"""Folders of pictures as others lay them out, read as a dataset: with or without labels, split or not.

Labels are YOLO text files: in `labels` where the pictures are in `images`, or beside the pictures. Their class numbers
mean what a `data.yaml` with `names` says, else 0 is smoke and 1 is fire. A folder without labels holds no smoke.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from detector.measure.dataset import PICTURES, DatasetError, Description, Source

TABLES = ("data.yaml", "dataset.yaml")
USUAL = {0: "smoke", 1: "fire"}


def read_folder(folder: Path) -> Description:
    """Every folder of pictures at or below `folder` as a source of its own, all on the test side."""
    files = [path for path in folder.rglob("*") if path.suffix.lower() in PICTURES]
    homes = sorted({path.parent for path in files})
    if not homes:
        raise DatasetError(
            f"{folder} holds no pictures (JPEG or PNG): give a folder that does, or a description (YAML)"
        )
    classes = _classes(folder)
    return Description(name=_name(folder), sources=[_source(folder, home, classes) for home in homes])


def yolo_root(path: Path) -> Path | None:
    """The folder that a YOLO `data.yaml` speaks of; None when `path` is no such file."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return None
    if not isinstance(content, dict) or "names" not in content:
        return None
    return path.parent / str(content.get("path") or ".")


def _source(folder: Path, home: Path, classes: dict[int, str]) -> Source:
    inside = home.relative_to(folder)
    parts = ["labels" if part == "images" else part for part in inside.parts]
    beside = any(home.glob("*.txt"))
    labels = Path(*parts) if "images" in inside.parts and (folder / Path(*parts)).is_dir() else inside
    labelled = labels != inside or beside
    name = "-".join(part for part in inside.parts if part != "images") or _name(folder)
    return Source(
        name=re.sub(r"[^\w.-]", "-", name),
        images=str(inside),
        labels=str(labels) if labelled else None,
        classes=classes,
        test=1.0,
    )


def _name(folder: Path) -> str:
    return folder.resolve().name or "pictures"


def _classes(folder: Path) -> dict[int, str]:
    """The meaning of the class numbers by a `data.yaml` in the folder."""
    for table in TABLES:
        path = folder / table
        if yolo_root(path) is not None:
            names: Any = yaml.safe_load(path.read_text(encoding="utf-8"))["names"]
            pairs = names.items() if isinstance(names, dict) else enumerate(names)
            return {int(number): _meaning(str(name)) for number, name in pairs}
    return USUAL


def _meaning(name: str) -> str:
    low = name.lower()
    return "smoke" if "smoke" in low else "fire" if "fire" in low or "flame" in low else low
