# SPDX-License-Identifier: AGPL-3.0-or-later
"""Try everything an edge box depends on, before anybody depends on the box."""

from __future__ import annotations

import shutil
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from detector.camera.ptz import OnvifHead
from detector.camera.rtsp import without_password
from detector.camera.source import open_source
from detector.check_link import Link
from detector.clock import Clock
from detector.config import CameraSettings, EdgeSettings
from detector.errors import DetectorError, StreamError
from detector.files import write_whole
from detector.frame import Frame, Image
from detector.judgement.gaze import Gaze
from detector.upkeep.effective import model_path
from detector.upkeep.selftest import self_test
from detector.upkeep.versions import Versions
from detector.vision.model import load_model

PATIENCE_S = 15.0
LEAST_FREE = 512 * 2**20


@dataclass(frozen=True, slots=True)
class Result:
    """One line of the table."""

    what: str
    good: bool
    text: str


def check(settings: EdgeSettings, clock: Clock) -> list[Result]:
    """Model, broker, clock, disk and each camera, the cameras at the same time. Takes at most about a minute."""
    with ThreadPoolExecutor(max_workers=len(settings.cameras)) as pool:
        streams = list(pool.map(lambda camera: _stream(camera, clock), settings.cameras))
    pictures = [image for _, image in streams if image is not None]
    mounts = [_mount(camera, camera.ptz) for camera in settings.cameras if camera.ptz]
    return [
        _model(settings, pictures, clock),
        *_link(settings, clock),
        _disk(settings),
        *_page(settings),
        *_versions(settings),
        *(result for result, _ in streams),
        *mounts,
    ]


def _stream(camera: CameraSettings, clock: Clock) -> tuple[Result, Image | None]:
    what = f"camera {camera.id}"
    begun = clock.monotonic()
    try:
        source = open_source(camera.url, clock)
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


def _mount(camera: CameraSettings, address: str) -> Result:
    """Whether a camera's mount answers, knows the presets of its patrol and says where it stands."""
    what = f"mount {camera.id}"
    wanted = [preset.device or preset.name for preset in camera.patrol.presets] if camera.patrol else []
    try:
        head = OnvifHead(address)
        try:
            known, status = head.presets(), head.status()
        finally:
            head.close()
    except DetectorError as error:
        return Result(what, False, f"{without_password(address)}: {error}")
    missing = [name for name in wanted if name not in known]
    if missing:
        return Result(what, False, f"it has no preset {', '.join(missing)} (it has: {', '.join(known) or 'none'})")
    if status.position is None:
        return Result(what, False, "it does not say where it stands: nothing seen there can be placed")
    return Result(
        what, True, f"{len(wanted)} presets, stands at {', '.join(f'{each:.3f}' for each in status.position)}"
    )


def _model(settings: EdgeSettings, pictures: list[Image], clock: Clock) -> Result:
    """Whether it loads, sees what it should, and keeps up with the cameras."""
    what = "model"
    path = model_path(settings, Versions(settings.versions_path()))
    try:
        model = load_model(
            path, settings.model.backend if path == settings.model.path else "auto", settings.model.threads
        )
        self_test(model)
    except DetectorError as error:
        return Result(what, False, str(error))
    name = f"{model.card.name} {model.card.version} by {model.backend}, sees the reference smoke"
    if not pictures:
        return Result(what, True, name)
    begun = clock.monotonic()
    for picture in pictures:
        frame = Frame(picture, clock.now(), clock.monotonic(), 1, what)
        Gaze(gated=False).look(model, frame, model.card.confidence)
    each = (clock.monotonic() - begun) / len(pictures)
    asked = sum(each / camera.interval_s for camera in settings.cameras)
    text = f"{name}, {1000 * each:.0f} ms a look, busy {asked:.0%} of the time"
    if asked > 1:
        return Result(what, False, f"{text}: look less often (interval_s), or give it more threads")
    return Result(what, True, text)


def _link(settings: EdgeSettings, clock: Clock) -> list[Result]:
    """The broker, and with it the clock."""
    try:
        link = Link(settings.edge, settings.broker_access(), clock)
    except DetectorError as error:
        return [Result("broker", False, str(error))]
    try:
        reached = Result("broker", *link.reach())
        return [reached, Result("clock", *link.compare_clocks())] if reached.good else [reached]
    finally:
        link.close()


def _disk(settings: EdgeSettings) -> Result:
    """Whether alarms can be kept, and for how long pictures."""
    folder = settings.data_dir
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / "check", b"can be written")
        (folder / "check").unlink()
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return Result("disk", False, f"data_dir {folder} cannot be written ({error.strerror}): check its owner")
    text = f"{free / 2**30:.1f} GiB free at {folder}"
    if free < LEAST_FREE:
        return Result("disk", False, f"{text}: make room for at least {LEAST_FREE / 2**30:.1f} GiB")
    return Result("disk", True, text)


def _page(settings: EdgeSettings) -> list[Result]:
    """Whether the box's page can be shown; where it answers already, a box is running."""
    if settings.preview is None:
        return []
    where = f"http://{settings.preview.host}:{settings.preview.port}"
    try:
        settings.preview_token()
        with urllib.request.urlopen(f"{where}/health", timeout=3):  # noqa: S310 - our own address
            return [Result("page", True, f"{where} answers: all is well")]
    except DetectorError as error:
        return [Result("page", False, str(error))]
    except urllib.error.HTTPError as error:
        error.close()
        return [Result("page", True, f"{where} answers, and says that not all is well")]
    except OSError:
        return [Result("page", True, f"{where} when the box runs")]


def _versions(settings: EdgeSettings) -> list[Result]:
    """What stands in for what is installed."""
    report = Versions(settings.versions_path()).report()
    used = [f"{kind} version {line.using}" for kind, line in report.items() if line.using]
    bad = [f"{kind} {line.pushed} {line.result}: {line.reason}" for kind, line in report.items() if line.reason]
    return [Result("versions", not bad, "; ".join(used + bad))] if used or bad else []
