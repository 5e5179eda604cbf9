# SPDX-License-Identifier: AGPL-3.0-or-later
"""Pascal VOC's and COCO's labels say the same as YOLO's, lists say the sides; what is wrong in them is one sentence."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import pytest

from detector.layouts import read_folder
from detector.measure.dataset import DatasetError, Picture, pictures, read_description
from detector.measure.evaluate import main
from detector.train.run import described
from tests.train.conftest import Image

WIDE, HIGH = 200, 100
BOX = (20, 10, 60, 30)
"""Smoke in a picture of that size: left, upper, right and lower edge in pixels."""
YOLO = "0 0.2 0.2 0.2 0.2\n"


def voc(*objects: tuple[str, tuple[Any, ...]], size: tuple[Any, Any] = (WIDE, HIGH)) -> str:
    """One picture's XML, with these names and boxes."""
    edges = ("xmin", "ymin", "xmax", "ymax")
    things = "".join(
        f"<object><name>{name}</name><bndbox>"
        + "".join(f"<{edge}>{value}</{edge}>" for edge, value in zip(edges, box, strict=True))
        + "</bndbox></object>"
        for name, box in objects
    )
    return f"<annotation><size><width>{size[0]}</width><height>{size[1]}</height></size>{things}</annotation>"


def coco(files: Mapping[str, list[tuple[str, tuple[Any, ...]]]], names: tuple[str, ...] = ("cloud", "烟雾")) -> str:
    """The JSON of these files, each with its names and boxes."""
    annotations = [
        {"image_id": number, "category_id": names.index(name), "bbox": [x1, y1, x2 - x1, y2 - y1]}
        for number, labels in enumerate(files.values())
        for name, (x1, y1, x2, y2) in labels
    ]
    return json.dumps(
        {
            "images": [
                {"id": number, "file_name": file, "width": WIDE, "height": HIGH} for number, file in enumerate(files)
            ],
            "categories": [{"id": number, "name": name} for number, name in enumerate(names)],
            "annotations": annotations,
        },
        ensure_ascii=False,
    )


def written(root: Path, files: Mapping[str, str]) -> Path:
    """These files below `root`, which is returned; pictures need not be any to be listed."""
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root


def read(root: Path) -> dict[str, list[tuple[str, tuple[float, ...]]]]:
    """Each picture's labels, of a folder as it lies."""
    return {
        picture.path.relative_to(root.resolve()).as_posix(): told(picture)
        for picture in pictures(read_folder(root), root.resolve())
    }


def told(picture: Picture) -> list[tuple[str, tuple[float, ...]]]:
    """Names and boxes, rounded."""
    return [
        (label.name, tuple(round(value, 9) for value in (label.x, label.y, label.width, label.height)))
        for label in picture.labels
    ]


SMOKE = [("烟雾", BOX)]
BY_VOC = voc(("Smoke", BOX), ("cloud", (0, 0, 9, 9)))


@pytest.mark.parametrize(
    ("picture", "labels"),
    [
        ("images/1.jpg", {"labels/1.txt": YOLO}),
        ("1.jpg", {"1.xml": BY_VOC}),
        ("JPEGImages/1.jpg", {"Annotations/1.xml": BY_VOC}),
        ("images/1.jpg", {"annotations/1.xml": BY_VOC}),
        ("images/train/1.jpg", {"annotations/train/1.xml": BY_VOC}),
        ("train/1.jpg", {"train/_annotations.coco.json": coco({"1.jpg": SMOKE})}),
        ("train/images/1.jpg", {"train/labels.json": coco({"1.jpg": SMOKE})}),
        ("train2017/1.jpg", {"annotations/instances_train2017.json": coco({"1.jpg": SMOKE})}),
        ("images/train2017/1.jpg", {"annotations/instances_train2017.json": coco({"train2017/1.jpg": SMOKE})}),
        ("images/1.jpg", {"annotations/all.json": coco({r"..\upload\7\1.jpg": SMOKE})}),
        (
            "images/1.jpg",
            {"annotations/train.json": coco({"1.jpg": SMOKE}), "annotations/val.json": coco({"9.jpg": SMOKE})},
        ),
    ],
)
def test_what_is_labelled_is_the_same_in_each_form(tmp_path: Path, picture: str, labels: dict[str, str]) -> None:
    """One box of smoke, wherever the labels lie; a picture that they do not speak of holds none."""
    other = picture.replace("1.jpg", "2.jpg")
    root = written(tmp_path, {picture: "", other: "", **labels})
    assert read(root) == {picture: [("smoke", (0.2, 0.2, 0.2, 0.2))], other: []}


