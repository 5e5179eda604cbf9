# SPDX-License-Identifier: AGPL-3.0-or-later
"""Lookout cameras as one object: RTSP, control and ground truth, for the command line and for tests."""

from __future__ import annotations

import asyncio
import logging
import re
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

from camera_sim.auth import Credentials
from camera_sim.feed import Feed
from camera_sim.media import FolderSource, SceneSource, Source, VideoSource
from camera_sim.mount import Mount, Pose
from camera_sim.noise import U8
from camera_sim.rtsp import Hub
from camera_sim.scene import Scene
from camera_sim.spec import DisturbanceKind, SceneError, SceneSpec, builtin_scenes, load_spec
from camera_sim.truth import Truth
from camera_sim.turning import TurningSource

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CameraSource:
    """A camera's id and what it shows."""

    id: str
    source: Source


def open_camera(what: str | Path | SceneSpec, fps: float = 10) -> CameraSource:
    """A camera from a scene, a built-in scene's name, a scene file, a video file or a folder of pictures.

    `fps` is the rate of a folder. SceneError says in one sentence why something cannot be shown.
    """
    if isinstance(what, SceneSpec):
        return _scene_camera(what)
    builtin = builtin_scenes().get(str(what))
    path = builtin or Path(what)
    if not path.exists():
        known = ", ".join(builtin_scenes())
        raise SceneError(f"{what}: no such file or folder, and no built-in scene of that name (there are: {known})")
    if path.suffix.lower() in {".yaml", ".yml"}:
        return _scene_camera(load_spec(path))
    return CameraSource(recording_id(path), FolderSource(path, fps) if path.is_dir() else VideoSource(path))


def recording_id(path: Path) -> str:
    """The camera id that a video file or a folder of pictures is served under, made from its name."""
    return re.sub(r"[^a-z0-9_-]+", "-", path.resolve().stem.lower()).strip("-") or "recording"


def _scene_camera(spec: SceneSpec) -> CameraSource:
    scene = Scene(spec)
    return CameraSource(spec.camera.id, SceneSource(scene) if spec.ptz is None else TurningSource(scene))


