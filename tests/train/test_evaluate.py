# SPDX-License-Identifier: AGPL-3.0-or-later
"""Figures checked by hand, thresholds from validation only, real and composite apart."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from detector.layouts import read_folder, yolo_root
from detector.measure import evaluate
from detector.measure.dataset import DatasetError, Description, Label, Picture, Split, pictures
from detector.measure.evaluate import Seen, figures, main, report, threshold_from
from detector.measure.metrics import Box, Proportion, average_precision, choose_threshold, iou, match
from detector.train.composite import write_composites
from detector.train.run import described
from detector.vision.model import Detection
from tests.detector.test_views import ScriptedModel, card
from tests.train.conftest import Image

BOX: Box = (10, 10, 20, 20)


def seen(
    *,
    smoke: tuple[Box, ...] = (),
    found: tuple[tuple[Box, float], ...] = (),
    split: Split = "test",
    kind: str = "real",
    source: str = "tower",
) -> Seen:
    """One picture of 100 x 100 pixels."""
    labels = tuple(Label("smoke", 0.15, 0.15, 0.1, 0.1) for _ in smoke)
    picture = Picture(Path("x.jpg"), source, "1", split, kind, labels)
    areas = tuple((x2 - x1) * (y2 - y1) / 1e4 for x1, y1, x2, y2 in smoke)
    return Seen(picture, smoke, areas, found, max((score for _, score in found), default=0.0))


def test_overlap_of_boxes() -> None:
    """Half of a box's own area over three halves is a third."""
    assert iou(BOX, [BOX, (15, 10, 25, 20), (30, 30, 40, 40)]) == pytest.approx([1, 1 / 3, 0])


def test_average_precision_of_an_example_done_by_hand() -> None:
    """True, false, true of three truths: 1/3 at precision 1, 1/3 at 2/3, the last third never: 5/9."""
    assert average_precision([(0.9, True), (0.8, False), (0.7, True)], 3) == pytest.approx(5 / 9)
    assert average_precision([(0.7, True), (0.9, True), (0.8, False)], 3) == pytest.approx(5 / 9)
    assert average_precision([], 2) == 0
    assert average_precision([(0.5, False)], 0) is None


def test_a_truth_is_found_once() -> None:
    """The second box on the same smoke is a false one; the better score takes it."""
    scored, taken = match([(BOX, 0.6), ((11, 10, 21, 20), 0.9)], [BOX], 0.5)
    assert scored == [(0.9, True), (0.6, False)]
    assert taken == [0.9]


def test_wilson_interval_of_known_values() -> None:
    """8 of 10: 0.490 to 0.943; 0 of 10: 0 to 0.278 (Newcombe 1998, method 3)."""
    assert Proportion(8, 10).interval() == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert Proportion(0, 10).interval() == pytest.approx((0, 0.2775), abs=1e-4)
    assert Proportion(0, 0).value is None


def test_threshold_weighs_sources_alike() -> None:
    """Ten quiet pictures of one source do not excuse the noise of the other."""
    quiet, noisy = [0.0] * 100, [0.1] * 9 + [0.62]
    assert choose_threshold({"quiet": quiet, "noisy": noisy}, 0.05) == pytest.approx(0.11)
    assert choose_threshold({"quiet": quiet, "noisy": noisy}, 0.01) == pytest.approx(0.63)
    with pytest.raises(ValueError, match="pictures without smoke"):
        choose_threshold({}, 0.05)


def test_a_threshold_is_chosen_on_validation_only() -> None:
    """One test picture among them, and it is refused."""
    held = [seen(split="validation", found=((BOX, 0.4),)), seen(split="validation")]
    assert threshold_from(held, 0.05) == pytest.approx(0.41)
    with pytest.raises(DatasetError, match="validation side only"):
        threshold_from([*held, seen(split="test")], 0.05)


def test_recall_and_false_images_at_the_threshold() -> None:
    """A find below the threshold does not count, nor does a box beside the smoke."""
    pictures = [
        seen(smoke=(BOX,), found=((BOX, 0.5),)),
        seen(smoke=(BOX,), found=((BOX, 0.2),)),
        seen(smoke=(BOX,), found=(((50, 50, 60, 60), 0.9),)),
        seen(found=((BOX, 0.35),)),
        seen(),
    ]
    result = figures(pictures, 0.3)
    assert (result["recall"]["hits"], result["recall"]["n"]) == (1, 3)
    assert (result["false_images"]["hits"], result["false_images"]["n"]) == (1, 2)


