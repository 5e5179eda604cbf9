# SPDX-License-Identifier: AGPL-3.0-or-later
"""Pictures from a scene, a video file or a folder, and their H.264."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import av
import av.error
import cv2
import numpy as np

from camera_sim.noise import U8
from camera_sim.scene import Scene
from camera_sim.spec import SceneError

PICTURES = {".jpg", ".jpeg", ".png", ".bmp"}
KEYFRAME_S = 1.0
_START_CODE = re.compile(rb"\x00\x00\x00?\x01")


class Source(Protocol):
    """What a camera shows: BGR uint8 pictures by time (seconds since the start, not falling)."""

    @property
    def fps(self) -> float:
        """Pictures a second."""

    def frame(self, t_s: float) -> U8:
        """The picture at a time."""


@dataclass
class SceneSource:
    """A rendered scene."""

    scene: Scene

    @property
    def fps(self) -> float:
        return self.scene.spec.camera.fps

    def frame(self, t_s: float) -> U8:
        return self.scene.frame(t_s)


class FolderSource:
    """The pictures of a folder in the order of their names, in a loop, at the size of the first."""

    def __init__(self, folder: Path, fps: float) -> None:
        self.fps = fps
        self._paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in PICTURES)
        if not self._paths:
            raise SceneError(f"{folder}: there is no picture ({', '.join(sorted(PICTURES))}) in this folder")
        self._last = _even(_read(self._paths[0]))
        self._at = 0

    def frame(self, t_s: float) -> U8:
        at = int(t_s * self.fps + 1e-6) % len(self._paths)
        if at != self._at:
            self._at = at
            picture = cv2.imread(str(self._paths[at]))
            if picture is not None:  # a damaged picture in the middle repeats the one before
                self._last = _fit(np.asarray(picture, np.uint8), self._last)
        return self._last


class VideoSource:
    """A video file in a loop, at its own rate."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            with av.open(str(path)) as container:
                if not container.streams.video:
                    raise SceneError(f"{path}: there is no video in this file")
                rate = container.streams.video[0].average_rate
        except (av.error.FFmpegError, OSError) as error:
            raise SceneError(f"{path}: cannot be read as a scene, a video or a folder of pictures") from error
        self.fps = min(60.0, float(rate)) if rate else 10.0
        self._frames = self._loop()
        self._due, self._last = next(self._frames)

    def frame(self, t_s: float) -> U8:
        while self._due < t_s - 1e-6:
            self._due, picture = next(self._frames)
            self._last = _fit(picture, self._last)
        return self._last

    def _loop(self) -> Iterator[tuple[float, U8]]:
        """(time, picture) for ever; a file without one good picture is refused."""
        offset = 0.0
        while True:
            number = 0
            try:
                with av.open(str(self._path)) as container:
                    for frame in container.decode(video=0):
                        yield offset + number / self.fps, _even(np.asarray(frame.to_ndarray(format="bgr24"), np.uint8))
                        number += 1
            except av.error.FFmpegError:
                pass  # a damaged tail: start again from the beginning
            if number == 0:
                raise SceneError(f"{self._path}: not one picture of this video can be decoded")
            offset += number / self.fps


def _read(path: Path) -> U8:
    picture = cv2.imread(str(path))
    if picture is None:
        raise SceneError(f"{path}: cannot be read as a picture")
    return np.asarray(picture, np.uint8)


def _even(picture: U8) -> U8:
    """H.264 with halved colour needs even sizes."""
    h, w = picture.shape[:2]
    return picture[: h - h % 2, : w - w % 2]


def _fit(picture: U8, like: U8) -> U8:
    h, w = like.shape[:2]
    if picture.shape[:2] == (h, w):
        return picture
    return np.asarray(cv2.resize(picture, (w, h), interpolation=cv2.INTER_AREA), np.uint8)


@dataclass(frozen=True)
class AccessUnit:
    """One coded picture: its NAL units without start codes, whether decoding can begin here, and its capture
    time (seconds since the Unix epoch)."""

    nals: tuple[bytes, ...]
    keyframe: bool
    wall_s: float


class Encoder:
    """H.264 for live viewing: no delay, a keyframe each second with its parameter sets."""

    def __init__(self, width: int, height: int, fps: float) -> None:
        self.size = (width, height)
        # x264 wants a sane rate; the true times travel in RTP.
        rate = Fraction(fps).limit_denominator(1000)
        codec = av.CodecContext.create("libx264", "w")
        codec.width, codec.height, codec.pix_fmt = width, height, "yuv420p"
        codec.framerate, codec.time_base = rate, 1 / rate
        codec.gop_size, codec.max_b_frames, codec.thread_count = max(1, round(fps * KEYFRAME_S)), 0, 1
        codec.options = {
            "preset": "superfast",
            "tune": "zerolatency",
            "crf": "24",
            "forced-idr": "1",
            "x264-params": "scenecut=0:repeat-headers=1:annexb=1",
            "profile": "main",
        }
        self._codec, self._count = codec, 0

    def encode(self, picture: U8, wall_s: float, force_key: bool = False) -> list[AccessUnit]:
        """Code one BGR picture, scaled to the encoder's size."""
        if (picture.shape[1], picture.shape[0]) != self.size:
            picture = np.asarray(cv2.resize(picture, self.size, interpolation=cv2.INTER_AREA), np.uint8)
        yuv = np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2YUV_I420), np.uint8)
        frame = av.VideoFrame.from_ndarray(yuv, format="yuv420p")
        frame.pts = self._count
        self._count += 1
        if force_key:
            frame.pict_type = av.video.frame.PictureType.I
        return [AccessUnit(split_nals(bytes(p)), bool(p.is_keyframe), wall_s) for p in self._codec.encode(frame)]


def split_nals(annexb: bytes) -> tuple[bytes, ...]:
    """The NAL units of an Annex B byte stream."""
    return tuple(part for part in _START_CODE.split(annexb) if part)
