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

# Whoever reads a dataset takes these from here too.
from detector.measure.labels import CLASSES as CLASSES
from detector.measure.labels import DatasetError as DatasetError
from detector.measure.labels import Label as Label
from detector.measure.labels import read_labels

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)


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
    """One folder of pictures, or those of it that `only` names. Paths are relative to the data's root.

    `labels` is a folder of YOLO or Pascal VOC files, a COCO file (.json), or several of these, which add up; without it
    nothing is smoke. `classes` says what YOLO's numbers mean.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[\w.-]+$")
    images: str
    only: list[str] | None = None
    labels: str | list[str] | None = None
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
    """Every picture of the dataset under `root`, in a fixed order, with its side of the split. Raises DatasetError."""
    for source in description.sources:
        folder = root / source.images
        files = sorted(p for p in folder.glob("*") if is_picture(p)) if folder.is_dir() else []
        if source.only is not None:
            only = set(source.only)
            missing = sorted(only - {file.name for file in files})
            if missing:
                raise DatasetError(f"source {source.name} has no {missing[0]} in {folder}: correct `only` or `images`")
            files = [file for file in files if file.name in only]
        if not files:
            raise DatasetError(f"source {source.name} has no pictures in {folder}: correct `images` or the root")
        table = _groups(source, root)
        groups = {file: _group_of(source, file.name, table) for file in files}
        _check_named(source, set(groups.values()))
        places = [source.labels] if isinstance(source.labels, str) else source.labels or []
        labels = read_labels([root / place for place in places], files, source.classes)
        for file, group in groups.items():
            yield Picture(file, source.name, group, side(source, group), source.kind, labels[file])
