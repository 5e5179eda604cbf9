# SPDX-License-Identifier: AGPL-3.0-or-later
"""Recorded pictures as frames: a folder, or a video file, taken as if they came at a given interval."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import av
import cv2
import numpy as np

from detector.errors import StreamError
from detector.frame import Frame, Image

PICTURES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp"})


def open_footage(source: Path, interval_s: float, start: datetime) -> Iterator[Frame]:
    """Frames of `source`, oldest first; frame n (from 1) is captured at start + (n - 1) * interval.

    A folder (or its images/) gives each of its pictures in order of name, numbers by value; a video the picture at
    each multiple of the interval in its own time. Damaged pictures keep their number and are left out. Raises
    StreamError when the source cannot be opened or holds no pictures.
    """
    if source.is_dir() and (source / "images").is_dir():
        source /= "images"
    pictures = _folder(source) if source.is_dir() else _video(source, interval_s)
    any_seen = False
    for index, image in pictures:
        any_seen = True
        offset = (index - 1) * interval_s
        yield Frame(image, start + timedelta(seconds=offset), offset, index, source.name)
    if not any_seen:
        raise StreamError(f"{source} holds no readable pictures: give a folder of JPEG or PNG files, or a video")


def _folder(folder: Path) -> Iterator[tuple[int, Image]]:
    files = sorted((path for path in folder.iterdir() if path.suffix.lower() in PICTURES), key=_by_number)
    for index, path in enumerate(files, start=1):
        image = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR) if path.stat().st_size else None
        if image is not None:
            yield index, np.asarray(image, np.uint8)


def _by_number(path: Path) -> list[tuple[int, str]]:
    """2.jpg before 10.jpg: digits by their value, all else by its letters."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", path.name)]


def _video(path: Path, interval_s: float) -> Iterator[tuple[int, Image]]:
    if not path.exists():
        raise StreamError(f"{path} does not exist: give a folder of pictures or a video file")
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise StreamError(f"{path} has no video in it")
            due = 1
            first: float | None = None
            for picture in container.decode(container.streams.video[0]):
                at = picture.time or 0.0
                first = at if first is None else first
                if at - first >= (due - 1) * interval_s - 1e-6:
                    yield due, np.asarray(picture.to_ndarray(format="bgr24"), np.uint8)
                    due = int((at - first) / interval_s + 1e-6) + 2
    except av.FFmpegError as error:
        raise StreamError(f"{path} cannot be read as video: {error.strerror}") from error
