# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the model is shown, and how what it sees there becomes finds in the picture."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from detector.frame import Image
from detector.vision.card import ModelCard
from detector.vision.model import Detection
from detector.vision.skyline import DEFAULT, Horizon, horizon
from detector.vision.views import look_all, merge, views

BASIC = {"name": "scripted", "sha256": "0" * 64, "classes": ["smoke", "fire"], "input": 640, "confidence": 0.2}
BOTH = {"whole": {}, "band": {"smoke": 0.4, "fire": 0.6}}
Shown = tuple[tuple[int, int], int, float]


class ScriptedModel:
    """Sees what it is told to see in whole and band; remembers what it was shown: (height, width), zoom, threshold."""

    backend = "script"

    def __init__(self, card: ModelCard, whole: list[Detection], band: list[Detection]) -> None:
        self.card = card
        self.shown: list[Shown] = []
        self._sees = {1: whole, 2: band}

    def detect(self, image: Image, confidence: float, zoom: int = 1) -> list[Detection]:
        self.shown.append(((image.shape[0], image.shape[1]), zoom, confidence))
        return [each for each in self._sees[zoom] if each.confidence >= confidence]


def card(**more: object) -> ModelCard:
    return ModelCard.model_validate(BASIC | more)


def landscape(line: float, sky: int = 200, land: int = 70) -> Image:
    """Sky above dark land that begins at the share `line` of the height."""
    image = np.full((480, 640, 3), land, np.uint8)
    image[: round(line * 480)] = sky
    grain = np.random.default_rng(1).integers(-8, 9, image.shape)
    return np.asarray(np.clip(image + grain, 0, 255), np.uint8)


def smoke(confidence: float, box: tuple[float, float, float, float], label: str = "smoke") -> Detection:
    return Detection(box, confidence, label)


def test_a_card_without_views_means_the_whole_picture() -> None:
    """One look at everything, thresholds and confidences as the network gives them."""
    model = ScriptedModel(card(), [smoke(0.3, (10, 10, 50, 40))], [])
    assert look_all(model, landscape(0.5), Horizon(), 0.2) == [smoke(0.3, (10, 10, 50, 40))]
    [(size, zoom, threshold)] = model.shown
    assert (size, zoom) == ((480, 640), 1)
    assert threshold == pytest.approx(0.2)


@pytest.mark.parametrize(("line", "top"), [(0.5, 120), (0.3, 24), (0.15, 0), (0.75, 240)])
def test_the_band_lies_along_the_skyline(line: float, top: int) -> None:
    """Half of the height, its middle at the skyline, never outside the picture."""
    image = landscape(line)
    found = Horizon().at(image)
    assert found == pytest.approx(line, abs=0.02)
    [_, band] = views(card(views=BOTH), 480, found)
    assert (band.name, band.bottom - band.top, band.zoom) == ("band", 240, 2)
    assert band.top == pytest.approx(top, abs=10)


def test_without_a_skyline_the_band_is_where_distance_is() -> None:
    """A picture that is all land has no horizon; the band then lies above its middle."""
    image = landscape(0.0)
    assert horizon(image) is None
    assert Horizon().at(image) == DEFAULT


def test_one_odd_picture_does_not_move_the_band() -> None:
    """The camera's skyline is the median of its looks; what the operator says holds against all of them."""
    kept, told = Horizon(), Horizon(0.25)
    for _ in range(5):
        kept.at(landscape(0.5))
    assert kept.at(landscape(0.2)) == pytest.approx(0.5, abs=0.02)
    assert told.at(landscape(0.5)) == 0.25


def test_finds_of_the_band_are_finds_in_the_picture() -> None:
    """They come back lower by where the band begins, with the band's threshold put at the card's."""
    model = ScriptedModel(
        card(views=BOTH), [], [smoke(0.401, (100, 20, 120, 30)), smoke(0.59, (300, 20, 320, 30), "fire")]
    )
    [found] = look_all(model, landscape(0.5), Horizon(0.5), 0.2)
    assert found.box == (100, 140, 120, 150)
    assert found.confidence == pytest.approx(0.2, abs=0.001)


def test_a_weak_find_stays_weak_and_a_sure_one_sure() -> None:
    """The scale goes on below the threshold, for a confirmation that reads weak finds, and ends at 1."""
    model = ScriptedModel(card(views=BOTH), [], [smoke(0.999, (1, 1, 9, 9)), smoke(0.25, (100, 20, 120, 30))])
    sure, weak = look_all(model, landscape(0.5), Horizon(), 0.05)
    assert sure.confidence > 0.99
    assert 0.05 < weak.confidence < 0.2


def test_what_both_views_see_is_one_find() -> None:
    """The surer box stands; a small plume before a large bank, another class and another place are their own."""
    plume, same = smoke(0.5, (100, 100, 140, 140)), smoke(0.4, (105, 100, 140, 138))
    bank, fire, far = (
        smoke(0.6, (0, 50, 400, 300)),
        smoke(0.3, (100, 100, 140, 140), "fire"),
        smoke(0.3, (500, 1, 540, 9)),
    )
    assert merge([same, fire, plume, far, bank]) == [bank, plume, fire, far]


@pytest.mark.parametrize("given", [{"middle": {}}, {"band": {"smoke": 1.5}}])
def test_a_view_that_is_none_is_refused(given: dict[str, object]) -> None:
    """Unknown names and impossible thresholds on a card."""
    with pytest.raises(ValidationError):
        card(views=given)


def test_a_thin_skyline_is_found_through_haze() -> None:
    """A few grey levels between a grey sky and grey hills are enough."""
    image = np.asarray(cv2.GaussianBlur(landscape(0.4, sky=150, land=130), (0, 0), 5), np.uint8)
    assert horizon(image) == pytest.approx(0.4, abs=0.03)
