# SPDX-License-Identifier: AGPL-3.0-or-later
"""Small scenes and clients for the camera simulator's tests."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from camera_sim.noise import U8
from camera_sim.spec import SceneSpec


def spec(camera_id: str = "test-tower", **changes: Any) -> SceneSpec:
    """A small scene: 320x180, 10 frames a second, one village, one ridge."""
    camera = {
        "id": camera_id,
        "name": "Test tower",
        "lat": 28.98,
        "lon": 118.85,
        "height_m": 45,
        "pan_deg": 281,
        "tilt_deg": -2.5,
        "hfov_deg": 32,
        "width": 320,
        "height": 180,
        "fps": 10,
    }
    camera.update(changes.pop("camera", {}))
    whole = {
        "camera": camera,
        "villages": [{"bearing_deg": 275, "range_m": 1500, "houses": 5}],
        "hills": [{"range_m": 9000, "height_m": 300}],
        **changes,
    }
    return SceneSpec.model_validate(whole)


def folder(path: Path, colours: list[tuple[int, int, int]], width: int = 128, height: int = 96) -> Path:
    """A folder of plain pictures, one of each BGR colour."""
    path.mkdir()
    for n, colour in enumerate(colours):
        cv2.imwrite(str(path / f"{n:04}.png"), np.full((height, width, 3), colour, np.uint8))
    return path


def open_stream(url: str, transport: str = "tcp") -> av.container.InputContainer:
    """A stream opened by PyAV, without its three seconds of probing."""
    return av.open(url, options={"rtsp_transport": transport, "analyzeduration": "100000"}, timeout=10)


def watch(url: str, frames: int, transport: str = "tcp") -> list[U8]:
    """Decode so many pictures from a stream with PyAV."""
    out: list[U8] = []
    with open_stream(url, transport) as container:
        for frame in container.decode(video=0):
            out.append(np.asarray(frame.to_ndarray(format="bgr24"), np.uint8))
            if len(out) == frames:
                break
    return out


def packets_left(container: av.container.InputContainer) -> int:
    """How many more packets come before the stream ends, counted to 200; a time-out raises."""
    packets = container.demux(video=0)
    return sum(1 for packet, _ in zip(packets, range(200), strict=False) if packet.size)


def post(port: int, path: str, **body: Any) -> tuple[int, dict[str, Any]]:
    """POST to a control interface; status and JSON."""
    return call(urllib.request.Request(f"http://127.0.0.1:{port}{path}", json.dumps(body).encode()))


def get(port: int, path: str) -> tuple[int, dict[str, Any]]:
    """GET from a control interface; status and JSON."""
    return call(urllib.request.Request(f"http://127.0.0.1:{port}{path}"))


def call(request: urllib.request.Request) -> tuple[int, dict[str, Any]]:
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)
