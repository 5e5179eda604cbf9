# SPDX-License-Identifier: AGPL-3.0-or-later
"""A dataset description: several sources, each with its classes, its share and its split by camera, day or fire."""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from detector.frame import is_picture

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
CLASSES = ("smoke", "fire")
MOST = 2.0
"""A label's numbers are fractions of the picture, a little beyond it at most; larger ones are pixels."""


class DatasetError(ValueError):
    """The description or its files are wrong; the sentence names which and how to mend it."""


class Group(BaseModel):
    """How to tell a picture's camera (or day, or fire): a table with a column, or a pattern on its name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    table: str | None = None
    file: str = "image"
    column: str = "camera"
    pattern: str | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Group:
        if (self.table is None) == (self.pattern is None):
            raise ValueError("a group needs either a table or a pattern")
        try:
            parts = re.compile(self.pattern or "()").groups
        except re.error as error:
            raise ValueError(f"the pattern is none: {error}") from error
        if not parts:
            raise ValueError("the pattern needs ( ) around what is the group")
        return self


class Source(BaseModel):
    """One folder of pictures. Without `labels` nothing in it is smoke. Paths are relative to the data's root."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[\w.-]+$")
    images: str
    labels: str | None = None
    classes: dict[int, str] = {0: "smoke", 1: "fire"}
    group: Group | None = None
    validation: float | list[str] = 0.0
    test: float | list[str] = 0.0
    share: float = Field(default=0.0, ge=0)
    backdrop: float = Field(default=0.0, ge=0)
    kind: Literal["real", "composite"] = "real"


class Composites(BaseModel):
    """Shares of the training pictures that are composed rather than taken."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    plumes: float = Field(default=0.0, ge=0)
    lookalikes: float = Field(default=0.0, ge=0)


class Description(BaseModel):
    """The whole description, as its YAML has it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    sources: list[Source] = Field(min_length=1)
    composites: Composites = Composites()


@dataclass(frozen=True, slots=True)
class Label:
    """A labelled box: class name, centre and size as fractions of the picture."""

    name: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture of a dataset, with the group that decides its side."""

    path: Path
    source: str
    group: str
    split: Split
    kind: str
    labels: tuple[Label, ...]


def read_description(path: Path) -> Description:
    """The checked description; raises DatasetError naming the field that is wrong."""
    try:
        return Description.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise DatasetError(f"the dataset description {path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError, ValidationError) as error:
        raise DatasetError(f"{path} is not a dataset description: {error}") from error


def _fraction(source: str, group: str) -> float:
    """A number in 0..1 that depends on the names alone, so a split never changes as pictures are added."""
    return int.from_bytes(hashlib.sha256(f"{source}/{group}".encode()).digest()[:6], "big") / 2**48


def side(source: Source, group: str) -> Split:
    """On which side of the split a group lies; explicit names win over shares."""
    named: tuple[tuple[Split, float | list[str]], ...] = (("test", source.test), ("validation", source.validation))
    for split, groups in named:
        if isinstance(groups, list) and group in groups:
            return split
    position = _fraction(source.name, group)
    reached = 0.0
    for split, share in named:
        if isinstance(share, float):
            reached += share
            if position < reached:
                return split
    return "train"


def _labels(path: Path, source: Source) -> tuple[Label, ...]:
    if not path.is_file():
        return ()
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} is no text in UTF-8: {error.reason} at byte {error.start}") from error
    found = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            kind, box = _label(line)
        except ValueError as error:
            raise DatasetError(
                f"{path} line {number} is no label (class x y width height, or class x y x y x y …, in fractions of "
                f"the picture): {error}: {line!r}"
            ) from None
        if kind not in source.classes:
            raise DatasetError(
                f"{path} line {number}: nothing says what class {kind} is: name it in the `classes` of source "
                f"{source.name}, or in the `names` of the folder's data.yaml"
            )
        if source.classes[kind] in CLASSES:
            found.append(Label(source.classes[kind], *box))
    return tuple(found)


def _label(line: str) -> tuple[int, tuple[float, float, float, float]]:
    """Class number, centre and size of the part of a labelled box or outline that is in the picture."""
    kind, *values = (float(part) for part in line.split())
    if not all(abs(value) <= MOST for value in values) or not kind.is_integer():
        raise ValueError("these are no fractions")
    if len(values) in {4, 5}:  # the fifth is a confidence
        x, y, width, height = values[:4]
        if min(width, height) < 0:
            raise ValueError("a size is negative")
        x1, y1, x2, y2 = x - width / 2, y - height / 2, x + width / 2, y + height / 2
    elif len(values) >= 6 and len(values) % 2 == 0:
        x1, y1, x2, y2 = min(values[::2]), min(values[1::2]), max(values[::2]), max(values[1::2])
    else:
        raise ValueError(f"{len(values)} numbers after the class")
    if x1 > 1 or y1 > 1 or x2 < 0 or y2 < 0:
        raise ValueError("it lies outside the picture")
    x1, y1, x2, y2 = max(x1, 0.0), max(y1, 0.0), min(x2, 1.0), min(y2, 1.0)
    return int(kind), ((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1)


def _groups(source: Source, root: Path) -> dict[str, str] | None:
    if source.group is None or source.group.table is None:
        return None
    table = root / source.group.table
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            return {row[source.group.file]: row[source.group.column] for row in csv.DictReader(file)}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"the table {table} of source {source.name} cannot be read: {error}") from error
    except KeyError as error:
        raise DatasetError(f"the table {table} of source {source.name} has no column {error}") from error


def _group_of(source: Source, name: str, table: dict[str, str] | None) -> str:
    if table is not None:
        if not table.get(name):
            raise DatasetError(f"the table of source {source.name} has no {name}: add it, lest its camera be split")
        return table[name]
    if source.group is not None and source.group.pattern:
        match = re.search(source.group.pattern, name)
        return (match.group(1) or name) if match else name
    return name


def _check_named(source: Source, groups: set[str]) -> None:
    """A misspelt group would train on what was to be kept from it."""
    for split, named in (("validation", source.validation), ("test", source.test)):
        missing = sorted(set(named) - groups) if isinstance(named, list) else []
        if missing:
            raise DatasetError(f"no picture of source {source.name} is of {', '.join(missing)}, named for {split}")


def pictures(description: Description, root: Path) -> Iterator[Picture]:
    """Every picture of the dataset under `root`, in a fixed order, with its side of the split."""
    for source in description.sources:
        folder = root / source.images
        files = sorted(p for p in folder.glob("*") if is_picture(p)) if folder.is_dir() else []
        if not files:
            raise DatasetError(f"source {source.name} has no pictures in {folder}: correct `images` or the root")
        table = _groups(source, root)
        groups = {file: _group_of(source, file.name, table) for file in files}
        _check_named(source, set(groups.values()))
        for file, group in groups.items():
            labels = _labels(root / source.labels / f"{file.stem}.txt", source) if source.labels else ()
            yield Picture(file, source.name, group, side(source, group), source.kind, labels)