def test_a_file_named_after_a_folder_labels_that_one_alone(tmp_path: Path) -> None:
    """Pictures of one name in several folders keep their own labels; a folder that no file is named after has none."""
    files = {f"{folder}/1.jpg": "" for folder in ("train", "valid", "more")}
    files["annotations/instances_train2017.json"] = coco({"1.jpg": SMOKE})
    files["annotations/instances_val2017.json"] = coco({"1.jpg": [*SMOKE, *SMOKE]})
    assert {name: len(labels) for name, labels in read(written(tmp_path, files)).items()} == {
        "more/1.jpg": 0,
        "train/1.jpg": 1,
        "valid/1.jpg": 2,
    }


def test_a_file_that_tells_folders_labels_the_pictures_of_those(tmp_path: Path) -> None:
    """One for several cameras, one of which it does not speak of."""
    labels = coco({"a/1.jpg": SMOKE, "b/1.jpg": [], "a/2.jpg": SMOKE})
    root = written(tmp_path, {"a/1.jpg": "", "b/1.jpg": "", "b/2.jpg": "", "all.json": labels})
    assert {name: len(found) for name, found in read(root).items()} == {"a/1.jpg": 1, "b/1.jpg": 0, "b/2.jpg": 0}


def test_boxes_are_clipped_and_empty_ones_kept_as_yolos_are(tmp_path: Path) -> None:
    """A little over the edge; without any width."""
    boxes = (-20, 80, 20, 120), (50, 0, 50, 100)
    labels = {
        "a/1.txt": "0 0 1 0.2 0.4\n0 0.25 0.5 0 1\n",
        "b/1.xml": voc(*(("smoke", box) for box in boxes)),
        "c/c.json": coco({"1.jpg": [("烟雾", box) for box in boxes]}),
    }
    found = read(written(tmp_path, {f"{folder}/1.jpg": "" for folder in "abc"} | labels))
    expected = [("smoke", (0.05, 0.9, 0.1, 0.2)), ("smoke", (0.25, 0.5, 0.0, 1.0))]
    assert found == {f"{folder}/1.jpg": expected for folder in "abc"}


def test_a_description_names_labels_of_any_form(tmp_path: Path) -> None:
    """A folder of XML files; a COCO file, or two whose labels add up."""
    description = "name: set\nsources:\n"
    for name, labels in (("a", "a/xml"), ("b", "b.json"), ("c", "[b.json, a/xml]")):
        description += f"  - {{name: {name}, images: images, labels: {labels}}}\n"
    root = written(
        tmp_path,
        {"set.yaml": description, "images/1.jpg": "", "a/xml/1.xml": BY_VOC, "b.json": coco({"1.jpg": SMOKE})},
    )
    found = {picture.source: told(picture) for picture in pictures(read_description(root / "set.yaml"), root)}
    assert found["a"] == found["b"] == [("smoke", (0.2, 0.2, 0.2, 0.2))]
    assert found["c"] == found["a"] + found["b"]


