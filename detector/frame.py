# SPDX-License-Identifier: AGPL-3.0-or-later
"""One picture of one camera, and when it was taken."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Image: TypeAlias = NDArray[np.uint8]
"""BGR, 8 bits, shape (height, width, 3)."""
PICTURES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})
"""How names of files that hold a picture end, in small letters."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A decoded picture.

    `captured_at` is aware (UTC) by the box's clock; `monotonic` is the same moment in seconds of a clock
    that never jumps; `index` grows by one with each picture of a source, from 1.
    """

    image: Image
    captured_at: datetime
    monotonic: float
    index: int
    camera: str

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        height, width = self.image.shape[:2]
        return width, height


def is_picture(path: Path) -> bool:
    """By its name. What begins with a dot is hidden: a Mac leaves notes of such names beside each file."""
    return path.suffix.lower() in PICTURES and not path.name.startswith(".")
