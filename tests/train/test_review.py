# SPDX-License-Identifier: AGPL-3.0-or-later
"""Verdicts from operation become a dataset that `train run` takes as it is."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest

from detector.measure.dataset import pictures, read_description
from detector.train.cli import main
from tests.train.conftest import landscape


def export(folder: Path, *verdicts: dict[str, object]) -> Path:
    """A folder as the server exports it."""
    folder.mkdir()
    for verdict in verdicts:
        cv2.imwrite(str(folder / str(verdict["picture"])), landscape(1, 160, 120))
    (folder / "verdicts.jsonl").write_text("".join(json.dumps(v) + "\n" for v in verdicts))
    return folder


REAL: dict[str, object] = {
    "picture": "a.jpg",
    "camera": "west",
    "verdict": "real",
    "box": [0.4, 0.5, 0.5, 0.7],
    "reason": None,
}
FALSE: dict[str, object] = {
    "picture": "b.jpg",
    "camera": "west",
    "verdict": "false",
    "box": [0.1, 0.1, 0.2, 0.2],
    "reason": "fog",
}


def test_real_smoke_is_labelled_and_a_false_alarm_is_a_clean_picture(tmp_path: Path) -> None:
    """The false alarm's box is not a label; both keep their camera, so they stay on one side of a split."""
    review = export(tmp_path / "review", REAL, FALSE)
    assert main(["--from-review", str(review), "--out", str(tmp_path / "set")]) == 0
    read = list(pictures(read_description(tmp_path / "set/dataset.yaml"), tmp_path / "set"))
    found = {p.path.name: p for p in read}
    (label,) = found["a.jpg"].labels
    assert (label.x, label.y, label.width, label.height) == pytest.approx((0.45, 0.6, 0.1, 0.2))
    assert found["b.jpg"].labels == ()
    assert {p.group for p in read} == {"west"}
    assert len({p.split for p in read}) == 1


def test_a_picture_with_real_and_false_boxes_is_not_clean(tmp_path: Path) -> None:
    """Two sightings of one frame, one of them real."""
    review = export(tmp_path / "review", REAL, {**FALSE, "picture": "a.jpg"})
    assert main(["from-review", str(review), "--out", str(tmp_path / "set")]) == 0
    (picture,) = pictures(read_description(tmp_path / "set/dataset.yaml"), tmp_path / "set")
    assert len(picture.labels) == 1


def test_smoke_of_another_kind_is_learned_neither_as_smoke_nor_as_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A chimney was a false alarm, but its picture is not one without smoke."""
    review = export(tmp_path / "review", REAL, {**FALSE, "reason": "chimney"})
    assert main(["from-review", str(review), "--out", str(tmp_path / "set")]) == 0
    assert "1 real, 0 false alarms, 1 left out" in capsys.readouterr().out
    (picture,) = pictures(read_description(tmp_path / "set/dataset.yaml"), tmp_path / "set")
    assert picture.path.name == "a.jpg"


def test_flames_are_labelled_as_flames(tmp_path: Path) -> None:
    """A sighting of fire, found real."""
    review = export(tmp_path / "review", {**REAL, "label": "fire"})
    assert main(["from-review", str(review), "--out", str(tmp_path / "set")]) == 0
    (picture,) = pictures(read_description(tmp_path / "set/dataset.yaml"), tmp_path / "set")
    assert [label.name for label in picture.labels] == ["fire"]


@pytest.mark.parametrize(
    ("verdict", "sentence"),
    [
        ({**REAL, "box": None}, "line 1: Value error, a real smoke needs its box"),
        ({**REAL, "box": [0.5, 0.5, 0.4, 0.7]}, "fractions of the frame"),
        ({**REAL, "verdict": "perhaps"}, "line 1"),
    ],
)
def test_a_wrong_verdict_is_named_with_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], verdict: dict[str, object], sentence: str
) -> None:
    """And nothing is written."""
    review = export(tmp_path / "review", verdict)
    assert main(["from-review", str(review), "--out", str(tmp_path / "set")]) == 1
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "set").exists()


def test_a_picture_that_leads_out_of_the_folder_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A verdict names a file, not a path."""
    review = export(tmp_path / "review", REAL)
    (review / "verdicts.jsonl").write_text(json.dumps({**REAL, "picture": "../a.jpg"}))
    assert main(["from-review", str(review), "--out", str(tmp_path / "set")]) == 1
    assert "file name without folders" in capsys.readouterr().err


@pytest.mark.parametrize("camera", ["west", "east", "quzhou-1"])
def test_one_camera_is_enough_to_learn_from(tmp_path: Path, camera: str) -> None:
    """Whichever side its name would fall on among many."""
    review = export(tmp_path / "review", {**REAL, "camera": camera}, {**FALSE, "camera": camera})
    assert main(["from-review", str(review), "--out", str(tmp_path / "set")]) == 0
    read = pictures(read_description(tmp_path / "set/dataset.yaml"), tmp_path / "set")
    assert [picture.split for picture in read] == ["train", "train"]


def test_many_cameras_are_split(tmp_path: Path) -> None:
    """Some are kept to choose thresholds on, and some to measure by."""
    verdicts = [{**REAL, "picture": f"{number}.jpg", "camera": f"camera-{number}"} for number in range(30)]
    review = export(tmp_path / "review", *verdicts)
    assert main(["from-review", str(review), "--out", str(tmp_path / "set")]) == 0
    read = pictures(read_description(tmp_path / "set/dataset.yaml"), tmp_path / "set")
    assert {picture.split for picture in read} == {"train", "validation", "test"}


def test_a_verdict_that_changed_leaves_nothing_behind(tmp_path: Path) -> None:
    """The false alarm turns out to be a chimney: its picture is no longer one without smoke."""
    review = export(tmp_path / "review", REAL, FALSE)
    assert main(["from-review", str(review), "--out", str(tmp_path / "set")]) == 0
    changed = [REAL, {**FALSE, "reason": "chimney"}]
    (review / "verdicts.jsonl").write_text("".join(json.dumps(verdict) + "\n" for verdict in changed))
    assert main(["from-review", str(review), "--out", str(tmp_path / "set")]) == 0
    (picture,) = pictures(read_description(tmp_path / "set/dataset.yaml"), tmp_path / "set")
    assert picture.path.name == "a.jpg"


def test_a_folder_with_something_else_in_it_is_left_alone(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Somebody's own dataset is no place to write to."""
    review = export(tmp_path / "review", REAL)
    for out in (dataset.parent, review):
        before = sorted(out.rglob("*"))
        assert main(["from-review", str(review), "--out", str(out)]) == 1
        assert "give an empty folder" in capsys.readouterr().err
        assert sorted(out.rglob("*")) == before
