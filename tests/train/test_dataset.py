# SPDX-License-Identifier: AGPL-3.0-or-later
"""Splits that cannot flatter: a camera, a day or a fire lies on one side only."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import pytest

from detector.measure.dataset import DatasetError, Source, pictures, read_description, side
from detector.train.prepare import draw, prepare, recipe
from detector.train.run import begin, described
from tests.train.conftest import Image

SHIPPED = Path(__file__).resolve().parents[2] / "detector/train/datasets/shared.yaml"


def test_no_camera_is_on_two_sides(dataset: Path) -> None:
    """Every camera's pictures are all for training, all for validation or all for the test."""
    sides: dict[str, set[str]] = {}
    for picture in pictures(read_description(dataset), dataset.parent):
        if picture.source == "tower":
            sides.setdefault(picture.group, set()).add(picture.split)
    assert sides == {"0": {"train"}, "1": {"validation"}, "2": {"test"}, "3": {"train"}}


def test_the_shared_data_never_shares_a_camera_or_a_day(shared: Path) -> None:
    """In the description that ships, at least three towers and three fog days are kept for the test."""
    sides: dict[tuple[str, str], set[str]] = {}
    for picture in pictures(read_description(SHIPPED), shared / "data/smoke"):
        sides.setdefault((picture.source, picture.group), set()).add(picture.split)
    assert all(len(where) == 1 for where in sides.values())
    for source in ("tower", "hillroad-fog"):
        for split in ("test", "validation"):
            assert sum(s == source and where == {split} for (s, _), where in sides.items()) >= 3


def test_a_shared_split_does_not_move_when_pictures_are_added() -> None:
    """A group's side depends on its name alone."""
    source = Source(name="web", images="images", validation=0.2, test=0.3)
    names = [f"camera{n}" for n in range(400)]
    sides = [side(source, name) for name in names]
    assert [side(source, name) for name in reversed(names)] == sides[::-1]
    assert 90 <= sides.count("test") <= 150
    assert 55 <= sides.count("validation") <= 105


def test_training_pictures_come_from_the_training_side_alone(dataset: Path) -> None:
    """Neither as pictures nor as backdrops are the other sides drawn from."""
    description = read_description(dataset)
    drawn = recipe(description, dataset.parent)
    used = {p.path for group in drawn.by_source.values() for p in group}
    other = {p.path for p in pictures(description, dataset.parent) if p.split != "train"}
    assert used
    assert other
    assert not used & other


def test_a_training_picture_depends_on_seed_and_number_alone(dataset: Path) -> None:
    """Drawn alone or after others, picture 3 is the same; its boxes lie inside it."""
    drawn = recipe(read_description(dataset), dataset.parent)
    first, boxes = draw(drawn, (320, 256), 1, 3)
    draw(drawn, (320, 256), 1, 2)
    again, same = draw(drawn, (320, 256), 1, 3)
    assert (first == again).all()
    assert boxes == same
    for number in range(12):
        for (x1, y1, x2, y2), _ in draw(drawn, (320, 256), 1, number)[1]:
            assert 0 <= x1 < x2 <= 320
            assert 0 <= y1 < y2 <= 256


def test_a_piece_of_large_smoke_is_no_picture_without_smoke(dataset: Path) -> None:
    """However little of its box is left in a crop, smoke that fills the crop stays labelled."""
    for label in (dataset.parent / "tower/labels").iterdir():
        label.write_text("0 0.5 0.5 1.0 1.0\n")
    description = read_description(dataset)
    towers = [source for source in description.sources if source.name == "tower"]
    plain = description.model_copy(
        update={"sources": towers, "composites": description.composites.model_copy(update={"plumes": 0.0})}
    )
    drawn = replace(recipe(plain, dataset.parent), lookalikes=0.0)
    assert all(draw(drawn, (320, 256), 2, number)[1] for number in range(16))


def test_what_has_no_smoke_is_the_loudest_of_a_few(dataset: Path) -> None:
    """With a judge, of pictures without smoke the one is drawn that it rates highest; labelled ones stay as drawn."""
    drawn = recipe(read_description(dataset), dataset.parent)

    def judge(image: Image, _: object) -> float:
        return float(image.mean())

    pairs = [(draw(drawn, (160, 128), 3, n), draw(drawn, (160, 128), 3, n, judge)) for n in range(24)]
    clean = [(judge(*plain), judge(*chosen)) for plain, chosen in pairs if not plain[1] and not chosen[1]]
    assert all(chosen >= plain - 3 for plain, chosen in clean)  # both went through the camera's noise
    assert sum(chosen > plain + 3 for plain, chosen in clean) > len(clean) // 3


