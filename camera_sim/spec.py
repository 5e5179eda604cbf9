# SPDX-License-Identifier: AGPL-3.0-or-later
"""The scene file: what a lookout camera stands over and what happens there. Read with line-precise errors."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

Degrees = Annotated[float, Field(ge=0, lt=360)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Seconds = Annotated[float, Field(ge=0)]
CAMERA_ID = r"^[a-z0-9][a-z0-9_-]{0,63}$"

DisturbanceKind = Literal["chimney", "fog", "cloud_shadow", "headlights", "lens_rain", "shake"]


class SceneError(Exception):
    """A scene, recording or control request that cannot be used, in one sentence for a person."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Camera(_Part):
    """Where the camera stands and what it sees. Angles in degrees, WGS-84; tilt is negative below the horizon."""

    id: str = Field(pattern=CAMERA_ID)
    name: str
    lat: float = Field(ge=-90, le=90)
    lon: float = Field(ge=-180, le=180)
    height_m: float = Field(gt=1, le=500)
    pan_deg: Degrees
    tilt_deg: float = Field(ge=-45, le=20)
    hfov_deg: float = Field(ge=1, le=120)
    width: int = Field(default=1280, ge=64, le=3840, multiple_of=2)
    height: int = Field(default=720, ge=64, le=2160, multiple_of=2)
    fps: float = Field(default=10, gt=0, le=60)


class Preset(_Part):
    """A stored view of a camera that turns."""

    name: str = Field(pattern=CAMERA_ID)
    pan_deg: Degrees
    tilt_deg: float = Field(ge=-45, le=20)
    hfov_deg: float = Field(ge=1, le=120)


class Ptz(_Part):
    """What makes a camera turn: its stored views, its speeds, and the field of view (degrees) by zoom position
    (0 to 1), which falls. The default is a 37-fold lens's."""

    presets: tuple[Preset, ...] = ()
    pan_deg_s: Positive = 40.0
    tilt_deg_s: Positive = 20.0
    zoom_s: Positive = 3.0
    """Seconds from one end of the zoom to the other."""
    fields: tuple[tuple[float, float], ...] = ((0.0, 58.0), (0.25, 7.2), (1.0, 2.8))

    @model_validator(mode="after")
    def _sensible(self) -> Ptz:
        zooms, fields = [z for z, _ in self.fields], [-f for _, f in self.fields]
        if (zooms[:1], zooms[-1:]) != ([0.0], [1.0]) or zooms != sorted(set(zooms)) or fields != sorted(set(fields)):
            raise ValueError("fields: zooms rise from 0 to 1, and the fields of view fall")
        names = [preset.name for preset in self.presets]
        if len(set(names)) != len(names):
            raise ValueError("two presets have the same name")
        for preset in self.presets:
            if not self.fields[-1][1] <= preset.hfov_deg <= self.fields[0][1]:
                raise ValueError(f"preset {preset.name}: the lens has no field of view of {preset.hfov_deg:g} degrees")
        return self


class Light(_Part):
    """Time of day and air. `visibility_m` is the meteorological range: contrast falls to 2 % over it."""

    time: Literal["day", "dusk"] = "day"
    sun_bearing_deg: Degrees = 210
    sun_elevation_deg: float = Field(default=35, ge=-6, le=90)
    visibility_m: float = Field(default=18_000, ge=300, le=100_000)
    cloud: Fraction = 0.35


class Wind(_Part):
    """Wind near the ground; `from_deg` is where it comes from, as meteorologists say it."""

    speed_mps: float = Field(default=2, ge=0.3, le=20)
    from_deg: Degrees = 45


class Village(_Part):
    """A cluster of houses, placed by bearing and range from the camera."""

    bearing_deg: Degrees
    range_m: Positive
    radius_m: float = Field(default=120, gt=10, le=1500)
    houses: int = Field(default=40, ge=1, le=500)


class Hills(_Part):
    """A ridge behind the plain: its distance, the height of its crests, and how broken it is (0 smooth, 1 jagged)."""

    range_m: Annotated[float, Field(ge=1500, le=60_000)]
    height_m: Positive
    roughness: Fraction = 0.5


class Burn(_Part):
    """One point of a fire's growth: dry straw burnt per second, `t_s` seconds after the ignition."""

    t_s: Seconds
    straw_kg_s: Annotated[float, Field(ge=0, le=50)]


