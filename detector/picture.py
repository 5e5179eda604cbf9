# SPDX-License-Identifier: AGPL-3.0-or-later
"""The evidence picture: the confirming frame as it was, without the box, which the viewers draw."""

from __future__ import annotations

import cv2

from detector.frame import Image
from detector.privacy import Veil
from detector.wire import MOST_PICTURE_BYTES

WIDEST = 1920
QUALITIES = (85, 70, 50, 30)


def encode_jpeg(image: Image, veil: Veil | None = None) -> bytes | None:
    """`image` (BGR), with people hidden by `veil`, as JPEG, at most 1920 wide and 4 MiB; None when it cannot be made to
    fit."""
    image = veil.over(image) if veil else image
    height, width = image.shape[:2]
    if width > WIDEST:
        size = (WIDEST, max(1, round(height * WIDEST / width)))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype("uint8")
    for quality in QUALITIES:
        done, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
        if done and data.nbytes <= MOST_PICTURE_BYTES:
            return data.tobytes()
    return None