def test_preparation_goes_on_where_it_stopped(dataset: Path, tmp_path: Path) -> None:
    """A second call keeps what is there and adds what is missing."""
    description, cache = read_description(dataset), tmp_path / "cache"
    prepare(description, dataset.parent, cache, 2, 1, size=(160, 128))
    stamp = (cache / "images/train/000000.jpg").stat().st_mtime_ns
    prepare(description, dataset.parent, cache, 4, 1, size=(160, 128))
    assert (cache / "images/train/000000.jpg").stat().st_mtime_ns == stamp
    assert len(list((cache / "images/train").iterdir())) == len(list((cache / "labels/train").iterdir())) == 4


def test_a_run_begun_anew_learns_nothing_from_an_earlier_one(dataset: Path, tmp_path: Path) -> None:
    """Neither pictures drawn from another dataset nor checkpoints trained on it; a resumed one keeps both."""
    out, description = tmp_path / "run", read_description(dataset)
    begin(out, description, resume=False)
    old = out / "cache/images/train/000000.jpg", out / "fit/weights/epoch7.pt", out / "fit/finished"
    for file in old:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    begin(out, description, resume=True)
    assert all(file.exists() for file in old)
    with pytest.raises(DatasetError, match="begun with another dataset"):
        begin(out, description.model_copy(update={"name": "other"}), resume=True)
    begin(out, description, resume=False)
    assert not any(file.exists() for file in old)


def test_a_folder_that_holds_no_run_is_left_as_it_is(dataset: Path, tmp_path: Path) -> None:
    """Somebody's own folder of the name of one of a run's."""
    (tmp_path / "cache").mkdir()
    begin(tmp_path, read_description(dataset), resume=False)
    assert (tmp_path / "cache").is_dir()


def test_a_training_side_of_nothing_is_one_clear_sentence(hills: Image, tmp_path: Path) -> None:
    """A handful of pictures may all be for the test."""
    (tmp_path / "test").mkdir()
    cv2.imwrite(str(tmp_path / "test/1.jpg"), hills)
    with pytest.raises(DatasetError, match="no pictures on its training side"):
        recipe(*described(tmp_path, None))