SWELLING = '<!DOCTYPE a [<!ENTITY a0 "smoke">{}]><annotation><object><name>&a9;</name></object></annotation>'.format(
    "".join(f'<!ENTITY a{number} "{f"&a{number - 1};" * 20}">' for number in range(1, 10))
)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("<annotation><object>", "1.xml is no XML that can be read"),
        ("<annotations/>", "1.xml is no Pascal VOC file: it begins with <annotations>"),
        (SWELLING, "1.xml is no XML that can be read"),
        (voc(("smoke", BOX), size=(0, HIGH)), r"1.xml object 1 \(smoke\): its picture has a size of 0 x 100 pixels"),
        (voc(("smoke", BOX)).replace("size", "seize"), "size/width is missing"),
        (voc(("smoke", BOX), ("smoke", (60, 10, 20, 30))), r"object 2 \(smoke\): its right edge is left of"),
        (voc(("smoke", (210, 10, 260, 30))), "it lies outside the picture"),
        (voc(("smoke", (20, 10, 900, 30))), "it reaches far out of the picture"),
        (voc(("smoke", ("nan", 10, 60, 30))), "bndbox/xmin is 'nan', no number"),
        (voc(("smoke", ("", 10, 60, 30))), "bndbox/xmin is '', no number"),
        (voc(("smoke", BOX)).replace("bndbox", "polygon"), "bndbox/xmin is missing"),
        (voc(("", BOX)), "it has no name"),
        (voc(("cloud", BOX), ("no-smoke", BOX)), r"\(cloud, no-smoke\) none is smoke or fire"),
    ],
)
def test_a_wrong_voc_file_is_one_clear_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    """It names the file and the object."""
    with pytest.raises(DatasetError, match=sentence):
        read(written(tmp_path, {"1.jpg": "", "1.xml": text}))


def changed(**parts: Any) -> str:
    """COCO's JSON of one picture with one box, some of it replaced."""
    content = json.loads(coco({"1.jpg": SMOKE}))
    for name, change in parts.items():
        content[name][-1] |= change
    return json.dumps(content)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('{"annotations": [', "_annotations.coco.json is no whole COCO file: Invalid JSON"),
        ('{"annotations": []}', "is no whole COCO file: images: Field required"),
        (changed(images={"width": 0}), "images.0.width: Input should be greater than 0"),
        (changed(images={"height": None}), "images.0.height"),
        (changed(annotations={"image_id": 7}), "annotations.0: there is no image of id 7"),
        (changed(annotations={"category_id": 7}), "annotations.0: there is no category of id 7"),
        (changed(annotations={"bbox": [1, 2, float("nan"), 4]}), "annotations.0.bbox.2: Input should be a finite"),
        (changed(annotations={"bbox": [1, 2, 3]}), "annotations.0.bbox"),
        (changed(annotations={"bbox": [20, 10, -5, 5]}), "annotations.0: a size is negative"),
        (changed(annotations={"bbox": [210, 10, 50, 20]}), "annotations.0: it lies outside the picture"),
        (changed(annotations={"bbox": [20, 10, 900, 20]}), "annotations.0: it reaches far out of the picture"),
        (changed(categories={"id": 0}), "gives one id to two images or categories"),
        (changed(categories={"name": "no smoke"}), r"\(cloud, no smoke\) none is smoke or fire"),
        (coco({r"x\1.jpg": SMOKE, r"y\1.jpg": []}), "several images 1.jpg"),
    ],
)
def test_a_wrong_coco_file_is_one_clear_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    """It names the file and the entry, counted from 0."""
    with pytest.raises(DatasetError, match=sentence):
        read(written(tmp_path, {"1.jpg": "", "_annotations.coco.json": text}))


@pytest.mark.parametrize("name", ["1.xml", "set.json"])
def test_labels_of_another_script_are_named(tmp_path: Path, name: str) -> None:
    """As they come from old tools."""
    text = {"1.xml": voc(("烟", BOX)), "set.json": coco({"1.jpg": SMOKE})}[name]
    written(tmp_path, {"1.jpg": ""})
    (tmp_path / name).write_bytes(text.encode("gbk"))
    with pytest.raises(DatasetError, match=rf"{name} is no .* UTF-8"):
        read(tmp_path)


