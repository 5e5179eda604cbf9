# SPDX-License-Identifier: AGPL-3.0-or-later
"""Recorded pictures as frames: a folder, or a video file, taken as if they came at a given interval."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import av
import cv2
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream

from detector.errors import StreamError
from detector.frame import Frame, Image, is_picture

log = logging.getLogger(__name__)

JOINED_S = 1.0
"""A video's clock that goes back by more begins anew; by less it is only untidy."""
USUAL_RATE = 25
"""Pictures a second of a video that does not say."""


def open_footage(source: Path, interval_s: float, start: datetime) -> Iterator[Frame]:
    """Frames of `source`, oldest first; frame n (from 1) is captured at start + (n - 1) * interval.

    A folder (or its images/) gives each of its pictures in order of name, numbers by value; a video, turned upright,
    the first picture at or after each multiple of the interval in its own time, and none for a multiple that its
    pictures leap over. What is damaged keeps its number, is named in the log and left out. Raises StreamError when the
    source cannot be opened or holds no pictures.
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
        inner = sorted({path.parent.name for path in source.glob("*/*") if is_picture(path)})
        mend = f"one of its folders ({', '.join(inner[:5])})" if inner else "a folder of JPEG or PNG files, or a video"
        raise StreamError(f"{source} holds no readable pictures: give {mend}")


def _folder(folder: Path) -> Iterator[tuple[int, Image]]:
    files = sorted((path for path in folder.iterdir() if is_picture(path)), key=_by_number)
    for index, path in enumerate(files, start=1):
        image = _picture(path)
        if image is None:
            log.warning("the picture %s cannot be read and is left out", path)
        else:
            yield index, image


def _picture(path: Path) -> Image | None:
    try:
        content = np.fromfile(path, np.uint8)
    except OSError:  # a folder of such a name, or a link to nowhere
        return None
    image = cv2.imdecode(content, cv2.IMREAD_COLOR) if content.size else None
    return None if image is None else np.asarray(image, np.uint8)


def _by_number(path: Path) -> list[tuple[int, str]]:
    """2.jpg before 10.jpg: digits by their value, all else by its letters."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", path.name)]


def _video(path: Path, interval_s: float) -> Iterator[tuple[int, Image]]:
    if not path.exists():
        raise StreamError(f"{path} does not exist: give a folder of pictures or a video file")
    last = 0
    for at, picture in _timed(path):
        number = int(at / interval_s + 1e-6) + 1
        if number > last:
            yield number, _upright(picture)
            last = number


def _timed(path: Path) -> Iterator[tuple[float, av.VideoFrame]]:
    """Each picture of a video that can be decoded, with its seconds from the first.

    Where the video's clock is missing, or goes back as it does where parts were joined, its rate takes its place.
    """
    begun = False
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise StreamError(f"{path} has no video in it")
            stream = container.streams.video[0]
            step = float(1 / (stream.average_rate or USUAL_RATE))
            at, zero = -step, 0.0
            for picture in _decoded(container, stream):
                due = at + step
                time = due + zero if picture.time is None else picture.time
                if not begun or time - zero < at - JOINED_S:
                    zero = time - due
                at, begun = time - zero, True
                yield at, picture
    except av.FFmpegError as error:
        if not begun:
            raise StreamError(f"{path} cannot be read as video: {error.strerror}") from error
        log.warning("%s ends early: %s", path, error.strerror)


def _decoded(container: InputContainer, stream: VideoStream) -> Iterator[av.VideoFrame]:
    """Its pictures; what a damaged place holds is left out."""
    damaged = 0
    for packet in container.demux(stream):
        try:
            yield from packet.decode()
        except av.error.InvalidDataError:
            damaged += 1
    if damaged:
        log.warning("%s: %d damaged pieces are left out", container.name, damaged)


def _upright(picture: av.VideoFrame) -> Image:
    """BGR, as a player shows it: a telephone held upright films lying and says so."""
    image = np.asarray(picture.to_ndarray(format="bgr24"), np.uint8)
    return np.ascontiguousarray(np.rot90(image, round(picture.rotation / 90)))