def test_real_and_composite_never_share_a_number() -> None:
    """Two sections, and no total over both."""
    both = [seen(smoke=(BOX,), found=((BOX, 0.9),)), seen(smoke=(BOX,), kind="composite", source="made")]
    result = report(both, 0.25, frozenset({"tower"}))
    assert result["real"]["all"]["recall"]["hits"] == 1
    assert result["composite"]["all"]["recall"]["hits"] == 0
    assert set(result) == {"threshold", "recall_iou", "real", "composite"}
    assert list(result["real"]["by_camera"]) == ["tower 1"]
    assert result["real"]["by_size"]["0.5 to 2 %"]["n"] == 1


def test_the_command_measures_the_shipped_model(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A table for people, the same figures as JSON; the drawn landscapes raise no alarm."""
    out = tmp_path / "figures.json"
    assert main([str(dataset), "--json", str(out)]) == 0
    result = json.loads(out.read_text())
    assert result["split"] == "test"
    assert result["model"]["real"]["all"]["smoke_boxes"] == 3
    assert "clean" in capsys.readouterr().out


def test_the_figures_are_printed_as_json_where_no_file_is_named(
    hills: Image, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """To be piped on; the tables are then on stderr."""
    cv2.imwrite(str(tmp_path / "1.jpg"), hills)
    assert main([str(tmp_path), "--json"]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["model"]["real"]["all"]["pictures"] == 1
    assert "real pictures" in told.err


@pytest.mark.parametrize("option", ["--confidence", "--choose"])
@pytest.mark.parametrize("value", ["0", "5", "nan"])
def test_a_share_that_is_none_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, value: str
) -> None:
    """0 is not taken for what the card says, nor 5 for five in a hundred."""
    with pytest.raises(SystemExit, match="2"):
        main([str(tmp_path), option, value])
    assert f"{option} " in capsys.readouterr().err


def test_figures_for_nowhere_are_refused_before_they_are_made(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not after an hour of measuring."""
    assert main([str(dataset), "--json", str(tmp_path / "none/figures.json")]) == 1
    told = capsys.readouterr()
    assert "does not exist: make it" in told.err
    assert not told.out


def test_choosing_a_threshold_on_the_test_side_is_refused(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command says which side to ask for."""
    assert main([str(dataset), "--choose", "0.05"]) == 1
    assert "validation side only" in capsys.readouterr().err


@pytest.mark.parametrize("options", [[], ["--colourless"]])
def test_colour_can_be_taken_away(dataset: Path, monkeypatch: pytest.MonkeyPatch, options: list[str]) -> None:
    """As an infrared camera shows it: the model gets three channels of one picture."""
    spread = 0

    class Watched(ScriptedModel):
        def detect(self, image: Image, confidence: float, zoom: int = 1) -> list[Detection]:
            nonlocal spread
            spread = max(spread, int(np.ptp(image, axis=2).max()))
            return super().detect(image, confidence, zoom)

    monkeypatch.setattr(evaluate, "load_model", lambda *_, **__: Watched(card(), [], []))
    assert main([str(dataset), *options]) == 0
    assert (spread == 0) == bool(options)


def test_a_plain_folder_is_a_dataset_too(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """images/ beside labels/ needs no description; a cameras.csv there gives the figures by camera."""
    assert main([str(dataset.parent / "tower")]) == 0
    assert "tower 3" in capsys.readouterr().out


def test_an_empty_folder_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It names the folder that has no pictures."""
    assert main([str(tmp_path)]) == 1
    assert "holds no pictures" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("images/test/1.jpg", "labels/test/1.txt"),
        ("valid/images/1.jpg", "valid/labels/1.txt"),
        ("flat/1.jpg", "flat/1.txt"),
    ],
)
def test_folders_as_others_lay_them_out(hills: Image, tmp_path: Path, image: str, label: str) -> None:
    """Split inside images/, split outside, or labels beside the pictures; classes by the data.yaml's names."""
    for file in (image, label):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(tmp_path / image), hills)
    (tmp_path / label).write_text("1 0.5 0.5 0.1 0.1\n")
    (tmp_path / "data.yaml").write_text("names: [Flames, White-Smoke]\n")
    for given in (tmp_path, tmp_path / "data.yaml"):
        out = tmp_path / "figures.json"
        assert main([str(given), "--json", str(out)]) == 0
        assert json.loads(out.read_text())["model"]["real"]["all"]["smoke_boxes"] == 1


