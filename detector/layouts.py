# SPDX-License-Identifier: AGPL-3.0-or-later
"""Folders of pictures as others lay them out, read as a dataset: with or without labels, split or not.

Labels are YOLO text files: in `labels` where the pictures are in `images`, or beside the pictures. Their class numbers
mean what the `names` of a `data.yaml` say, or the lines of a `classes.txt`; else 0 is smoke and 1 is fire. What has no
label holds no smoke. A `cameras.csv` (image, camera) beside the pictures or their folder says of which camera each is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import yaml

from detector.frame import is_picture
from detector.measure.dataset import CLASSES, DatasetError, Description, Group, Source, read_description

TABLES = ("data.yaml", "dataset.yaml", "data.yml", "dataset.yml")
DESCRIPTION = "dataset.yaml"
LABELS = {"images": "labels", "Images": "Labels"}
"""Where the labels of pictures in a folder of this name are."""
SIDES = {"train": (0.0, 0.0), "val": (1.0, 0.0), "valid": (1.0, 0.0), "validation": (1.0, 0.0), "test": (0.0, 1.0)}
"""The shares of validation and test of a folder by its name."""
CAMERAS = "cameras.csv"
USUAL = {0: "smoke", 1: "fire"}
NOT_SMOKE = re.compile(r"\bnon?[\W_]*smok|无烟")
MEANT = {"smoke": ("smoke", "烟", "煙"), "fire": ("fire", "flame", "火", "焰")}
OTHER_FORMS = {"*.xml": b"<annotation", "*.json": b'"annotations"'}
"""Pascal VOC's and COCO's annotations, and what they hold."""


def read_folder(folder: Path, table: Path | None = None, *, split: bool = False) -> Description:
    """Every folder of pictures at or below `folder` as a source of its own: all on the test side, or `split` as the
    table or the folders' names say, and where they say nothing a fifth each for validation and test.

    `table` is the YOLO data.yaml that names the classes, and may say which folders count, also elsewhere; without it
    the folder's own is taken, or that of a folder it lies in. Raises DatasetError.
    """
    folder = folder.resolve()
    declared = dict(_declared(table, folder)) if table else {}
    places = list(declared) or [folder]
    homes = sorted({path.parent for place in places for path in place.rglob("*") if is_picture(path)})
    if not homes:
        raise DatasetError(
            f"{folder} holds no pictures (JPEG or PNG): give a folder that does, or a description (YAML)"
        )
    classes = _classes(folder, homes, table)
    sources: list[Source] = []
    for home in homes:
        source = _source(folder, home, classes, {source.name for source in sources})
        validation, test = _sides(folder, home, declared) if split else (0.0, 1.0)
        sources.append(source.model_copy(update={"validation": validation, "test": test}))
    _refuse_other_forms(folder, sources)
    return Description(name=_name(folder), sources=sources)


def description_in(path: Path) -> Path:
    """The description that a folder brings along, as composites and reviews do: what it says of them must not be lost.
    Else `path` itself."""
    inner = path / DESCRIPTION
    try:
        content = yaml.safe_load(inner.read_text(encoding="utf-8-sig")) if inner.is_file() else None
    except (UnicodeDecodeError, yaml.YAMLError):
        return path
    return inner if isinstance(content, dict) and "sources" in content else path


def yolo_root(path: Path) -> Path | None:
    """The folder that a YOLO `data.yaml` speaks of, its own where that is not on this machine; None when `path` is no
    such file."""
    content = _yolo(path)
    if content is None:
        return None
    root = path.parent / str(content.get("path") or ".")
    return root if root.is_dir() else path.parent


def _yolo(path: Path) -> dict[str, Any] | None:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return None
    return content if isinstance(content, dict) and "names" in content else None


def _declared(table: Path, root: Path) -> Iterator[tuple[Path, str]]:
    """The folders that a data.yaml names, and for which side."""
    content = _yolo(table) or {}
    for side in ("train", "val", "test"):
        named = content.get(side) or []
        for each in named if isinstance(named, list) else [named]:
            if (root / str(each)).is_dir():
                yield (root / str(each)).resolve(), side


def _source(folder: Path, home: Path, classes: dict[int, str], taken: set[str]) -> Source:
    inside = home.relative_to(folder) if home.is_relative_to(folder) else home
    labels = _labels_of(home)
    name = "-".join(part for part in inside.parts[-3:] if part not in {*LABELS, inside.anchor}) or _name(folder)
    name = re.sub(r"[^\w.-]", "-", name)
    number = 2
    while name in taken:
        name, number = f"{name.removesuffix(f'-{number - 1}')}-{number}", number + 1
    return Source(
        name=name,
        images=str(inside),
        labels=str(labels.relative_to(folder) if labels.is_relative_to(folder) else labels),
        classes=classes,
        group=_group(home),
        kind=_kind(home),
    )


def _sides(folder: Path, home: Path, declared: Mapping[Path, str]) -> tuple[float, float]:
    """The shares of validation and test."""
    by_table = [side for place, side in declared.items() if home.is_relative_to(place)]
    by_name = [part for part in home.relative_to(folder).parts if part in SIDES] if not by_table else []
    return next((SIDES[name] for name in by_table + by_name), (0.2, 0.2))


def _labels_of(home: Path) -> Path:
    """The folder of the labels of the pictures in `home`."""
    parts = list(home.parts)
    for place in reversed(range(len(parts))):
        if parts[place] in LABELS:
            found = Path(*parts[:place], LABELS[parts[place]], *parts[place + 1 :])
            return found if found.is_dir() else home
    return home


def _kind(home: Path) -> Literal["real", "composite"]:
    """What the compositor wrote stays composite among other folders."""
    given = description_in(home.parent)
    made = given != home.parent and all(source.kind == "composite" for source in read_description(given).sources)
    return "composite" if made else "real"


def _group(home: Path) -> Group | None:
    """By the table of cameras that is there; without one each picture stands for itself."""
    table = next((place / CAMERAS for place in (home, home.parent) if (place / CAMERAS).is_file()), None)
    return Group(table=str(table)) if table else None


def _name(folder: Path) -> str:
    return folder.name or "pictures"


def _classes(folder: Path, homes: list[Path], table: Path | None) -> dict[int, str]:
    """The meaning of the class numbers."""
    above = [folder, *folder.parents[:2]]
    for path in [table] if table else [place / name for place in above for name in TABLES]:
        content = _yolo(path)
        if content is not None:
            names = content["names"]
            return _meanings(path, dict(names.items() if isinstance(names, dict) else enumerate(names or ())))
    for place in [folder, folder / "labels", *map(_labels_of, homes)]:
        path = place / "classes.txt"
        if path.is_file():
            return _meanings(path, dict(enumerate(path.read_text(encoding="utf-8-sig").split("\n"))))
    return USUAL


def _meanings(path: Path, names: dict[Any, Any]) -> dict[int, str]:
    meanings = {int(number): _meaning(str(name).strip()) for number, name in names.items()}
    if not set(CLASSES) & set(meanings.values()):
        told = ", ".join(map(str, names.values())) or "nothing"
        raise DatasetError(f"of the classes that {path} names ({told}) none is smoke or fire: call them so there")
    return meanings


def _meaning(name: str) -> str:
    low = name.lower()
    if NOT_SMOKE.search(low):
        return low
    return next((meant for meant, words in MEANT.items() if any(word in low for word in words)), low)


def _refuse_other_forms(folder: Path, sources: list[Source]) -> None:
    """Where nothing is labelled as YOLO does, but otherwise: its smoke would count as none."""
    places = [folder / (source.labels or ".") for source in sources]
    if any(path.name != "classes.txt" for place in places for path in place.glob("*.txt")):
        return
    for pattern, content in OTHER_FORMS.items():
        for path in sorted(folder.rglob(pattern)):
            if content in path.read_bytes():
                raise DatasetError(f"{path} labels the pictures in another form: write them as YOLO labels")