@dataclass
class CameraServer:
    """Cameras on one RTSP port (0 takes a free one). Use as a context manager; `url(id)` is where to look.

    Entering draws every scene's first picture (a few seconds each) and raises SceneError when the port is taken.
    """

    cameras: Sequence[CameraSource]
    host: str = "127.0.0.1"
    port: int = 0
    truth_dir: Path | None = None
    credentials: Credentials | None = None
    clock: Callable[[], float] = time.time
    _feeds: dict[str, Feed] = field(default_factory=dict)
    _truths: dict[str, Truth] = field(default_factory=dict)
    _threads: list[threading.Thread] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _control: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        for camera in self.cameras:
            if camera.id in self._feeds:
                raise SceneError(f"two cameras are called {camera.id!r}: give each its own id")
            self._feeds[camera.id] = Feed(camera.id, camera.source)
        if not self._feeds:
            raise SceneError("there is no camera to show: name a scene, a video or a folder")

    def __enter__(self) -> CameraServer:
        self._loop = asyncio.new_event_loop()
        self._hub = Hub(self._feeds, self.credentials)
        try:
            self._server = self._loop.run_until_complete(self._listen())
        except OSError as error:
            self._loop.close()
            raise SceneError(
                f"RTSP cannot listen on {self.host} port {self.port} ({error.strerror}): "
                "stop what uses it or choose another port"
            ) from error
        self.port = self._server.sockets[0].getsockname()[1]
        try:
            self._start_cameras()
        except BaseException:
            self._loop.run_until_complete(self._close())
            self._loop.close()
            raise
        self._spawn("rtsp", self._loop.run_forever)
        for feed in self._feeds.values():
            self._spawn(f"camera {feed.id}", partial(feed.run, self._stop))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        for thread in self._threads:
            thread.join(5)
        self._loop.close()

    def url(self, camera_id: str) -> str:
        """The RTSP address of a camera (without a password)."""
        self._feed(camera_id)
        return f"rtsp://{self.host}:{self.port}/{camera_id}"

    def state(self) -> list[dict[str, Any]]:
        """Every camera: address, scene time, picture size, rate, number watching and deliberate faults."""
        now = self.clock()
        return [
            {
                "id": f.id,
                "url": self.url(f.id),
                "scene_s": round(f.scene_s(now), 3),
                "width": f.size[0],
                "height": f.size[1],
                "fps": f.source.fps,
                "clients": f.viewers,
                "frozen": f.faults.frozen,
                "stalled": f.faults.stalled,
                "fires": [self._truths[f.id].fire(x) for x in self._truths[f.id].scene.fires]
                if f.id in self._truths
                else [],
            }
            for f in self._feeds.values()
        ]

    def wait_for_clients(self, camera_id: str, number: int, timeout_s: float = 10) -> bool:
        """Wait until exactly so many clients watch a camera; False when that does not come in time."""
        return self._feed(camera_id).wait_for_viewers(number, timeout_s)

    def ignite(
        self,
        camera_id: str,
        bearing_deg: float | None = None,
        range_m: float | None = None,
        lat: float | None = None,
        lon: float | None = None,
        note: str = "",
    ) -> dict[str, Any]:
        """Light a fire now; its ground truth."""
        with self._control:
            truth, feed = self._truth(camera_id), self._feed(camera_id)
            fire = truth.scene.ignite(feed.scene_s(self.clock()), bearing_deg, range_m, lat, lon, note)
            self._write(truth)
            return truth.fire(fire)

    def extinguish(self, camera_id: str) -> list[dict[str, Any]]:
        """Put out every burning fire of a camera; their ground truth."""
        with self._control:
            truth, feed = self._truth(camera_id), self._feed(camera_id)
            out = truth.scene.extinguish(feed.scene_s(self.clock()))
            self._write(truth)
            return [truth.fire(f) for f in out]

    def disturb(self, camera_id: str, kind: DisturbanceKind, seconds: float) -> dict[str, Any]:
        """Switch on a disturbance for some seconds."""
        with self._control:
            scene = self._truth(camera_id).scene
            return scene.disturb(kind, self._feed(camera_id).scene_s(self.clock()), seconds).model_dump()

    def freeze(self, camera_id: str) -> None:
        """Send the same picture for ever."""
        self._feed(camera_id).faults.frozen = True

    def stall(self, camera_id: str) -> None:
        """Keep the connections but send nothing."""
        self._feed(camera_id).faults.stalled = True

    def spoil(self, camera_id: str, damaged: bool = False, uneven: bool = False, back_s: float = 0.0) -> None:
        """Damage what is sent, leave pictures out, set the time stamps back: exactly those asked for."""
        faults = self._feed(camera_id).faults
        faults.damaged, faults.uneven, faults.back_s = damaged, uneven, back_s

    def unfreeze(self, camera_id: str) -> None:
        """End freeze and stall."""
        faults = self._feed(camera_id).faults
        faults.frozen = faults.stalled = False

    def turn(self, camera_id: str, pan_deg: float, tilt_deg: float, hfov_deg: float | None = None) -> None:
        """Turn a camera, as a hand on its control desk does."""
        mount, now = self.mount(camera_id), self.scene_s(camera_id)
        zoom = mount.target.zoom if hfov_deg is None else mount.zoom_for(hfov_deg)
        mount.move(Pose(pan_deg, tilt_deg, zoom), now)

    def mount(self, camera_id: str) -> Mount:
        """What turns a camera; SceneError for one that stands still."""
        source = self._feed(camera_id).source
        if not isinstance(source, TurningSource):
            raise SceneError(f"camera {camera_id!r} does not turn: its scene has no ptz section")
        return source.mount

    def ids(self) -> list[str]:
        """The cameras."""
        return list(self._feeds)

    def turning(self) -> list[str]:
        """The cameras that turn."""
        return [feed.id for feed in self._feeds.values() if isinstance(feed.source, TurningSource)]

    def scene_s(self, camera_id: str) -> float:
        """A camera's scene time now, seconds."""
        return self._feed(camera_id).scene_s(self.clock())

    def snapshot(self, camera_id: str) -> U8 | None:
        """A camera's picture now, BGR; None while it is stalled."""
        feed = self._feed(camera_id)
        return None if feed.faults.stalled else feed.snapshot(self.clock())

    def drop(self, camera_id: str, refuse_s: float = 0) -> int:
        """Cut the clients of a camera, and answer 404 for some seconds; the number cut."""
        self._feed(camera_id)
        return asyncio.run_coroutine_threadsafe(self._drop(camera_id, refuse_s), self._loop).result(5)

    def resize(self, camera_id: str, width: int, height: int) -> None:
        """Change the size of the pictures sent, without a word to the clients, as cameras do."""
        self._feed(camera_id).resize(width, height)

    def _feed(self, camera_id: str) -> Feed:
        feed = self._feeds.get(camera_id)
        if feed is None:
            raise KeyError(f"there is no camera {camera_id!r} (there are: {', '.join(self._feeds)})")
        return feed

    def _truth(self, camera_id: str) -> Truth:
        self._feed(camera_id)
        truth = self._truths.get(camera_id)
        if truth is None:
            raise SceneError(f"camera {camera_id!r} plays a recording: only scenes can burn or be disturbed")
        return truth

    def _write(self, truth: Truth) -> None:
        if self.truth_dir is not None:
            truth.write(self.truth_dir)

    def _start_cameras(self) -> None:
        """Draw the first pictures, side by side, then let every scene's time begin together."""
        with ThreadPoolExecutor(max_workers=2) as pool:
            list(pool.map(lambda feed: feed.start(self.clock()), self._feeds.values()))
        now = self.clock()
        for feed in self._feeds.values():
            feed.started_s = now
            if isinstance(feed.source, SceneSource):
                feed.source.scene.begin(datetime.fromtimestamp(now, UTC))
                truth = self._truths[feed.id] = Truth(feed.source.scene, now)
                self._write(truth)

    def _spawn(self, name: str, target: Callable[[], None]) -> None:
        thread = threading.Thread(target=target, name=name, daemon=True)
        thread.start()
        self._threads.append(thread)

    async def _listen(self) -> asyncio.Server:
        server = await asyncio.start_server(self._hub.serve, self.host, self.port)
        try:
            self._hub.udp, _ = await self._loop.create_datagram_endpoint(
                asyncio.DatagramProtocol, local_addr=(self.host, 0)
            )
        except OSError:
            server.close()
            raise
        return server

    async def _drop(self, camera_id: str, refuse_s: float) -> int:
        self._hub.refused_until[camera_id] = self._loop.time() + refuse_s
        return self._hub.drop(camera_id)

    async def _close(self) -> None:
        self._server.close()
        for connection in list(self._hub.connections):
            connection.abort()
        if self._hub.udp is not None:
            self._hub.udp.close()
        tasks = [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)
