# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the model is shown, and how what it sees there becomes finds in the picture."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from detector.frame import Image
from detector.vision.card import ModelCard
from detector.vision.model import Detection
from detector.vision.skyline import DEFAULT, Horizon, horizon
from detector.vision.views import LEAST, agree, look_all, views

BASIC = {"name": "scripted", "sha256": "0" * 64, "classes": ["smoke", "fire"], "input": 640, "confidence": 0.2}
BOTH = ["whole", "band"]
ALL = [*BOTH, "detail"]
ASKED = {"smoke": 0.1, "fire": 0.3}
Shown = tuple[tuple[int, int], int, float]


class ScriptedModel:
    """Sees what it is told to see in whole, band and any detail of a picture of 640 × 480; remembers what it was shown:
    (height, width), zoom, threshold."""

    backend = "script"

    def __init__(
        self, card: ModelCard, whole: list[Detection], band: list[Detection], detail: Sequence[Detection] = ()
    ) -> None:
        self.card = card
        self.shown: list[Shown] = []
        self._sees = {1: whole, 2: band}
        self._detail = detail
        self.greyed = 0
        """Pictures that it was shown without their colour."""

    def detect(self, image: Image, confidence: float, zoom: int = 1) -> list[Detection]:
        self.shown.append(((image.shape[0], image.shape[1]), zoom, confidence))
        self.greyed += int(np.ptp(image, axis=2).max()) == 0
        seen = self._detail if max(image.shape) < 640 else self._sees[zoom]
        return [each for each in seen if each.confidence >= confidence]


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
    """One look at everything, confidences as the network gives them."""
    model = ScriptedModel(card(), [smoke(0.3, (10, 10, 50, 40)), smoke(0.19, (300, 10, 350, 40))], [])
    [found] = look_all(model, landscape(0.5), Horizon(), 0.2)
    assert (found.box, found.confidence) == ((10, 10, 50, 40), pytest.approx(0.3))
    assert model.shown == [((480, 640), 1, LEAST)]


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
    """They come back lower by where the band begins."""
    model = ScriptedModel(card(views=BOTH), [], [smoke(0.99, (100, 20, 120, 30))])
    [found] = look_all(model, landscape(0.5), Horizon(0.5), 0.2)
    assert found.box == (100, 140, 120, 150)


def test_a_find_at_its_threshold_has_the_cards_confidence() -> None:
    """Each class by its own; surer stays surer, and what is weak goes on below, for a confirmation that reads it."""
    box, other, third = (100.0, 100.0, 140.0, 140.0), (300.0, 100.0, 340.0, 140.0), (500.0, 100.0, 540.0, 140.0)
    finds = [smoke(0.101, box), smoke(0.301, other, "fire"), smoke(0.05, third), smoke(0.999, (1, 1, 9, 9))]
    model = ScriptedModel(card(thresholds=ASKED), finds, [])
    found = {each.box: each.confidence for each in look_all(model, landscape(0.5), Horizon(), 0.05)}
    assert found[box] == pytest.approx(0.2, abs=0.003)
    assert found[other] == pytest.approx(0.2, abs=0.003)
    assert 0.05 < found[third] < 0.15
    assert found[1, 1, 9, 9] > 0.99


def test_two_views_that_agree_are_surer_than_one() -> None:
    """Faint in both is more than clear in one: the other view says that there is nothing."""
    place, same = (100.0, 100.0, 140.0, 140.0), (104.0, 100.0, 140.0, 138.0)
    [both] = agree({"whole": [smoke(0.2, place)], "band": [smoke(0.3, same)]})
    [whole] = agree({"whole": [smoke(0.5, place)], "band": []})
    [band] = agree({"whole": [], "band": [smoke(0.5, place)]})
    assert both.box == same  # the surer one's
    assert 0.2 < both.confidence < 0.3
    assert whole.confidence == band.confidence < both.confidence / 2


def test_what_both_views_see_is_one_find() -> None:
    """By the surer box; a small plume before a large bank, another class and another place are their own."""
    plume, same = smoke(0.5, (100, 100, 140, 140)), smoke(0.4, (105, 100, 140, 138))
    bank, fire = smoke(0.6, (0, 50, 400, 300)), smoke(0.3, (100, 100, 140, 140), "fire")
    far = smoke(0.2, (500, 1, 540, 9))
    found = agree({"whole": [same, bank, far], "band": [plume, fire]})
    assert [each.box for each in found] == [plume.box, bank.box, fire.box, far.box]
    assert [each.label for each in found] == ["smoke", "smoke", "fire", "smoke"]