def test_a_torn_picture_among_good_ones_is_not_drawn(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is named before the drawing begins, which goes on without it."""
    (dataset.parent / "tower/images/t00.jpg").write_bytes(b"torn")
    drawn = recipe(read_description(dataset), dataset.parent)
    assert "t00.jpg cannot be read" in capsys.readouterr().err
    assert "t00.jpg" not in {picture.path.name for picture in drawn.by_source["tower"]}
    assert drawn.by_source["tower"]


def test_composites_need_something_to_lie_on(dataset: Path) -> None:
    """No source is a backdrop."""
    dataset.write_text(dataset.read_text().replace("backdrop: 0.5", "backdrop: 0"))
    with pytest.raises(DatasetError, match="give a source of it a `backdrop`"):
        recipe(read_description(dataset), dataset.parent)


def test_a_folder_is_split_as_its_own_names_say(hills: Image, tmp_path: Path) -> None:
    """valid/ is for validation, test/ for the test; a folder that says nothing is split by a hash of its names."""
    for folder in ("train", "valid", "test", "more"):
        (tmp_path / folder / "images").mkdir(parents=True)
        for number in range(20):
            cv2.imwrite(str(tmp_path / folder / f"images/{folder}{number}.jpg"), hills)
    sides: dict[str, set[str]] = {}
    for picture in pictures(*described(tmp_path, None)):
        sides.setdefault(picture.source, set()).add(picture.split)
    assert sides == {
        "train": {"train"},
        "valid": {"validation"},
        "test": {"test"},
        "more": {"train", "validation", "test"},
    }


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("images: clean/images", "images: nowhere"), "source clean has no pictures in"),
        (("tower/cameras.csv", "tower/none.csv"), "the table .*none.csv of source tower cannot be read"),
        (("table: tower/cameras.csv", "table: tower/cameras.csv, column: day"), "has no column 'day'"),
        (('["1"]', '["11"]'), "no picture of source tower is of 11, named for validation"),
        (("{table: tower/cameras.csv}", '{pattern: "^t"}'), r"the pattern needs \( \)"),
        (("{table: tower/cameras.csv}", '{pattern: "(t"}'), "the pattern is none"),
        (("share: 0.5", "share: -1"), "is not a dataset description"),
        (("name: small", "nom: small"), "is not a dataset description"),
    ],
)
def test_a_wrong_description_is_one_clear_sentence(dataset: Path, change: tuple[str, str], sentence: str) -> None:
    """The sentence names the source or the field."""
    dataset.write_text(dataset.read_text().replace(*change))
    with pytest.raises(DatasetError, match=sentence):
        list(pictures(read_description(dataset), dataset.parent))


def test_a_broken_label_is_named_with_its_line(dataset: Path) -> None:
    """File and line, so that it can be mended."""
    (dataset.parent / "tower/labels/t00.txt").write_text("0 0.5 0.5 0.1 0.1\n0 0.5 x\n")
    with pytest.raises(DatasetError, match=r"t00\.txt line 2 is no label"):
        list(pictures(read_description(dataset), dataset.parent))


@pytest.mark.parametrize(
    ("line", "box"),
    [
        ("0 0.1 0.2 0.3 0.2 0.3 0.6 0.1 0.6", (0.2, 0.4, 0.2, 0.4)),
        ("0 0.2 0.4 0.2 0.4 0.87", (0.2, 0.4, 0.2, 0.4)),
        ("\ufeff0 0.2 0.4 0.2 0.4\r", (0.2, 0.4, 0.2, 0.4)),
        ("0 0.05 0.95 0.2 0.3", (0.075, 0.9, 0.15, 0.2)),
    ],
)
def test_labels_as_others_write_them(dataset: Path, line: str, box: tuple[float, float, float, float]) -> None:
    """An outline is the box around it, a confidence is no part of it, what is outside the picture is none of it."""
    (dataset.parent / "tower/labels/t00.txt").write_text(line + "\n", encoding="utf-8")
    first = next(pictures(read_description(dataset), dataset.parent))
    assert [(one.x, one.y, one.width, one.height) for one in first.labels] == [pytest.approx(box)]


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("0 nan 0.5 0.1 0.1", "no fractions"),
        ("nan 0.5 0.5 0.1 0.1", "no fractions"),
        ("0 320 240 64 48", "no fractions"),
        ("0 1.5 0.5 0.1 0.1", "outside the picture"),
        ("0 0.5 0.5 -0.1 0.1", "a size is negative"),
        ("0 0.5 0.5 0.1 0.1 0.2 0.3 0.4", "7 numbers after the class"),
        ("7 0.5 0.5 0.1 0.1", "nothing says what class 7 is"),
    ],
)
def test_a_label_that_means_nothing_is_not_taken_for_one(dataset: Path, line: str, sentence: str) -> None:
    """Counted as something else, or as no smoke at all, it would bend every figure unseen."""
    (dataset.parent / "tower/labels/t00.txt").write_text(line + "\n")
    with pytest.raises(DatasetError, match=rf"t00\.txt line 1.*{sentence}"):
        list(pictures(read_description(dataset), dataset.parent))


def test_labels_in_another_script_are_named(dataset: Path) -> None:
    """The file, so that it can be mended."""
    (dataset.parent / "tower/labels/t00.txt").write_bytes("烟 0.5 0.5 0.1 0.1\n".encode("gbk"))
    with pytest.raises(DatasetError, match=r"t00\.txt is no text in UTF-8"):
        list(pictures(read_description(dataset), dataset.parent))


def test_a_picture_of_no_camera_is_on_no_side(dataset: Path) -> None:
    """By itself it would fall on any side, and its camera's others on another."""
    table = dataset.parent / "tower/cameras.csv"
    table.write_text(table.read_text().replace("t05.jpg,1\n", ""))
    with pytest.raises(DatasetError, match=r"the table of source tower has no t05\.jpg"):
        list(pictures(read_description(dataset), dataset.parent))


def test_a_table_from_a_spreadsheet_is_read(dataset: Path) -> None:
    """With the byte order mark that spreadsheets write."""
    table = dataset.parent / "tower/cameras.csv"
    table.write_text(table.read_text(), encoding="utf-8-sig")
    assert next(pictures(read_description(dataset), dataset.parent)).group == "0"


def test_a_folder_with_a_table_of_cameras_is_split_by_them(dataset: Path) -> None:
    """Trained on as it lies, no camera is on two sides either."""
    sides: dict[str, set[str]] = {}
    for picture in pictures(*described(dataset.parent / "tower", None)):
        sides.setdefault(picture.group, set()).add(picture.split)
    assert set(sides) == {"0", "1", "2", "3"}
    assert all(len(where) == 1 for where in sides.values())
