# SPDX-License-Identifier: AGPL-3.0-or-later
"""Composed smoke: repeatable, labelled where it can be seen and nowhere else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from detector.train.cli import main
from detector.train.composite import FAINTEST, Placed, add_lookalike, add_plume, render
from detector.train.lookalikes import LOOKALIKES
from detector.train.plume import Fire, optical_depth
from detector.train.scene import read_scene
from tests.train.conftest import Image, landscape

FIRE = Fire(buoyancy=40, wind=2.0, shear=0.2, inversion=300, width=10, density=3, age=90, brown=0.1, albedo=1.0, seed=7)


def placed(fire: Fire = FIRE) -> Placed:
    """The fire burns two kilometres away, in the middle of the land."""
    return Placed(fire, (320.0, 260.0), 2.0, 2000.0, behind_ridge=False, seed=3)


def test_the_same_seed_gives_the_same_picture_and_box(hills: Image) -> None:
    """A composite is drawn from its seed alone."""
    one, two = (add_plume(hills, np.random.default_rng(5)) for _ in range(2))
    assert one is not None
    assert two is not None
    assert np.array_equal(one[0], two[0])
    assert one[1] == two[1]


def test_another_seed_gives_another_picture(hills: Image) -> None:
    """Seeds matter."""
    one, two = (add_plume(hills, np.random.default_rng(seed)) for seed in (5, 6))
    assert one is not None
    assert two is not None
    assert one[1] != two[1]


@pytest.mark.parametrize("seed", range(8))
def test_the_box_holds_all_smoke_that_can_be_seen(seed: int) -> None:
    """Outside the box no large patch is visibly changed; every edge of the box touches visible smoke."""
    image = landscape(seed)
    done = add_plume(image, np.random.default_rng(seed))
    assert done is not None
    picture, (x1, y1, x2, y2) = done
    change = np.abs(picture.astype(float) - image.astype(float)).max(axis=2)
    limit = max(FAINTEST, 0.13 * change.max())
    smooth = cv2.blur(change, (3, 3))
    inside = smooth[int(y1) : int(y2), int(x1) : int(x2)] >= limit
    for edge in (inside[0], inside[-1], inside[:, 0], inside[:, -1]):
        assert edge.any()
    assert inside.sum() >= 0.7 * (smooth >= limit).sum()


def test_smoke_too_thin_to_see_is_not_labelled(hills: Image) -> None:
    """A box over nothing visible would teach the model to imagine."""
    scene = read_scene(hills, np.random.default_rng(0))
    _, box = render(hills, scene, placed(replace(FIRE, density=0.001)))
    assert box is None


def test_a_fire_has_no_smoke_before_it_is_lit() -> None:
    """Time before the ignition shows clear air."""
    depth = optical_depth(FIRE, 2.0, (480, 640), (320, 260), after=-FIRE.age - 1)
    assert depth.max() == 0


def test_a_plume_rises_drifts_with_the_wind_and_grows() -> None:
    """From half a minute to two, its centre moves down-wind and up, and it covers more of the picture."""
    early = optical_depth(FIRE, 2.0, (480, 640), (320, 260), after=30 - FIRE.age)
    late = optical_depth(FIRE, 2.0, (480, 640), (320, 260), after=120 - FIRE.age)
    rows, columns = np.mgrid[0:480, 0:640]
    centre = [(float((columns * d).sum() / d.sum()), float((rows * d).sum() / d.sum())) for d in (early, late)]
    assert centre[1][0] > centre[0][0] + 5
    assert centre[1][1] < centre[0][1] - 5
    assert (late > 0.05).sum() > (early > 0.05).sum()


def test_frames_a_second_apart_resemble_each_other(hills: Image) -> None:
    """A plume is continuous in time: a second changes it far less than a minute does."""
    scene = read_scene(hills, np.random.default_rng(0))
    frames = [render(hills, scene, placed(), after)[0].astype(float) for after in (0.0, 1.0, 60.0)]
    second, minute = (float(np.abs(frames[0] - frame).mean()) for frame in frames[1:])
    assert 0 < second < 0.5 * minute


def test_smoke_behind_a_ridge_is_hidden_by_the_land(hills: Image) -> None:
    """Nothing changes below the skyline when the fire is on the far side."""
    scene = read_scene(hills, np.random.default_rng(0))
    spot = replace(placed(), base=(320.0, float(scene.skyline[320])), behind_ridge=True)
    picture, box = render(hills, scene, spot)
    assert box is not None
    below = np.arange(480)[:, None] > scene.skyline[None, :] + 3
    assert np.abs(picture.astype(int) - hills.astype(int)).max(axis=2)[below].max() <= FAINTEST


@pytest.mark.parametrize("name", sorted(LOOKALIKES))
def test_a_lookalike_changes_the_picture_and_repeats(name: str, hills: Image) -> None:
    """Each look-alike is drawn, keeps the picture's size, and is the same for the same seed."""
    one, _ = add_lookalike(hills, np.random.default_rng(4), name)
    two, _ = add_lookalike(hills, np.random.default_rng(4), name)
    assert one.shape == hills.shape
    assert np.abs(one.astype(int) - hills.astype(int)).max() > 10
    assert np.array_equal(one, two)


def test_the_command_writes_pictures_labels_and_a_sheet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two in three carry a box, the others an empty label file; the same seed writes the same bytes."""
    (tmp_path / "clean").mkdir()
    cv2.imwrite(str(tmp_path / "clean/a.png"), landscape(1))
    for out in ("one", "two"):
        arguments = ["composite", "--negatives", str(tmp_path / "clean"), "--out", str(tmp_path / out)]
        assert main([*arguments, "--count", "6", "--seed", "9", "--sheet", str(tmp_path / "sheet.png")]) == 0
    labels = [(tmp_path / "one/labels" / f"{n:06}.txt").read_text() for n in range(6)]
    assert [bool(text) for text in labels] == [False, True, True, False, True, True]
    pictures = [(tmp_path / out / "images/000001.jpg").read_bytes() for out in ("one", "two")]
    assert pictures[0] == pictures[1]
    assert (tmp_path / "sheet.png").stat().st_size > 0
    assert "4 with smoke" in capsys.readouterr().out


def test_a_folder_without_pictures_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing to lay smoke on: said so, and nothing written."""
    status = main(["composite", "--negatives", str(tmp_path), "--out", str(tmp_path / "out")])
    assert status == 1
    assert f"there are no pictures in {tmp_path}" in capsys.readouterr().err