def test_pictures_without_labels_and_a_torn_one(
    hills: Image, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing burns in what nobody labelled, and that is said; what cannot be read is named and left out."""
    cv2.imwrite(str(tmp_path / "1.jpg"), hills)
    (tmp_path / "2.jpg").write_bytes(b"torn")
    assert main([str(tmp_path)]) == 0
    told = capsys.readouterr()
    assert "has no labels" in told.err
    assert "2.jpg cannot be read" in told.err
    assert "0/1" in told.out


def test_nothing_but_torn_pictures_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An empty table would look like a result."""
    (tmp_path / "1.jpg").write_bytes(b"torn")
    assert main([str(tmp_path)]) == 1
    assert "none of the pictures can be read" in capsys.readouterr().err


def labelled(folder: Path, image: Image, label: str = "1 0.5 0.5 0.1 0.1\n") -> Path:
    """images/1.jpg and labels/1.txt in `folder`, which is returned."""
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True)
    cv2.imwrite(str(folder / "images/1.jpg"), image)
    (folder / "labels/1.txt").write_text(label)
    return folder


def boxes_of(description: Description, root: Path) -> list[str]:
    """The names of the labels that a folder is read with."""
    return [label.name for picture in pictures(description, root) for label in picture.labels]


@pytest.mark.parametrize("name", ["data.yaml", "data.yml", "burning.yaml"])
def test_classes_are_those_of_the_table_that_was_given(hills: Image, tmp_path: Path, name: str) -> None:
    """Whatever its name, and though the path in it is another machine's."""
    labelled(tmp_path, hills)
    table = tmp_path / name
    table.write_text("path: /nowhere/burning\nnames: [火焰, 烟雾]\n", encoding="utf-8")
    root = yolo_root(table)
    assert root == tmp_path
    assert boxes_of(read_folder(root, table), root) == ["smoke"]


def test_classes_are_those_of_the_folder_around(hills: Image, tmp_path: Path) -> None:
    """One side of a set, or its pictures alone, are given: the set's data.yaml still says what is what."""
    labelled(tmp_path / "test", hills)
    (tmp_path / "data.yaml").write_text("names: {0: fire, 1: smoke}\n")
    for folder in (tmp_path / "test", tmp_path / "test/images"):
        assert boxes_of(read_folder(folder), folder) == ["smoke"]


def test_classes_are_those_of_a_list_beside_the_labels(hills: Image, tmp_path: Path) -> None:
    """classes.txt, one a line; what is called no smoke is none."""
    labelled(tmp_path, hills, "1 0.5 0.5 0.1 0.1\n2 0.5 0.5 0.2 0.2\n")
    (tmp_path / "labels/classes.txt").write_text("fire\nno-smoke\nsmoke\n")
    assert boxes_of(read_folder(tmp_path), tmp_path) == ["smoke"]


def test_a_table_speaks_of_folders_elsewhere(hills: Image, tmp_path: Path) -> None:
    """Its sides may lie beside it, and what it does not name is not measured."""
    for name in ("set/one", "set/two", "set/three"):
        labelled(tmp_path / name, hills)
    (tmp_path / "tables").mkdir()
    table = tmp_path / "tables/data.yaml"
    table.write_text("names: [fire, smoke]\ntrain: [../set/one/images]\nval: ../set/two/images\n")
    root = yolo_root(table)
    assert root is not None
    read = list(pictures(read_folder(root, table), root))
    assert [picture.source for picture in read] == ["set-one", "set-two"]
    assert all(picture.labels for picture in read)


@pytest.mark.parametrize("names", ["[a, b]", "", "[no smoke, cloud]"])
def test_classes_of_which_none_is_smoke_are_refused(
    hills: Image, tmp_path: Path, capsys: pytest.CaptureFixture[str], names: str
) -> None:
    """Else all smoke would count as none, and each find of it as a false alarm."""
    labelled(tmp_path, hills)
    (tmp_path / "data.yaml").write_text(f"names: {names}\n")
    assert main([str(tmp_path)]) == 1
    assert "none is smoke or fire" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "content"),
    [("xml/1.xml", "<annotation></annotation>"), ("1.json", '{"shapes": [], "imagePath": "1.jpg"}')],
)
def test_labels_of_another_form_are_not_taken_for_none(
    hills: Image, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: str
) -> None:
    """Pascal VOC's in a folder of an unknown name, LabelMe's: the sentence says what to write."""
    cv2.imwrite(str(tmp_path / "1.jpg"), hills)
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(content)
    assert main([str(tmp_path)]) == 1
    assert f"{name} labels the pictures in a form that is not read, or from afar: write" in capsys.readouterr().err


