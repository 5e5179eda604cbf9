# SPDX-License-Identifier: AGPL-3.0-or-later
"""Thresholds come from the clean pictures of the validation side, each view's and class's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from detector.measure.dataset import Label, Picture
from detector.train.thresholds import Look, Thresholds, choose, false_share, recall
from detector.vision.card import ViewName
from detector.vision.model import Detection

SMOKE = Label("smoke", 0.5, 0.5, 0.1, 0.1)


def shown(source: str, *found: tuple[ViewName, str, float], labels: tuple[Label, ...] = ()) -> Look:
    """A 100 × 100 picture with detections in its middle."""
    picture = Picture(Path("a.jpg"), source, "g", "validation", "real", labels)
    views: dict[ViewName, list[Detection]] = {"whole": [], "band": []}
    for view, label, score in found:
        views[view].append(Detection((45.0, 45.0, 55.0, 55.0), score, label))
    return Look(picture, (100, 100), views)


def clean() -> list[Look]:
    """A hundred pictures whose scores rise evenly, the band's highest, flames' lowest."""
    return [
        shown("fog", ("whole", "smoke", 0.5 * n / 100), ("band", "smoke", 0.9 * n / 100), ("whole", "fire", n / 500))
        for n in range(100)
    ]


@pytest.mark.parametrize("limit", [0.05, 0.1])
def test_everything_together_keeps_to_the_limit_and_no_threshold_is_higher_than_it_must(limit: float) -> None:
    """A hundredth lower in the band would cry over too many."""
    looks = clean()
    chosen = choose(looks, limit)
    assert chosen is not None
    known = {(view, label): value for view, own in chosen.items() for label, value in own.items()}
    scores = {"fog": [look.loudest() for look in looks]}
    assert false_share(scores, known) <= limit
    assert false_share(scores, known | {("band", "smoke"): chosen["band"]["smoke"] - 0.01}) > limit


def test_a_source_of_many_pictures_does_not_drown_the_others() -> None:
    """A hundred quiet frames of one camera weigh ten times as much as one picture, not a hundred times."""
    quiet, loud = shown("fog").loudest(), shown("web", ("whole", "smoke", 0.9)).loudest()
    assert false_share({"fog": [quiet] * 100, "web": [loud]}, {("whole", "smoke"): 0.5}) == pytest.approx(1 / 11)


def test_from_too_few_clean_pictures_nothing_is_chosen() -> None:
    """Nineteen quiet pictures cannot show that one in twenty is cried over."""
    smoke = shown("tower", labels=(SMOKE,))
    assert choose([smoke], 0.05) is None
    assert choose([smoke, *(shown("fog") for _ in range(19))], 0.05) is None
    assert choose([smoke, *(shown("fog") for _ in range(20))], 0.05) is not None


def test_smoke_found_in_either_view_is_found() -> None:
    """Each view by its own threshold; small and all smoke weigh alike."""
    chosen: Thresholds = {"whole": {"smoke": 0.5, "fire": 0.5}, "band": {"smoke": 0.3, "fire": 0.5}}
    tiny = Label("smoke", 0.5, 0.5, 0.06, 0.06)
    looks = [
        shown("tower", ("band", "smoke", 0.4), labels=(tiny,)),
        shown("tower", ("whole", "smoke", 0.4), labels=(SMOKE,)),
    ]
    assert recall(looks, chosen) == pytest.approx((1 + 0.5) / 2)
