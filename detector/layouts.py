# SPDX-License-Identifier: AGPL-3.0-or-later
"""Folders of pictures as others lay them out, read as a dataset: with or without labels, split or not.

Labels are YOLO text files or Pascal VOC's XML, one for each picture: in `labels` or `Annotations` where the pictures
are in `images` or `JPEGImages`, or beside the pictures. Or they are COCO's JSON: beside the pictures or their folder,
or in an `annotations` there. YOLO's class numbers mean what the `names` of a `data.yaml` say, or the lines of a
`classes.txt`; else 0 is smoke and 1 is fire. What has no label holds no smoke. A `cameras.csv` (image, camera) beside
the pictures or their folder says of which camera each is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import yaml

from detector.frame import is_picture
from detector.measure.dataset import DatasetError, Description, Group, Source, read_description
from detector.measure.labels import meaning, refuse_unless_burning, utf8

TABLES = ("data.yaml", "dataset.yaml", "data.yml", "dataset.yml")
DESCRIPTION = "dataset.yaml"
PICTURES_IN = ("images", "Images", "JPEGImages")
LABELS_IN = ("labels", "Labels", "annotations", "Annotations")
"""Where the labels of pictures in a folder of one of those names are."""
SIDES = {"train": (0.0, 0.0), "val": (1.0, 0.0), "valid": (1.0, 0.0), "validation": (1.0, 0.0), "test": (0.0, 1.0)}
"""The shares of validation and test of a folder by its name."""
UNTOLD = (0.2, 0.2)  # where nothing says
CAMERAS = "cameras.csv"
USUAL = {0: "smoke", 1: "fire"}
COCO = re.compile(rb'"(annotations|categories)"')
OTHER_FORMS = {"*.xml": re.compile(b"<annotation"), "*.json": re.compile(COCO.pattern + rb'|"shapes"')}
"""Labels that lie where none are looked for, or are LabelMe's or another tool's, and what they hold."""


def read_folder(folder: Path, table: Path | None = None, *, split: bool = False) -> Description:
    """Every folder of pictures at or below `folder` as a source of its own: all on the test side, or `split` as the
    table, its lists or the folders' names say, and where they say nothing a fifth each for validation and test.

    `table` is the YOLO data.yaml that names the classes, and may say which folders or listed pictures count, also
    elsewhere; without it the classes are those of the folder's own, or of that of a folder it lies in. A folder that
    lists share out becomes a source for each side. Raises DatasetError.
    """
    folder = folder.resolve()
    declared = dict(_declared(table, folder)) if table else {}
    found = [path for place in declared or [folder] for path in (place.rglob("*") if place.is_dir() else [place])]
    inside: dict[Path, list[Path]] = {}
    for path in sorted(set(found)):
        if is_picture(path):
            inside.setdefault(path.parent, []).append(path)
    if not inside:
        raise DatasetError(
            f"{folder} holds no pictures (JPEG or PNG): give a folder that does, or a description (YAML)"
        )
    labels = {home: _labels_of(folder, home, inside) for home in sorted(inside)}
    if not any(labels.values()):
        _refuse_other_forms(folder)
    classes = _classes(folder, list(labels), table)
    sources: list[Source] = []
    for home, places in labels.items():
        listed = any(file in declared for file in inside[home])
        sides = _sides(folder, inside[home], declared) if split else {"test": inside[home]}
        for side, part in sides.items():
            name = _source_name(folder, home) + (f"-{side}" if len(sides) > 1 else "")
            validation, test = SIDES.get(side, UNTOLD)
            source = Source(
                name=_unused(name, {source.name for source in sources}),
                images=_below(home, folder),
                only=[file.name for file in part] if listed else None,
                labels=[_below(path, folder) for path in places or _folders_of_labels(home)[:1]],
                classes=classes,
                group=_group(home),
                kind=_kind(home),
                validation=validation,
                test=test,
            )
            sources.append(source)
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
    """The folders that a data.yaml names, and the pictures that its lists do, and for which side."""
    content = _yolo(table) or {}
    for side in ("train", "val", "test"):
        named = content.get(side) or []
        for each in named if isinstance(named, list) else [named]:
            if str(each).endswith(".txt"):
                listed = _here(str(each), (root, table.parent))
                if listed is None:
                    raise DatasetError(f"{table} names {each}, which is not there: put it there or correct the name")
                yield from ((path, side) for path in _pictures_of(listed, (listed.parent, root, table.parent)))
            elif (root / str(each)).is_dir():
                yield (root / str(each)).resolve(), side


def _pictures_of(listed: Path, bases: Iterable[Path]) -> Iterator[Path]:
    """The pictures that a list names, one a line."""
    for number, line in enumerate(utf8(listed).splitlines(), 1):
        if not line.strip():
            continue
        path = _here(line.strip(), bases)
        if path is None or not is_picture(path):
            raise DatasetError(
                f"{listed} line {number}: there is no picture {line.strip()}: add it, or take the line out"
            )
        yield path


def _here(told: str, bases: Iterable[Path]) -> Path | None:
    """The file that is told, from one of the bases; or, as of another machine, the longest end of its path that is."""
    parts = PurePosixPath(told.replace("\\", "/")).parts
    ends = (base.joinpath(*parts[cut:]) for cut in range(len(parts)) for base in bases)
    return next((path.parent.resolve() / path.name for path in ends if path.is_file()), None)


def _below(path: Path, folder: Path) -> str:
    return str(path.relative_to(folder) if path.is_relative_to(folder) else path)


def _source_name(folder: Path, home: Path) -> str:
    inside = home.relative_to(folder) if home.is_relative_to(folder) else home
    name = "-".join(part for part in inside.parts[-3:] if part not in {*PICTURES_IN, inside.anchor}) or _name(folder)
    return re.sub(r"[^\w.-]", "-", name)


def _unused(name: str, taken: set[str]) -> str:
    number = 2
    while name in taken:
        name, number = f"{name.removesuffix(f'-{number - 1}')}-{number}", number + 1
    return name


def _sides(folder: Path, files: list[Path], declared: Mapping[Path, str]) -> dict[str, list[Path]]:
    """The pictures of one folder by the side that they are for: as a list says of them, else the table of their folder,
    else its name; "" where nothing says."""
    home = files[0].parent
    by_table = [declared[place] for place in (home, *home.parents) if place in declared]
    by_name = [part for part in Path(_below(home, folder)).parts if part in SIDES]
    usual = next(iter(by_table or by_name), "")
    sides: dict[str, list[Path]] = {}
    for file in files:
        sides.setdefault(declared.get(file, usual), []).append(file)
    return sides


def _folders_of_labels(home: Path) -> list[Path]:
    """The folders where the labels of the pictures in `home` may be."""
    parts = home.parts
    for place in reversed(range(len(parts))):
        if parts[place] in PICTURES_IN:
            beside = [Path(*parts[:place], name, *parts[place + 1 :]) for name in LABELS_IN]
            return [*(path for path in beside if path.is_dir()), home]
    return [home]


def _labels_of(folder: Path, home: Path, inside: Mapping[Path, list[Path]]) -> list[Path]:
    """Where the pictures in `home` are labelled: a folder, or COCO files; nothing where they are not."""
    stems = {file.stem for file in inside[home]}
    for place in _folders_of_labels(home):
        if any(path.suffix in {".txt", ".xml"} and path.stem in stems for path in place.iterdir()):
            return [place]
    for place in (home, *home.parents):
        within = place.is_relative_to(folder)
        if not within and place not in home.parents[:2]:
            break
        near = {*place.glob("[Aa]nnotations/*.json"), *(place.glob("*.json") if within else ())}
        coco = [path for path in sorted(near) if path.stem not in stems and COCO.search(path.read_bytes())]
        if coco:
            return _meant_for(home, coco, [each for each in inside if each.is_relative_to(place)], place)
    return []


def _meant_for(home: Path, coco: list[Path], homes: list[Path], place: Path) -> list[Path]:
    """Those that are named after the folder `home`, as instances_train2017.json is; else those that are after none."""

    def named(path: Path, after: Path) -> int:
        """How much of its name is a folder's, or another word for the same side."""
        words = {_words(name) for part in after.relative_to(place).parts for name in (part, *_same_side(part))}
        return max((len(each) for each in words if each in _words(path.stem)), default=0)

    most = {path: max(named(path, each) for each in homes) for path in coco}
    own = [path for path in coco if 0 < named(path, home) == most[path]]
    return own or [path for path in coco if not most[path]]


