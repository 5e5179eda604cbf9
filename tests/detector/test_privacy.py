# SPDX-License-Identifier: AGPL-3.0-or-later
"""People near the camera: unrecognisable in what leaves the box, and only there."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest

from detector.config import read_settings
from detector.errors import ConfigError
from detector.frame import Image
from detector.privacy import PERSON_M, Veil
from detector.wire import View
from tests.detector.test_box import camera
from tests.detector.test_config import GOOD, write
from tests.detector.test_onset import Tower

STEEP = View(pan=0, tilt=-20, hfov=60)
FAR = View(pan=0, tilt=-2, hfov=32)


def scene(seed: int = 1) -> Image:
    return np.asarray(np.random.default_rng(seed).integers(0, 256, (720, 1280, 3)), np.uint8)


def first_veiled(veil: Veil, image: Image) -> int:
    changed = np.flatnonzero((veil.over(image) != image).any(axis=(1, 2)))
    return int(changed[0]) if changed.size else image.shape[0]


def test_it_begins_where_somebody_would_be_so_tall() -> None:
    """By the geometry of one who stands just there: feet and head projected on their own."""
    veil = Veil(STEEP, height_m=12, person_px=40)
    row = first_veiled(veil, scene()) + 40  # the feet of the first who is veiled
    focal = 640 / math.tan(math.radians(30))
    down = math.radians(20) + math.atan((row + 0.5 - 360) / focal)
    away = 12 / math.tan(down)
    head = 360 + focal * math.tan(math.atan2(12 - PERSON_M, away) - math.radians(20))
    assert row - head == pytest.approx(40, rel=0.2)


def test_a_far_view_is_left_as_it_is() -> None:
    """From a 40 m mast looking to the horizon nobody is tall enough anywhere: not one pixel changes."""
    image = scene()
    assert Veil(FAR, height_m=40, person_px=60).over(image) is image


def test_a_head_is_one_block_and_large_things_stay() -> None:
    """Stripes as wide as half a head are gone near the camera; a bright patch ten heads wide is still there."""
    veil = Veil(STEEP, height_m=6, person_px=40)
    image = np.zeros((720, 1280, 3), np.uint8)
    tall = 640 / math.tan(math.radians(30)) * PERSON_M * math.sin(math.radians(40)) * math.cos(math.radians(40)) / 6
    stripe = round(tall / 14)
    image[:, (np.arange(1280) // stripe) % 2 == 0] = 200
    image[500:, 300:900] = 255
    seen = veil.over(image)
    assert float(seen[690, 950:1250].std()) < 0.25 * float(image[690, 950:1250].std())
    assert float(seen[690, 500:700].mean()) == 255


def test_nobody_knows_where_it_looks_and_nothing_is_clear() -> None:
    """Somebody has the camera in hand and may have zoomed in: the whole picture is veiled."""
    image = scene()
    seen = Veil(None, height_m=40, person_px=60).over(image)
    assert float(seen.std()) < 0.2 * float(image.std())


def _detail(jpeg: bytes) -> float:
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert image is not None
    return float(cv2.Laplacian(image[200:], cv2.CV_32F).var())


def test_all_three_pictures_are_veiled_and_the_model_sees_all() -> None:
    """Sighting and onset alike; what is found and when is the same as without."""
    view = {"pan": 0, "tilt": -20, "hfov": 60}
    plain = Tower(13, camera("west", view=view))
    veiled = Tower(13, camera("west", view=view, privacy={"height_m": 3, "person_px": 20}))
    for tower in (plain, veiled):
        tower.run(60)
    assert [at for at, _ in plain.told] == [at for at, _ in veiled.told]
    assert plain.model.looks == veiled.model.looks
    assert len(veiled.pictures) == len(plain.pictures) == 3
    for mine, other in zip(veiled.pictures.values(), plain.pictures.values(), strict=True):
        assert _detail(mine) < 0.1 * _detail(other)


def test_it_needs_to_know_how_the_camera_looks(tmp_path: Path) -> None:
    """Settings without angles are refused with the line and the mend."""
    path = write(tmp_path, GOOD.replace("  - id: west\n", "  - id: west\n    privacy: {height_m: 40}\n"))
    with pytest.raises(ConfigError, match="privacy needs the view"):
        read_settings(path)
