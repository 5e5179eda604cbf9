# SPDX-License-Identifier: AGPL-3.0-or-later
"""Thresholds come from the clean pictures of the validation side, each class's own."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest

from detector.measure.dataset import Label, Picture
from detector.train.thresholds import Look, choose, false_share, look_at, recall
from detector.vision.model import Detection, load_model
from tests.train.conftest import landscape

SMOKE = Label("smoke", 0.5, 0.5, 0.1, 0.1)


def shown(source: str, *found: tuple[str, float], labels: tuple[Label, ...] = ()) -> Look:
    """A 100 × 100 picture with detections in its middle."""
    picture = Picture(Path("a.jpg"), source, "g", "validation", "real", labels)
    return Look(picture, (100, 100), [Detection((45.0, 45.0, 55.0, 55.0), score, label) for label, score in found])


def clean() -> list[Look]:
    """A hundred pictures whose scores rise evenly, flames' lower."""
    return [shown("fog", ("smoke", 0.5 * n / 100), ("fire", n / 500)) for n in range(100)]


@pytest.mark.parametrize("limit", [0.05, 0.1])
def test_everything_together_keeps_to_the_limit_and_no_threshold_is_higher_than_it_must(limit: float) -> None:
    """A step lower for smoke would cry over too many."""
    looks = clean()
    chosen = choose(looks, limit)
    assert chosen is not None
    scores = {"fog": [look.loudest() for look in looks]}
    assert false_share(scores, chosen) <= limit
    assert false_share(scores, chosen | {"smoke": chosen["smoke"] - 0.005}) > limit


def test_a_source_of_many_pictures_does_not_drown_the_others() -> None:
    """A hundred quiet frames of one camera weigh ten times as much as one picture, not a hundred times."""
    quiet, loud = shown("fog").loudest(), shown("web", ("smoke", 0.9)).loudest()
    assert false_share({"fog": [quiet] * 100, "web": [loud]}, {"smoke": 0.5}) == pytest.approx(1 / 11)


def test_from_too_few_clean_pictures_nothing_is_chosen() -> None:
    """Nineteen quiet pictures cannot show that one in twenty is cried over."""
    smoke = shown("tower", labels=(SMOKE,))
    assert choose([smoke], 0.05) is None
    assert choose([smoke, *(shown("fog") for _ in range(19))], 0.05) is None
    assert choose([smoke, *(shown("fog") for _ in range(20))], 0.05) is not None


def test_small_and_all_smoke_weigh_alike() -> None:
    """One of two found, the small one."""
    tiny = Label("smoke", 0.5, 0.5, 0.06, 0.06)
    looks = [shown("tower", ("smoke", 0.4), labels=(tiny,)), shown("tower", ("smoke", 0.2), labels=(SMOKE,))]
    assert recall(looks, 0.3) == pytest.approx((1 + 0.5) / 2)


def test_a_torn_picture_does_not_undo_the_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Validation comes after hours of it: the picture is named and left out."""
    (tmp_path / "1.jpg").write_bytes(b"torn")
    cv2.imwrite(str(tmp_path / "2.jpg"), landscape(1, 160, 120))
    given = [Picture(tmp_path / name, "hill", name, "validation", "real", ()) for name in ("1.jpg", "2.jpg")]
    assert [look.picture.path.name for look in look_at(load_model(), given)] == ["2.jpg"]
    assert "1.jpg cannot be read" in capsys.readouterr().err
