# SPDX-License-Identifier: AGPL-3.0-or-later
"""Where inference is spent: on what changed, soon enough, and never twice on a still picture."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import cv2
import numpy as np
import pytest

from detector.frame import Frame, Image
from detector.judgement.gaze import Gaze
from detector.vision.gate import FORCED_S
from detector.vision.model import Detection
from tests.detector.make import START
from tests.detector.test_views import ALL, BOTH, ScriptedModel, card, landscape

SEEN = [Detection((10, 10, 50, 40), 0.5, "smoke")]


class Camera:
    """A still landscape with a sensor's noise, and what is laid on it."""

    def __init__(self) -> None:
        self._scene = landscape(0.5).astype(np.int16)
        self._rng = np.random.default_rng(3)
        self._seconds = 0.0

    def frame(self, light: float = 1.0, smoke: int = 0, at: tuple[int, int] = (300, 230), step: float = 10) -> Frame:
        """`smoke` grey levels of haze, 14 pixels wide at `at`; `step` seconds after the frame before."""
        picture = self._scene * light + self._rng.normal(0, 3, self._scene.shape)
        haze = np.zeros(self._scene.shape[:2], np.float32)
        cv2.circle(haze, at, 7, float(smoke), -1)
        image: Image = np.clip(picture + cv2.GaussianBlur(haze, (0, 0), 2)[..., None], 0, 255).astype(np.uint8)
        self._seconds += step
        return Frame(image, START + timedelta(seconds=self._seconds), self._seconds, 1, "west")


def model() -> ScriptedModel:
    return ScriptedModel(card(views=BOTH, thresholds={"smoke": 0.1}), SEEN, [])


def settled(camera: Camera, sees: ScriptedModel) -> Gaze:
    """A gaze that has looked a few times and has just judged every view."""
    gaze = Gaze()
    for _ in range(6):
        gaze.look(sees, camera.frame(), 0.2)
    gaze.look(sees, camera.frame(), 0.2, closely=True)
    sees.shown.clear()
    return gaze


def test_a_still_picture_keeps_its_judgement() -> None:
    """Nothing changed but noise: no inference, and the finds of the last one stand, dated now."""
    camera, sees = Camera(), model()
    gaze = settled(camera, sees)
    [before] = gaze.look(sees, camera.frame(), 0.1, closely=True)
    sees.shown.clear()
    frame = camera.frame()
    [hit] = gaze.look(sees, frame, 0.1)
    assert sees.shown == []
    assert (hit.at, hit.confidence) == (frame.captured_at, before.confidence)


def test_a_detail_is_looked_at_when_a_view_was() -> None:
    """It belongs to the judgement: with a picture in which nothing changed that stands as a whole."""
    camera, sees = Camera(), ScriptedModel(card(views=ALL, thresholds={"smoke": 0.1}), SEEN, [], [])
    gaze = settled(camera, sees)
    gaze.look(sees, camera.frame(), 0.01)
    assert sees.shown == []
    gaze.look(sees, camera.frame(smoke=40, at=(300, 440)), 0.01)
    assert [shape for shape, _, _ in sees.shown] == [(480, 640), (160, 213)]


def test_light_that_changes_everywhere_is_no_change() -> None:
    """A cloud before the sun: 3 % darker all over."""
    camera, sees = Camera(), model()
    gaze = settled(camera, sees)
    gaze.look(sees, camera.frame(light=0.97), 0.2)
    assert sees.shown == []


@pytest.mark.parametrize("at", [(300, 230), (40, 250), (600, 160)])
def test_a_wisp_is_looked_at(at: tuple[int, int]) -> None:
    """Fourteen pixels of haze, a dozen grey levels, on land or before the sky: both views are judged."""
    camera, sees = Camera(), model()
    gaze = settled(camera, sees)
    gaze.look(sees, camera.frame(smoke=14, at=at), 0.2)
    assert [zoom for _, zoom, _ in sees.shown] == [1, 2]


def test_what_changes_outside_the_band_concerns_the_whole_alone() -> None:
    """Something in the foreground: the band along the skyline is as it was."""
    camera, sees = Camera(), model()
    gaze = settled(camera, sees)
    gaze.look(sees, camera.frame(smoke=40, at=(300, 440)), 0.2)
    assert [zoom for _, zoom, _ in sees.shown] == [1]


def test_what_grows_slowly_adds_up() -> None:
    """One grey level more with each frame is compared with the last judged picture, not the last one."""
    camera, sees = Camera(), model()
    gaze = settled(camera, sees)
    for level in range(15):
        gaze.look(sees, camera.frame(smoke=level, step=1), 0.2)
    assert sees.shown


def test_every_view_is_judged_now_and_then() -> None:
    """Whatever the gate says: within the minute, and time left to confirm."""
    camera, sees = Camera(), model()
    gaze = settled(camera, sees)
    for _ in range(round(FORCED_S / 10)):
        gaze.look(sees, camera.frame(), 0.2)
    assert [zoom for _, zoom, _ in sees.shown] == [1, 2]


def test_a_doubt_is_looked_at_closely() -> None:
    """While something is suspected no view is left out; without a gate none ever is."""
    camera, sees = Camera(), model()
    gaze = settled(camera, sees)
    gaze.look(sees, camera.frame(), 0.2, closely=True)
    assert len(sees.shown) == 2
    ungated = Gaze(gated=False)
    for _ in range(3):
        ungated.look(sees, camera.frame(), 0.2)
    assert (ungated.inferences, ungated.skipped) == (6, 0)


def test_a_picture_of_another_size_is_judged() -> None:
    """The camera was set to another resolution."""
    camera, sees = Camera(), model()
    gaze = settled(camera, sees)
    frame = camera.frame()
    wide = np.asarray(cv2.resize(frame.image, (1280, 720)), np.uint8)
    gaze.look(sees, Frame(wide, frame.captured_at, frame.monotonic, 2, "west"), 0.2)
    assert len(sees.shown) == 2


def test_what_moves_is_told_from_what_holds_still() -> None:
    """A find where the picture boils stirs; where nothing moves none does, nor any before the view is known."""
    camera, sees = Camera(), model()
    gaze = Gaze()
    [first] = gaze.look(sees, camera.frame(), 0.1)
    assert first.stir == 0
    for _ in range(6):
        [still] = gaze.look(sees, camera.frame(), 0.1)
    assert still.stir is not None
    assert still.stir < 2.0
    [moving] = gaze.look(sees, camera.frame(smoke=60, at=(30, 25)), 0.1, closely=True)
    assert moving.stir is not None
    assert moving.stir > 2.0


def test_a_picture_of_another_size_is_judged_anew() -> None:
    """A camera that falls back to half its resolution shows the same: the old finds, in pixels, mean other places."""
    camera, sees = Camera(), model()
    gaze = settled(camera, sees)
    frame = camera.frame()
    width, height = frame.size
    large = cv2.resize(frame.image, (4 * width, 4 * height), interpolation=cv2.INTER_NEAREST)
    half = cv2.resize(large, (2 * width, 2 * height), interpolation=cv2.INTER_AREA)
    for image in (large, half):
        gaze.look(sees, replace(frame, image=np.asarray(image, np.uint8)), 0.1)
        assert sees.shown
        sees.shown.clear()
