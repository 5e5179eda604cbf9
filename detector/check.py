# SPDX-License-Identifier: AGPL-3.0-or-later
"""Try everything an edge box depends on, before anybody depends on the box."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from detector.clock import Clock
from detector.config import CameraSettings, EdgeSettings
from detector.errors import DetectorError, StreamError
from detector.frame import Image
from detector.model import load_model
from detector.rtsp import RtspSource, without_password

PATIENCE_S = 15.0


@dataclass(frozen=True, slots=True)
class Result:
    """One line of the table."""

    what: str
    good: bool
    text: str


def check(settings: EdgeSettings, clock: Clock) -> list[Result]:
    """Model, broker and each camera, the cameras at the same time. Takes at most about half a minute."""
    with ThreadPoolExecutor(max_workers=len(settings.cameras)) as pool:
        streams = list(pool.map(lambda camera: _stream(camera, clock), settings.cameras))
    pictures = [image for _, image in streams if image is not None]
    return [_model(settings, pictures), _broker(settings), *(result for result, _ in streams)]


def _stream(camera: CameraSettings, clock: Clock) -> tuple[Result, Image | None]:
    what = f"camera {camera.id}"
    begun = clock.monotonic()
    try:
        source = RtspSource(camera.url, clock)
        try:
            while clock.monotonic() - begun < PATIENCE_S:
                picture = source.read(camera.interval_s)
                if picture is not None:
                    image = picture.pixels()
                    height, width = image.shape[:2]
                    seconds = clock.monotonic() - begun
                    return Result(what, True, f"{width}x{height}, first picture after {seconds:.1f} s"), image
        finally:
            source.close()
    except StreamError as error:
        return Result(what, False, f"{without_password(camera.url)}: {error}"), None
    return Result(what, False, f"{without_password(camera.url)}: no picture in {PATIENCE_S:.0f} s"), None


def _model(settings: EdgeSettings, pictures: list[Image]) -> Result:
    what = "model"
    try:
        model = load_model(settings.model.path, settings.model.backend, settings.model.threads)
    except DetectorError as error:
        return Result(what, False, str(error))
    name = f"{model.card.name} {model.card.version} by {model.backend}"
    if not pictures:
        return Result(what, True, name)
    model.detect(pictures[0], model.card.confidence)
    begun = time.perf_counter()
    for picture in pictures:
        model.detect(picture, model.card.confidence)
    each = (time.perf_counter() - begun) / len(pictures)
    asked = sum(each / camera.interval_s for camera in settings.cameras)
    return Result(what, True, f"{name}, {1000 * each:.0f} ms a picture, busy {asked:.0%} of the time")


def _broker(settings: EdgeSettings) -> Result:
    what = "broker"
    try:
        broker = settings.broker_access()
    except DetectorError as error:
        return Result(what, False, str(error))
    answered = threading.Event()
    answer: list[str] = []

    def on_connect(_client: Client, _data: object, _flags: object, reason: object, _more: object) -> None:
        answer.append(str(reason))
        answered.set()

    client = Client(CallbackAPIVersion.VERSION2)
    client.username_pw_set(broker.username, broker.password)
    if broker.ca_file:
        client.tls_set(broker.ca_file)
    client.on_connect = on_connect
    where = f"{broker.host}:{broker.port}"
    try:
        client.connect(broker.host, broker.port)
    except OSError as error:
        return Result(what, False, f"{where} cannot be reached ({error}): check broker.host and broker.port")
    client.loop_start()
    answered.wait(PATIENCE_S)
    client.disconnect()
    client.loop_stop()
    if answer[:1] == ["Success"]:
        return Result(what, True, f"{where} as {broker.username}")
    said = answer[0] if answer else "no answer"
    return Result(what, False, f"{where} refuses {broker.username} ({said}): check username and password_file")
