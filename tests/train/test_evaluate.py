# SPDX-License-Identifier: AGPL-3.0-or-later
"""Figures checked by hand, thresholds from validation only, real and composite apart."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest

from detector.measure.dataset import DatasetError, Label, Picture, Split
from detector.measure.evaluate import Seen, figures, main, report, threshold_from
from detector.measure.metrics import Box, Proportion, average_precision, choose_threshold, iou, match
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


def test_choosing_a_threshold_on_the_test_side_is_refused(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command says which side to ask for."""
    assert main([str(dataset), "--choose", "0.05"]) == 1
    assert "validation side only" in capsys.readouterr().err


def test_a_plain_folder_is_a_dataset_too(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """images/ beside labels/ needs no description."""
    assert main([str(dataset.parent / "tower")]) == 0
    assert "tower" in capsys.readouterr().out


def test_an_empty_folder_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It names the folder that has no pictures."""
    assert main([str(tmp_path)]) == 1
    assert "holds no pictures" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("pictures", "labels"),
    [
        ("images/test/1.jpg", "labels/test/1.txt"),
        ("valid/images/1.jpg", "valid/labels/1.txt"),
        ("flat/1.jpg", "flat/1.txt"),
    ],
)
def test_folders_as_others_lay_them_out(hills: Image, tmp_path: Path, pictures: str, labels: str) -> None:
    """Split inside images/, split outside, or labels beside the pictures; classes by the data.yaml's names."""
    for file in (pictures, labels):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(tmp_path / pictures), hills)
    (tmp_path / labels).write_text("1 0.5 0.5 0.1 0.1\n")
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