def _words(name: str) -> str:
    """Its words and numbers between blanks, so that cam1 is not found in cam10."""
    return " ".join(["", *re.findall(r"[^\W\d_]+|\d+", name.lower()), ""])


def _same_side(name: str) -> list[str]:
    return [other for other, shares in SIDES.items() if shares == SIDES.get(name)]


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
    for place in [folder, folder / "labels", *(place for home in homes for place in _folders_of_labels(home))]:
        path = place / "classes.txt"
        if path.is_file():
            return _meanings(path, dict(enumerate(path.read_text(encoding="utf-8-sig").split("\n"))))
    return USUAL


def _meanings(path: Path, names: dict[Any, Any]) -> dict[int, str]:
    refuse_unless_burning(path, map(str, names.values()))
    return {int(number): meaning(str(name)) for number, name in names.items()}


def _refuse_other_forms(folder: Path) -> None:
    """Where nothing is labelled as it is read, but otherwise: its smoke would count as none."""
    for pattern, content in OTHER_FORMS.items():
        for path in sorted(folder.rglob(pattern)):
            if content.search(path.read_bytes()):
                raise DatasetError(
                    f"{path} labels the pictures in a form that is not read, or from afar: write YOLO, Pascal VOC or "
                    "COCO labels beside the pictures"
                )
