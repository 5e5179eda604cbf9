# SPDX-License-Identifier: AGPL-3.0-or-later
"""A fire at dusk over Huzhen, in colour and as an infrared camera shows it, through video, model and confirmation."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import timedelta
from functools import cache
from itertools import count

import av
import cv2
import numpy as np
import pytest

from camera_sim.scene import Scene
from camera_sim.spec import builtin_scenes, load_spec
from detector.frame import Frame, Image
from detector.judgement.confirm import Confirmed, Confirmer
from detector.judgement.eye import NOTHING_KNOWN, Eye, Thresholds
from detector.judgement.gaze import Gaze
from detector.judgement.judge import judge
from detector.judgement.params import ConfirmParams
from detector.vision.light import Profiles
from detector.vision.model import load_model
from detector.wire import Light
from tests.detector.live import encode
from tests.detector.make import START

LIT_S, EVERY_S = 30.0, 2.0


@cache
def dusk(seconds: float) -> Image:
    """The scene so many seconds after its beginning; the fire is lit after thirty."""
    return np.asarray(_scene().frame(seconds), np.uint8)


@cache
def _scene() -> Scene:
    return Scene(load_spec(builtin_scenes()["quzhou-dusk"]))


def in_colour(image: Image) -> Image:
    return image


def infrared(image: Image) -> Image:
    return np.asarray(cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR), np.uint8)


def through_video(images: list[Image]) -> list[Image]:
    """As a camera's encoder leaves them."""
    with av.open(io.BytesIO(encode(images, group=1)), format="mpegts") as container:
        return [np.asarray(frame.to_ndarray(format="bgr24"), np.uint8) for frame in container.decode(video=0)]


@pytest.mark.parametrize(("sees", "light"), [(in_colour, "night"), (infrared, "ir")])
def test_a_fire_at_dusk_is_confirmed_by_its_light(sees: Callable[[Image], Image], light: Light) -> None:
    """The light is recognised from the first look, nothing is seen before the fire, and the fire is confirmed."""
    model = load_model(threads=1)
    eye = Eye("dusk", None, Thresholds(model.card.confidence, Profiles()), NOTHING_KNOWN)
    confirmer, gaze = Confirmer(ConfirmParams()), Gaze()
    times = [LIT_S - 6, LIT_S - 4, LIT_S - 2, *(LIT_S + 20 + EVERY_S * number for number in range(6))]
    found: list[tuple[float, Confirmed]] = []
    for seconds, image, index in zip(times, through_video([sees(dusk(at)) for at in times]), count(1), strict=False):
        frame = Frame(image, START + timedelta(seconds=seconds), seconds, index, "dusk")
        confidence = eye.threshold(image)
        assert eye.light == light
        found += [(seconds, each) for each in judge(model, confirmer, frame, confidence, eye.sift, gaze)[1]]
    [(seconds, confirmed)] = found
    assert seconds > LIT_S
    assert confirmed.hits[-1].label == "smoke"