# A heap or windrow lit by hand, spreading along the stubble of a parcel within a few minutes.
DEFAULT_GROWTH = (
    Burn(t_s=0, straw_kg_s=0.15),
    Burn(t_s=10, straw_kg_s=0.7),
    Burn(t_s=30, straw_kg_s=1.6),
    Burn(t_s=90, straw_kg_s=3.0),
    Burn(t_s=240, straw_kg_s=4.0),
)


class Fire(_Part):
    """A straw fire on the ground, placed by lat and lon or by bearing and range from the camera."""

    at_s: Seconds
    lat: float | None = Field(default=None, ge=-90, le=90)
    lon: float | None = Field(default=None, ge=-180, le=180)
    bearing_deg: Degrees | None = None
    range_m: Annotated[float, Field(ge=100, le=20_000)] | None = None
    growth: tuple[Burn, ...] = Field(default=DEFAULT_GROWTH, min_length=1)
    duration_s: Annotated[float, Field(gt=0)] = 1800
    note: str = ""

    @model_validator(mode="after")
    def _placed_once(self) -> Fire:
        place, polar = (self.lat, self.lon), (self.bearing_deg, self.range_m)
        if (None in place and None in polar) or (place != (None, None) and polar != (None, None)):
            raise ValueError("a fire is placed by lat and lon, or by bearing_deg and range_m")
        times = [b.t_s for b in self.growth]
        if times != sorted(set(times)):
            raise ValueError("the growth's t_s must rise")
        return self


class Disturbance(_Part):
    """Something that fools detectors, between two times of the scene. `strength` scales it; 1 is usual.

    A chimney stands at `bearing_deg` and `range_m`; headlights run along a road at `range_m`.
    """

    kind: DisturbanceKind
    from_s: Seconds = 0
    to_s: Positive
    strength: float = Field(default=1, gt=0, le=3)
    bearing_deg: Degrees | None = None
    range_m: Annotated[float, Field(ge=100, le=20_000)] | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Disturbance:
        if self.to_s <= self.from_s:
            raise ValueError("to_s must be later than from_s")
        return self


class SceneSpec(_Part):
    """One scene. With `start: on_request` nothing is scheduled and fires are lit by the control interface only."""

    camera: Camera
    ptz: Ptz | None = None
    note: str = ""
    clock: AwareDatetime | None = None
    start: Literal["scheduled", "on_request"] = "scheduled"
    light: Light = Light()
    seed: int = Field(default=1, ge=0, lt=2**31)
    villages: tuple[Village, ...] = ()
    hills: tuple[Hills, ...] = ()
    wind: Wind = Wind()
    fires: tuple[Fire, ...] = ()
    disturbances: tuple[Disturbance, ...] = ()
    noise: float = Field(default=1, ge=0, le=5)

    @model_validator(mode="after")
    def _nothing_scheduled_on_request(self) -> SceneSpec:
        if self.start == "on_request" and self.fires:
            raise ValueError("a scene with start: on_request has no scheduled fires")
        return self


def builtin_scenes() -> dict[str, Path]:
    """The scenes shipped with the simulator, by name."""
    folder = Path(str(resources.files("camera_sim") / "scenes"))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def load_spec(path: Path) -> SceneSpec:
    """Read a scene file; SceneError names the file, the line and what is wrong there."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SceneError(f"{path}: cannot be read as a scene ({error})") from error
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        what = getattr(error, "problem", None) or "it is not YAML"
        raise SceneError(f"{path}{where}: {what}") from error
    try:
        return SceneSpec.model_validate(data)
    except ValidationError as error:
        raise SceneError(_sentence(path, root, error)) from error


def _sentence(path: Path, root: yaml.Node | None, error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    what = first["msg"].removeprefix("Value error, ")
    field = ".".join(str(step) for step in first["loc"]) or "scene"
    return f"{path}, line {_line(root, first['loc'])}: {field}: {what}{more}"


def _line(node: yaml.Node | None, loc: tuple[Any, ...]) -> int:
    """Line of the deepest part of `loc` that the file has (a missing key points to its parent)."""
    line = node.start_mark.line if node is not None else 0
    for step in loc:
        child: yaml.Node | None = None
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.value == step:
                    line, child = key.start_mark.line, value
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            child = node.value[step]
            line = child.start_mark.line
        if child is None:
            break
        node = child
    return line + 1