def test_what_a_folder_was_trained_on_need_not_be_measured(hills: Image, tmp_path: Path) -> None:
    """By its side a folder is split as the training splits it; without one all of it is measured."""
    for name, count in (("train", 3), ("valid", 2), ("more", 20)):
        (tmp_path / name).mkdir()
        for number in range(count):
            cv2.imwrite(str(tmp_path / name / f"{name}{number}.jpg"), cv2.resize(hills, (64, 48)))
    trained = list(pictures(*described(tmp_path, None)))
    out = tmp_path / "figures.json"

    def measured(*options: str) -> dict[str, int]:
        assert main([str(tmp_path), "--json", str(out), *options]) == 0
        sources = json.loads(out.read_text())["model"]["real"]["by_source"]
        return {name: source["pictures"] for name, source in sources.items()}

    assert measured() == {"more": 20, "train": 3, "valid": 2}
    for side in ("test", "validation"):
        assert measured("--split", side) == Counter(picture.source for picture in trained if picture.split == side)


def test_a_table_says_which_side_a_folder_is_for(hills: Image, tmp_path: Path) -> None:
    """Whatever its folders are called."""
    for name in ("one", "two"):
        labelled(tmp_path / name, hills)
    table = tmp_path / "data.yaml"
    table.write_text("names: [fire, smoke]\ntrain: two/images\nval: one/images\n")
    sides = {picture.source: picture.split for picture in pictures(*described(table, None))}
    assert sides == {"one": "validation", "two": "train"}


def test_a_folder_of_composites_is_never_measured_as_real(hills: Image, tmp_path: Path) -> None:
    """The folder that the compositor wrote, given as it is or lying beside a real picture."""
    cv2.imwrite(str(tmp_path / "hills.jpg"), hills)
    write_composites(tmp_path, tmp_path / "made", 1, 1, None)
    for folder, kinds in ((tmp_path / "made", {"composite": 1}), (tmp_path, {"real": 1, "composite": 1})):
        out = tmp_path / "figures.json"
        assert main([str(folder), "--json", str(out)]) == 0
        result = json.loads(out.read_text())["model"]
        assert {kind: result[kind]["all"]["pictures"] for kind in result.keys() & {"real", "composite"}} == kinds


def test_a_video_is_no_dataset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The sentence says which file is none."""
    (tmp_path / "video.mp4").write_bytes(bytes(range(256)))
    assert main([str(tmp_path / "video.mp4")]) == 1
    assert "video.mp4 is not a dataset description" in capsys.readouterr().err


def test_pictures_of_every_usual_kind_are_measured(hills: Image, tmp_path: Path) -> None:
    """The same kinds that replay reads."""
    names = ["1.webp", "2.bmp", "3.tif", "4.JPG", "5.png"]
    for name in names:
        cv2.imwrite(str(tmp_path / name), hills)
    (tmp_path / "._5.png").write_bytes(b"a Mac's note")
    assert [picture.path.name for picture in pictures(read_folder(tmp_path), tmp_path)] == names


def test_two_folders_of_one_name_stay_two_sources(hills: Image, tmp_path: Path) -> None:
    """Names that differ in a blank only would else become one figure."""
    for name in ("west hill", "west-hill"):
        labelled(tmp_path / name, hills)
    assert len({source.name for source in read_folder(tmp_path).sources}) == 2


@pytest.mark.parametrize("shape", [(1, 1), (1, 640), (1, 4000), (480, 1), (4000, 1)])
def test_a_picture_of_next_to_nothing_is_measured(hills: Image, tmp_path: Path, shape: tuple[int, int]) -> None:
    """One row, one column: nothing is in it, and nothing breaks."""
    cv2.imwrite(str(tmp_path / "1.png"), cv2.resize(hills, shape[::-1]))
    assert main([str(tmp_path)]) == 0
