# SPDX-License-Identifier: AGPL-3.0-or-later
"""Labelled boxes as others write them: YOLO's text files, Pascal VOC's XML files, COCO's JSON.

YOLO and VOC have a file for each picture, of its name, in one folder; COCO has one for many pictures. YOLO's classes
are numbers that a table explains; the others' are names, which mean what `meaning` says. What nobody labelled holds no
smoke.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from os.path import commonprefix
from pathlib import Path, PurePosixPath
from typing import Annotated
from xml.etree import ElementTree

from pydantic import BaseModel, Field, FiniteFloat, ValidationError

CLASSES = ("smoke", "fire")
MOST = 2.0
"""A label's numbers are fractions of the picture, a little beyond it at most; larger ones are of another size."""
NOT_SMOKE = re.compile(r"\bnon?[\W_]*smok|无烟")
MEANT = {"smoke": ("smoke", "烟", "煙"), "fire": ("fire", "flame", "火", "焰")}

Corners = tuple[float, float, float, float]
"""Left, upper, right and lower edge."""
Id = int | str
Length = Annotated[FiniteFloat, Field(gt=0)]


class DatasetError(ValueError):
    """The description or its files are wrong; the sentence names which and how to mend it."""


@dataclass(frozen=True, slots=True)
class Label:
    """A labelled box: class name, centre and size as fractions of the picture."""

    name: str
    x: float
    y: float
    width: float
    height: float


class _Image(BaseModel):
    id: Id
    file_name: str
    width: Length
    height: Length


class _Category(BaseModel):
    id: Id
    name: str


class _Annotation(BaseModel):
    image_id: Id
    category_id: Id
    bbox: tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat]


class _Coco(BaseModel):
    images: list[_Image]
    categories: list[_Category]
    annotations: list[_Annotation]


def meaning(name: str) -> str:
    """`smoke` or `fire` where a class's name says so in any of the usual words, else the name in small letters."""
    low = name.strip().lower()
    if NOT_SMOKE.search(low):
        return low
    return next((meant for meant, words in MEANT.items() if any(word in low for word in words)), low)


def refuse_unless_burning(path: Path, names: Iterable[str]) -> None:
    """Raises DatasetError where none of the classes that `path` names is smoke or fire: smoke would count as none."""
    told = sorted(set(names))
    if not set(CLASSES) & set(map(meaning, told)):
        listed = ", ".join(told) or "nothing"
        raise DatasetError(f"of the classes that {path} names ({listed}) none is smoke or fire: call them so there")


def read_labels(
    places: Iterable[Path], files: Sequence[Path], classes: Mapping[int, str]
) -> dict[Path, tuple[Label, ...]]:
    """The smoke and fire labelled in each of `files`, which are the pictures of one folder.

    Each place is a folder of YOLO or VOC files or one COCO file (.json); what several say adds up. `classes` are the
    meanings of YOLO's numbers. Raises DatasetError naming file and line or object.
    """
    found: dict[Path, list[Label]] = {file: [] for file in files}
    for place in places:
        coco = place.suffix.lower() == ".json"
        for file, label in _coco(place, files) if coco else _one_each(place, files, classes):
            if label.name in CLASSES:
                found[file].append(label)
    return {file: tuple(labels) for file, labels in found.items()}


def _one_each(folder: Path, files: Sequence[Path], classes: Mapping[int, str]) -> Iterator[tuple[Path, Label]]:
    named: set[str] = set()
    for file in files:
        text, xml = folder / f"{file.stem}.txt", folder / f"{file.stem}.xml"
        if text.is_file():
            yield from ((file, label) for label in _yolo(text, classes))
        elif xml.is_file():
            for name, corners in _voc(xml):
                named.add(name)
                yield file, _label(meaning(name), corners)
    if named:
        refuse_unless_burning(folder, named)