def test_small_smoke_is_looked_at_in_detail() -> None:
    """A third of the picture around it, in grey, as a third witness: what it confirms gets surer, by its box where that
    is the surest, and what it does not see pales."""
    place = (300.0, 200.0, 330.0, 220.0)
    wide, high, left, top = 213, 160, 208, 130
    seen = smoke(0.8, (place[0] - left + 2, place[1] - top, place[2] - left, place[3] - top))
    asked = card(views=ALL)
    confirmed = ScriptedModel(asked, [smoke(0.2, place)], [], [seen])
    denied = ScriptedModel(asked, [smoke(0.2, place)], [], [smoke(0.9, (0, 0, 20, 20))])
    unasked = ScriptedModel(card(views=BOTH), [smoke(0.2, place)], [], [seen])
    found = {
        name: look_all(model, landscape(0.5), Horizon(0.9), 0.0001)[0]
        for name, model in {"confirmed": confirmed, "denied": denied, "unasked": unasked}.items()
    }
    assert confirmed.shown[2:] == [((high, wide), 1, LEAST)]
    assert (confirmed.greyed, unasked.greyed) == (1, 0)
    assert len(unasked.shown) == 2
    assert found["denied"].confidence < found["unasked"].confidence < found["confirmed"].confidence
    assert found["confirmed"].box == (302.0, 200.0, 330.0, 220.0)
    assert found["denied"].box == place
    three = [math.log(share / (1 - share)) for share in (0.2, LEAST, 0.8)]
    assert found["confirmed"].confidence == pytest.approx(1 / (1 + math.exp(-sum(three) / 3)))


@pytest.mark.parametrize(
    "thing",
    [
        smoke(0.5, (100, 100, 300, 300)),  # large: a detail shows no more
        smoke(0.5, (300, 200, 330, 220), "fire"),
        smoke(0.03, (300, 200, 330, 220)),  # next to nothing: 0.018 with a band that sees none
    ],
)
def test_what_is_worth_no_detail_gets_none(thing: Detection) -> None:
    """Its score stays what the views say."""
    model = ScriptedModel(card(views=ALL), [thing], [])
    assert look_all(model, landscape(0.5), Horizon(0.9), 0.0001) == agree({"whole": [thing], "band": []})
    assert len(model.shown) == 2


def test_a_picture_full_of_doubts_costs_no_more_than_four_details() -> None:
    """Those of the surest; at a corner the detail lies within the picture."""
    many = [smoke(0.9 - 0.05 * number, (60.0 * number, 0.0, 60.0 * number + 20, 15.0)) for number in range(9)]
    model = ScriptedModel(card(views=ALL), many, [])
    assert len(look_all(model, landscape(0.5), Horizon(0.9), 0.0001)) == 9
    assert [shape for shape, _, _ in model.shown[2:]] == [(160, 213)] * 4


def test_a_detail_of_a_tiny_picture_is_a_picture() -> None:
    """A third of one row is one row."""
    model = ScriptedModel(card(views=ALL), [], [], [smoke(0.9, (0.0, 0.0, 3.0, 0.1))])
    assert look_all(model, np.zeros((1, 300, 3), np.uint8), Horizon(0.5), 0.0001)
    assert model.shown[-1][0] == (1, 100)


def test_nothing_is_nothing() -> None:
    """No finds, no score."""
    assert agree({"whole": [], "band": []}) == []


@pytest.mark.parametrize(
    "given", [{"views": ["middle"]}, {"views": []}, {"views": ["detail"]}, {"thresholds": {"smoke": 1.5}}]
)
def test_views_and_thresholds_that_are_none_are_refused(given: dict[str, object]) -> None:
    """Unknown names and impossible thresholds on a card."""
    with pytest.raises(ValidationError):
        card(**given)


def test_a_thin_skyline_is_found_through_haze() -> None:
    """A few grey levels between a grey sky and grey hills are enough."""
    image = np.asarray(cv2.GaussianBlur(landscape(0.4, sky=150, land=130), (0, 0), 5), np.uint8)
    assert horizon(image) == pytest.approx(0.4, abs=0.03)