LISTS = {f"images/{number}.jpg": "" for number in range(5)} | {
    "labels/0.txt": YOLO,
    "data.yaml": "names: [smoke]\ntrain: [one.txt, lists/two.txt]\nval: lists/val.txt\ntest: /other/lists/test.txt\n",
    "one.txt": "./images/0.jpg\n\n",
    "lists/two.txt": "../images/1.jpg\n",
    "lists/val.txt": "images/2.jpg\n",
    "lists/test.txt": "D:\\other\\set\\images\\3.jpg\r\n",
}


def test_lists_say_which_picture_is_for_which_side(tmp_path: Path) -> None:
    """Told from the list's folder, the table's, or another machine's root; what no list names does not count."""
    root = written(tmp_path, LISTS)
    found = {picture.path.name: picture for picture in pictures(*described(root / "data.yaml", None))}
    assert {name: picture.split for name, picture in found.items()} == {
        "0.jpg": "train",
        "1.jpg": "train",
        "2.jpg": "validation",
        "3.jpg": "test",
    }
    assert told(found["0.jpg"]) == [("smoke", (0.2, 0.2, 0.2, 0.2))]
    whole = read_folder(root, root / "data.yaml")
    assert [picture.path.name for picture in pictures(whole, root)] == sorted(found)


def test_lists_may_speak_of_pictures_elsewhere(tmp_path: Path) -> None:
    """Beside the folder of the table that names the lists."""
    root = written(tmp_path / "set", LISTS)
    table = written(
        tmp_path / "mine", {"data.yaml": "names: [smoke]\nval: val.txt\n", "val.txt": f"{root}/images/0.jpg\n"}
    )
    (found,) = pictures(*described(table / "data.yaml", None))
    assert (found.path, found.split) == (root / "images/0.jpg", "validation")
    assert told(found) == [("smoke", (0.2, 0.2, 0.2, 0.2))]


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("lists/two.txt", "../images/1.jpg\n/else/9.jpg\n", "two.txt line 2: there is no picture /else/9.jpg"),
        ("one.txt", "data.yaml\n", "one.txt line 1: there is no picture data.yaml"),
        ("data.yaml", "names: [smoke]\nval: none.txt\n", "data.yaml names none.txt, which is not there"),
    ],
)
def test_a_wrong_list_is_one_clear_sentence(tmp_path: Path, name: str, text: str, sentence: str) -> None:
    """It names the list and its line."""
    root = written(tmp_path, LISTS | {name: text})
    with pytest.raises(DatasetError, match=sentence):
        described(root / "data.yaml", None)


def test_a_picture_that_a_description_names_and_nobody_has_is_told(tmp_path: Path) -> None:
    """One of those that alone count."""
    text = "name: set\nsources:\n  - {name: a, images: images, only: [1.jpg, 9.jpg]}\n"
    root = written(tmp_path, {"set.yaml": text, "images/1.jpg": ""})
    with pytest.raises(DatasetError, match=r"source a has no 9\.jpg in .*images: correct `only`"):
        list(pictures(read_description(root / "set.yaml"), root))


@pytest.mark.parametrize("form", ["voc", "coco"])
def test_the_command_measures_a_folder_of_another_form(hills: Image, tmp_path: Path, form: str) -> None:
    """From the labels on disk to the figures."""
    text = {"voc": {"Annotations/1.xml": BY_VOC}, "coco": {"annotations/all.json": coco({"1.jpg": SMOKE})}}[form]
    written(tmp_path, text | {"JPEGImages/1.jpg": ""})
    for name in ("1.jpg", "2.jpg"):
        cv2.imwrite(str(tmp_path / "JPEGImages" / name), cv2.resize(hills, (WIDE, HIGH)))
    out = tmp_path / "figures.json"
    assert main([str(tmp_path), "--json", str(out)]) == 0
    result = json.loads(out.read_text())["model"]["real"]["all"]
    assert result["smoke_boxes"] == 1
    assert result["false_images"]["n"] == 1