def _label(name: str, corners: Corners) -> Label:
    x1, y1, x2, y2 = corners
    return Label(name, (x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1)


def _inside(x1: float, y1: float, x2: float, y2: float) -> Corners:
    """The part of a box that is in the picture, as fractions of it; ValueError where nothing is."""
    if x1 > 1 or y1 > 1 or x2 < 0 or y2 < 0:
        raise ValueError("it lies outside the picture")
    return max(x1, 0.0), max(y1, 0.0), min(x2, 1.0), min(y2, 1.0)


def _of_pixels(x1: float, y1: float, x2: float, y2: float, width: float, height: float) -> Corners:
    """As fractions what is in pixels of a picture of that size; ValueError where it is no box of such a picture."""
    if x2 < x1 or y2 < y1:
        raise ValueError("its right edge is left of its left one, or its lower edge above its upper one")
    corners = (x1 / width, y1 / height, x2 / width, y2 / height)
    if max(map(abs, corners)) > MOST:
        raise ValueError(f"it reaches far out of the picture, which is said to be {width:g} x {height:g} pixels")
    return _inside(*corners)


def _yolo(path: Path, classes: Mapping[int, str]) -> Iterator[Label]:
    for number, line in enumerate(utf8(path).splitlines(), 1):
        if not line.strip():
            continue
        try:
            kind, corners = _line(line)
        except ValueError as error:
            raise DatasetError(
                f"{path} line {number} is no label (class x y width height, or class x y x y x y …, in fractions of "
                f"the picture): {error}: {line!r}"
            ) from None
        if kind not in classes:
            raise DatasetError(
                f"{path} line {number}: nothing says what class {kind} is: name it in the `classes` of its source, or "
                "in the `names` of the folder's data.yaml"
            )
        yield _label(classes[kind], corners)


def _line(line: str) -> tuple[int, Corners]:
    """Class number, and the part of a labelled box or outline that is in the picture."""
    kind, *values = (float(part) for part in line.split())
    if not all(abs(value) <= MOST for value in values) or not kind.is_integer():
        raise ValueError("these are no fractions")
    if len(values) in {4, 5}:  # the fifth is a confidence
        x, y, width, height = values[:4]
        if min(width, height) < 0:
            raise ValueError("a size is negative")
        return int(kind), _inside(x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    if len(values) < 6 or len(values) % 2:
        raise ValueError(f"{len(values)} numbers after the class")
    return int(kind), _inside(min(values[::2]), min(values[1::2]), max(values[::2]), max(values[1::2]))


def utf8(path: Path) -> str:
    """The text of a file, without a byte order mark; DatasetError where it is none."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} is no text in UTF-8: {error.reason} at byte {error.start}") from error


def _voc(path: Path) -> Iterator[tuple[str, Corners]]:
    """Names and boxes. Whether pixels are counted from 0 or 1 differs from tool to tool, and is left as it is."""
    try:
        # A stranger's file: expat, since 2.4.1, ends entities that swell, and ElementTree fetches none from elsewhere.
        root = ElementTree.parse(path).getroot()  # noqa: S314
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        raise DatasetError(f"{path} is no XML that can be read: {error}: export it anew, in UTF-8") from error
    if root.tag != "annotation":
        raise DatasetError(f"{path} is no Pascal VOC file: it begins with <{root.tag}>, not <annotation>")
    for number, thing in enumerate(root.findall("object"), 1):
        name = (thing.findtext("name") or "").strip()
        try:
            if not name:
                raise ValueError("it has no name")
            width, height = (_number(root, f"size/{side}") for side in ("width", "height"))
            if min(width, height) <= 0:
                raise ValueError(f"its picture has a size of {width:g} x {height:g} pixels")
            x1, y1, x2, y2 = (_number(thing, f"bndbox/{edge}") for edge in ("xmin", "ymin", "xmax", "ymax"))
            yield name, _of_pixels(x1, y1, x2, y2, width, height)
        except ValueError as error:
            raise DatasetError(f"{path} object {number} ({name}): {error}: correct it there") from None


def _number(node: ElementTree.Element, name: str) -> float:
    text = node.findtext(name)
    if text is None:
        raise ValueError(f"{name} is missing")
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{name} is {text!r}, no number")
    return value


def _coco(path: Path, files: Sequence[Path]) -> Iterator[tuple[Path, Label]]:
    content = _read_coco(path)
    images = {image.id: image for image in content.images}
    meant = {category.id: meaning(category.name) for category in content.categories}
    if len(images) < len(content.images) or len(meant) < len(content.categories):
        raise DatasetError(f"{path} gives one id to two images or categories: number them apart")
    if content.annotations:
        refuse_unless_burning(path, (category.name for category in content.categories))
    labels: dict[Id, list[Label]] = {}
    for number, each in enumerate(content.annotations):
        x, y, width, height = each.bbox
        try:
            if each.image_id not in images:
                raise ValueError(f"there is no image of id {each.image_id!r}")
            if each.category_id not in meant:
                raise ValueError(f"there is no category of id {each.category_id!r}")
            if min(width, height) < 0:
                raise ValueError("a size is negative")
            image = images[each.image_id]
            corners = _of_pixels(x, y, x + width, y + height, image.width, image.height)
        except ValueError as error:
            raise DatasetError(f"{path} annotations.{number}: {error}: correct it there") from None
        labels.setdefault(each.image_id, []).append(_label(meant[each.category_id], corners))
    for file, image in _listed(path, content.images, files):
        yield from ((file, label) for label in labels.get(image.id, ()))


def _read_coco(path: Path) -> _Coco:
    try:
        return _Coco.model_validate_json(utf8(path))
    except OSError as error:
        raise DatasetError(f"the labels {path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise DatasetError(
            f"{path} is no whole COCO file: {where + ': ' if where else ''}{first['msg']}: correct it there, or take "
            "the file away if it labels nothing here"
        ) from None


def _listed(path: Path, images: Iterable[_Image], files: Sequence[Path]) -> Iterator[tuple[Path, _Image]]:
    """The images that are those files: of the same name, and of the folder that agrees best where they tell folders."""
    named: dict[str, list[tuple[tuple[str, ...], _Image]]] = {}
    for image in images:
        told = PurePosixPath(image.file_name.replace("\\", "/"))
        named.setdefault(told.name, []).append((tuple(part for part in told.parts if part not in {"..", "/"}), image))
    for file in files:
        agreeing: dict[int, list[tuple[tuple[str, ...], _Image]]] = {}
        for parts, image in named.get(file.name, ()):
            agreeing.setdefault(len(commonprefix([parts[::-1], file.parts[::-1]])), []).append((parts, image))
        best = max(agreeing, default=0)
        ours = [(parts, image) for parts, image in agreeing.get(best, ()) if best > 1 or not _elsewhere(parts, file)]
        if len({parts for parts, _ in ours}) > 1:
            raise DatasetError(f"{path} has several images {file.name} and none is {file}: name its folder there")
        yield from ((file, image) for _, image in ours)


def _elsewhere(parts: tuple[str, ...], file: Path) -> bool:
    """Whether the folder that is told is here, and another than the file's. Else it is one of another machine."""
    return len(parts) > 1 and any((place / parts[-2]).is_dir() for place in (file.parent, file.parent.parent))
