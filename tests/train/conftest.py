# SPDX-License-Identifier: AGPL-3.0-or-later
"""A landscape to lay smoke on, and a small dataset on disk."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from detector.train.noise import fractal

Image = NDArray[np.uint8]


def landscape(seed: int = 0, columns: int = 640, rows: int = 480) -> Image:
    """Pale sky over textured green land, the skyline at about two fifths."""
    rng = np.random.default_rng(seed)
    line = rows * 0.4 + fractal(rng, (1, columns), columns / 4, 3)[0] * rows * 0.02
    land = np.arange(rows)[:, None] > line[None, :]
    texture = fractal(rng, (rows, columns), 12, 4)[..., None] * 9
    ground = np.array([70, 95, 85]) + texture
    image = np.where(land[..., None], ground, np.array([225.0, 205.0, 190.0]))
    return np.asarray(np.clip(image, 0, 255), np.uint8)


@pytest.fixture
def hills() -> Image:
    """One landscape without smoke."""
    return landscape()


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """A description and its pictures: four cameras with smoke, one folder of clean ones."""
    root = tmp_path / "data"
    (root / "tower/images").mkdir(parents=True)
    (root / "tower/labels").mkdir()
    (root / "clean/images").mkdir(parents=True)
    rows = ["image,camera"]
    for number in range(12):
        name = f"t{number:02}"
        cv2.imwrite(str(root / f"tower/images/{name}.jpg"), landscape(number))
        (root / f"tower/labels/{name}.txt").write_text("0 0.5 0.4 0.1 0.1\n")
        rows.append(f"{name}.jpg,{number % 4}")
        cv2.imwrite(str(root / f"clean/images/c{number:02}.jpg"), landscape(100 + number))
    (root / "tower/cameras.csv").write_text("\n".join(rows) + "\n")
    path = root / "data.yaml"
    path.write_text(
        """
name: small
sources:
  - name: tower
    images: tower/images
    labels: tower/labels
    group: {table: tower/cameras.csv}
    validation: ["1"]
    test: ["2"]
    share: 0.5
    backdrop: 0.5
  - name: clean
    images: clean/images
    validation: 0.3
    test: 0.3
    share: 0.5
    backdrop: 0.5
composites: {plumes: 0.4, lookalikes: 0.2}
"""
    )
    return path
