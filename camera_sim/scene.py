# SPDX-License-Identifier: AGPL-3.0-or-later
"""A scene that plays: pictures as a function of its time, and fires whose place and time are known."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import cv2
import numpy as np

from camera_sim import disturb, landscape, plume
from camera_sim.geometry import View, from_bearing_range, to_bearing_range
from camera_sim.noise import U8, f32, hashed, wander
from camera_sim.sky import Air, air
from camera_sim.spec import DEFAULT_GROWTH, Burn, Disturbance, DisturbanceKind, Fire, SceneError, SceneSpec

KEPT_VIEWS = 12
SEARCH_S = 180.0
EMBERS = (40, 130, 255)
# Used for the clock in the picture where neither the scene nor the server gives one.
DEFAULT_CLOCK = datetime(2026, 10, 12, 8, 30, tzinfo=UTC)


@dataclass(frozen=True)
class LitFire:
    """A fire with its place resolved. Times are scene seconds; `extinguished_s` is None while nobody put it out."""

    id: str
    lat: float
    lon: float
    bearing_deg: float
    range_m: float
    start_s: float
    stop_s: float
    growth: tuple[Burn, ...]
    seed: int
    note: str = ""
    extinguished_s: float | None = None


class Scene:
    """One camera's scene. `frame(t)` depends only on the scene file, `t` (seconds) and what was lit or put out."""

    def __init__(self, spec: SceneSpec) -> None:
        self.spec = spec
        self.epoch = spec.clock or DEFAULT_CLOCK
        c = spec.camera
        self.view = View(c.pan_deg, c.tilt_deg, c.hfov_deg, c.width, c.height, c.height_m)
        self._lock = threading.Lock()
        self._stills: OrderedDict[View, U8] = OrderedDict()
        self._grain = _grain(spec)
        self.fires: tuple[LitFire, ...] = ()
        self.disturbances: tuple[Disturbance, ...] = spec.disturbances
        for fire in spec.fires:
            self._add(fire)

    def begin(self, wall: datetime) -> None:
        """The moment the picture's clock shows at t = 0, unless the scene file sets one."""
        self.epoch = self.spec.clock or wall

    def frame(self, t_s: float, view: View | None = None, still: U8 | None = None) -> U8:
        """The picture at a scene time: HxWx3 uint8 BGR. `view` is the camera's own unless another is given; `still`
        is what stands still in it, where that is not to be drawn anew."""
        view = view or self.view
        look = air(self.spec.light, view.pan_deg)
        picture = (self.still(view) if still is None else still).copy()
        for fire in self.fires:
            if fire.start_s <= t_s:
                plume.draw(picture, self._source(fire, view), self.spec.wind, view, look, t_s, fire.range_m)
                self._flames(picture, fire, view, look, t_s)
        active = [d for d in self.disturbances if d.from_s <= t_s < d.to_s]
        picture = disturb.apply(picture, active, self.spec, view, look, t_s)
        self._add_noise(picture, t_s, 1 + look.dusk)
        self._caption(picture, t_s)
        return picture

    def ignite(
        self,
        t_s: float,
        bearing_deg: float | None = None,
        range_m: float | None = None,
        lat: float | None = None,
        lon: float | None = None,
        note: str = "",
    ) -> LitFire:
        """Light a fire now, by place or by bearing and range (default: straight ahead, 1500 m)."""
        if lat is None and lon is None:
            bearing_deg = self.view.pan_deg if bearing_deg is None else bearing_deg % 360
            range_m = 1500.0 if range_m is None else range_m
        try:
            fire = Fire(
                at_s=t_s, bearing_deg=bearing_deg, range_m=range_m, lat=lat, lon=lon, growth=DEFAULT_GROWTH, note=note
            )
        except ValueError as error:
            raise SceneError(f"the fire cannot be lit: {_reason(error)}") from error
        return self._add(fire)

    def extinguish(self, t_s: float) -> tuple[LitFire, ...]:
        """Put out every burning fire now; the smoke thins away in about 20 s. Returns those put out."""
        with self._lock:
            out = tuple(replace(f, stop_s=t_s, extinguished_s=t_s) for f in self.fires if f.start_s <= t_s < f.stop_s)
            ids = {f.id for f in out}
            self.fires = (*(f for f in self.fires if f.id not in ids), *out)
        return out

    def disturb(self, kind: DisturbanceKind, t_s: float, seconds: float) -> Disturbance:
        """Switch on a disturbance for some seconds from now."""
        try:
            new = Disturbance(kind=kind, from_s=t_s, to_s=t_s + seconds)
        except ValueError as error:
            raise SceneError(f"the disturbance cannot start: {_reason(error)}") from error
        with self._lock:
            self.disturbances = (*(d for d in self.disturbances if d.to_s > t_s), new)
        return new

    def base(self, fire: LitFire, view: View | None = None) -> tuple[float, float] | None:
        """The fire's foot in the picture as fractions of its width and height; None behind the camera."""
        view = view or self.view
        at = view.pixel(fire.bearing_deg, fire.range_m)
        return None if at is None else (at[0] / view.width, at[1] / view.height)

    def first_visible_s(self, fire: LitFire, step_s: float = 0.5) -> float | None:
        """Scene time of the first frame whose smoke can be seen: `plume.VISIBLE_PIXELS` pixels of which
        smoke makes up `plume.VISIBLE_SHARE` or more; None when that does not happen within three minutes. A camera
        that turns is taken to look there."""
        view = self.view if self.spec.ptz is None else replace(self.view, pan_deg=fire.bearing_deg)
        clear = float(air(self.spec.light, view.pan_deg).clearness(fire.range_m))
        source = self._source(fire, view)
        for n in range(int(min(SEARCH_S, fire.stop_s - fire.start_s) / step_s)):
            t = fire.start_s + n * step_s
            depth = plume.optical_depth(plume.puffs(source, self.spec.wind, view, t), view)
            if plume.visible(depth, clear):
                return t
        return None

    def smoke_box(self, fire: LitFire, t_s: float) -> tuple[float, float, float, float] | None:
        """What can be seen of a fire's smoke from where the camera looks by itself: left, top, right, bottom, as
        fractions of the picture; None while that is nothing."""
        view = self.view
        clear = float(air(self.spec.light, view.pan_deg).clearness(fire.range_m))
        cloud = plume.puffs(self._source(fire, view), self.spec.wind, view, t_s)
        box = plume.visible_box(plume.optical_depth(cloud, view), clear)
        if box is None:
            return None
        left, top, right, bottom = box
        return left / view.width, top / view.height, right / view.width, bottom / view.height

    def _add(self, fire: Fire) -> LitFire:
        c = self.spec.camera
        if fire.lat is not None and fire.lon is not None:
            lat, lon = fire.lat, fire.lon
            bearing, reach = to_bearing_range(c.lat, c.lon, lat, lon)
        else:
            assert fire.bearing_deg is not None
            assert fire.range_m is not None
            bearing, reach = fire.bearing_deg, fire.range_m
            lat, lon = from_bearing_range(c.lat, c.lon, bearing, reach)
        with self._lock:
            number = len(self.fires) + 1
            lit = LitFire(
                f"{c.id}-fire-{number}",
                lat,
                lon,
                bearing,
                reach,
                fire.at_s,
                fire.at_s + fire.duration_s,
                fire.growth,
                self.spec.seed * 31 + number,
                fire.note,
            )
            self.fires = (*self.fires, lit)
        return lit

    def _source(self, fire: LitFire, view: View) -> plume.Source:
        right, forward = view.axes(fire.bearing_deg, fire.range_m)
        return plume.Source(right, forward, fire.start_s, fire.stop_s, fire.growth, fire.seed)

    def _flames(self, picture: U8, fire: LitFire, view: View, look: Air, t_s: float) -> None:
        """The glow of the fire's foot, which only the dusk lets a distant camera see."""
        at = view.pixel(fire.bearing_deg, fire.range_m)
        if at is None or not look.dusk or t_s >= fire.stop_s:
            return
        rate = float(self._source(fire, view).burning(f32([t_s - fire.start_s]))[0])
        flicker = 0.75 + 0.25 * float(wander(fire.seed + 9, f32([t_s]), 0.3)[0])
        radius = max(1.2, 1.3 * math.sqrt(rate) * view.focal_px / fire.range_m)
        disturb.glow(picture, at[0], at[1] - radius / 2, radius, 0.8 * look.dusk * flicker * min(1, rate), EMBERS)

    def still(self, view: View) -> U8:
        """What stands still in a view; a new one takes seconds to draw."""
        with self._lock:
            still = self._stills.get(view)
            if still is not None:
                self._stills.move_to_end(view)
                return still
        still = np.rint(landscape.render(self.spec, view)[..., ::-1] * 255).astype(np.uint8)
        with self._lock:
            self._stills[view] = still
            if len(self._stills) > KEPT_VIEWS:
                self._stills.popitem(last=False)
        return still

    def drawn(self) -> list[View]:
        """The views that are drawn already."""
        with self._lock:
            return list(self._stills)

    def _add_noise(self, picture: U8, t_s: float, gain: float) -> None:
        """Sensor noise: a window of a fixed field of grain, elsewhere in each frame."""
        if not self.spec.noise:
            return
        number = round(t_s * 1000)
        brighter, darker = self._grain[min(1, int(gain > 1.3))]
        h, w = picture.shape[:2]
        y, x = (int(hashed(self.spec.seed, number, k) * (n - 1)) for k, n in ((1, 128), (2, 128)))
        if h + 128 > brighter.shape[0] or w + 128 > brighter.shape[1]:
            brighter, darker = (np.resize(g, (h + 128, w + 128, 3)) for g in (brighter, darker))
        cv2.add(picture, brighter[y : y + h, x : x + w], dst=picture)
        cv2.subtract(picture, darker[y : y + h, x : x + w], dst=picture)

    def _caption(self, picture: U8, t_s: float) -> None:
        """The date, time and camera in the corner, as cameras print them (Chinese time)."""
        at = self.epoch + timedelta(seconds=t_s, hours=8)
        size = picture.shape[1] / 1280
        text = f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}  {self.spec.camera.id}"
        for colour, shift in (((25, 25, 25), 1), ((235, 235, 235), 0)):
            corner = (round(16 * size) + shift, round(30 * size) + shift)
            cv2.putText(picture, text, corner, cv2.FONT_HERSHEY_SIMPLEX, 0.6 * size, colour, 1, cv2.LINE_AA)


def _grain(spec: SceneSpec) -> list[tuple[U8, U8]]:
    """Fields of grain for day and dusk, each as what to add and what to take away."""
    rng = np.random.default_rng(spec.seed)
    h, w = spec.camera.height + 128, spec.camera.width + 128
    luma = rng.standard_normal((h, w, 1), dtype=np.float32)
    chroma = rng.standard_normal((h, w, 3), dtype=np.float32)
    out = []
    for amount in (1.6, 3.0):
        field = spec.noise * amount * (0.85 * luma + 0.5 * chroma)
        out.append((np.rint(np.maximum(field, 0)).astype(np.uint8), np.rint(np.maximum(-field, 0)).astype(np.uint8)))
    return out


def _reason(error: ValueError) -> str:
    errors = getattr(error, "errors", None)
    if errors is None:
        return str(error)
    first = errors(include_url=False)[0]
    field = ".".join(str(step) for step in first["loc"])
    message = str(first["msg"]).removeprefix("Value error, ")
    return f"{field}: {message}" if field else message
