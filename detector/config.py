# SPDX-License-Identifier: AGPL-3.0-or-later
"""The box's settings: one YAML file, checked whole before anything starts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from detector.errors import ConfigError
from detector.judgement.masks import MaskBook, ViewMasks
from detector.judgement.params import ConfirmParams
from detector.link.publisher import Broker
from detector.planning.plan import Allowances, CameraPlan, Patrol
from detector.upkeep.updates import public_key
from detector.vision.light import Profiles
from detector.vision.model import SHIPPED, Backend
from detector.wire import View
from detector.yamlfile import read_checked

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
Label = Annotated[str, Field(pattern=r"^[^\p{C}]{1,64}$")]
"""In any script, without control characters, which no database keeps."""
SHORTEST_TOKEN = 12
Share = Annotated[float, Field(gt=0, lt=1)]
SCHEMES = ("rtsp://", "rtsps://", "http://", "https://")


def _beside(path: Path, info: ValidationInfo) -> Path:
    """Relative paths are meant from the settings file's folder."""
    folder: Path = info.context["folder"] if info.context else Path()
    return folder / path.expanduser()


FilePath = Annotated[Path, AfterValidator(_beside)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class BrokerSettings(_Section):
    """Where alarms go. The password stands in a file of its own; `ca_file` turns on TLS."""

    host: str
    port: int = Field(default=1883, ge=1, le=65535)
    username: str
    password_file: FilePath
    ca_file: FilePath | None = None


class ModelSettings(_Section):
    """What looks: `confidence` None means the threshold on the model's card; `profiles` may say another by light."""

    path: FilePath = SHIPPED
    backend: Backend = "auto"
    confidence: float | None = Field(default=None, gt=0, lt=1)
    threads: int = Field(default=2, ge=1, le=64)
    profiles: Profiles = Profiles()


class HistorySettings(_Section):
    """The frames of each camera that are kept in memory, to find out when smoke first showed: `seconds` of them,
    `step_s` apart, in at most `megabytes`."""

    seconds: float = Field(default=120.0, ge=10, le=3600)
    step_s: float = Field(default=1.0, ge=0.1, le=60)
    megabytes: float = Field(default=12.0, ge=1, le=1024)


class PreviewSettings(_Section):
    """The box's own page, its health check and metrics: on this machine alone unless `host` says otherwise."""

    host: str = "127.0.0.1"
    port: int = Field(default=8530, ge=0, le=65535)
    token_file: FilePath


class UpdateSettings(_Section):
    """Whose updates are taken: what `straw1530 admin edge key` prints on the server. `trial_s`: how long a new version
    has to show that it works."""

    public_key: str
    trial_s: float = Field(default=120, ge=1, le=3600)

    @field_validator("public_key")
    @classmethod
    def _is_key(cls, text: str) -> str:
        public_key(text)
        return text


class ConfirmSettings(_Section):
    """What one camera does differently; see detector.judgement.confirm.ConfirmParams."""

    evidence: float | None = Field(default=None, gt=0)
    least_hits: int | None = Field(default=None, ge=1)
    persist_s: float | None = Field(default=None, ge=0)
    window_s: float | None = Field(default=None, gt=0)
    repeat_after_s: float | None = Field(default=None, gt=0)


class PresetSettings(_Section):
    """One view of a camera that goes round; `device` is the name or token that the camera knows it by, where that is
    another. `skyline`: the share of the height, from the top, at which land begins; None finds it in the picture."""

    name: Name
    device: str | None = None
    view: View | None = None
    skyline: Share | None = None
    masks: ViewMasks = ViewMasks()


class PatrolSettings(_Section):
    """A round of presets: `dwell_s` at each, at most `slew_s` from the order to move until the camera stands, and
    `settle_s` until its picture may be judged. Taken by hand, it is left alone until it was still for `manual_s`."""

    presets: tuple[PresetSettings, ...] = Field(min_length=2)
    dwell_s: float = Field(gt=0, le=3600)
    slew_s: float = Field(default=3.0, gt=0, le=120)
    settle_s: float = Field(default=1.0, ge=0, le=60)
    manual_s: float = Field(default=120.0, ge=1, le=86_400)

    @field_validator("presets")
    @classmethod
    def _different(cls, presets: tuple[PresetSettings, ...]) -> tuple[PresetSettings, ...]:
        names = [preset.name for preset in presets]
        if len(set(names)) != len(names):
            raise ValueError("two presets have the same name")
        return presets


class PrivacySettings(_Section):
    """Veil people of `person_px` pixels and more in the pictures that leave the box; `height_m` is the camera's above
    the ground it looks at."""

    height_m: float = Field(gt=0, le=2000)
    person_px: float = Field(default=40.0, ge=10, le=1000)


class CameraSettings(_Section):
    """One camera at one view, or at those of its patrol. `view` None leaves its angles to the server's register,
    `skyline` None (a share of the height, from the top) has it found in the picture; `ptz` is where its mount answers
    ONVIF (http://user:password@host:port)."""

    id: Name
    url: str
    interval_s: float = Field(default=10.0, ge=0.5, le=3600)
    burst_interval_s: float = Field(default=2.0, ge=0.2, le=3600)
    preset: Label | None = None
    view: View | None = None
    skyline: Share | None = None
    masks: ViewMasks = ViewMasks()
    confirm: ConfirmSettings = ConfirmSettings()
    privacy: PrivacySettings | None = None
    ptz: str | None = None
    patrol: PatrolSettings | None = None

    @field_validator("url")
    @classmethod
    def _known_scheme(cls, url: str) -> str:
        if not url.startswith(SCHEMES):
            raise ValueError(f"must begin with one of {', '.join(SCHEMES)}")
        if url.startswith("http"):
            _ = urlsplit(url).port  # raises ValueError for what no request can be sent to
        return url

    @field_validator("ptz")
    @classmethod
    def _is_http(cls, ptz: str | None) -> str | None:
        if ptz is not None and not re.match(r"^http://([^/@]+@)?[^/:@]+(:\d+)?/?$", ptz):
            raise ValueError("must be http://user:password@host:port")
        _ = urlsplit(ptz or "").port
        return ptz

    @model_validator(mode="after")
    def _knows_its_angles(self) -> CameraSettings:
        views = [preset.view for preset in self.patrol.presets] if self.patrol else [self.view]
        if self.privacy is not None and None in views:
            raise ValueError("privacy needs the view (pan, tilt, hfov): by it is known how large people are")
        return self

    def as_plan(self) -> CameraPlan:
        """What is to be computed of it."""
        patrol = None
        if self.patrol is not None:
            names = tuple(preset.name for preset in self.patrol.presets)
            patrol = Patrol(names, self.patrol.dwell_s, self.patrol.slew_s, self.patrol.settle_s)
        return CameraPlan(self.id, self.interval_s, self.burst_interval_s, self.confirm_params(), patrol, self.preset)

    def confirm_params(self) -> ConfirmParams:
        """The rule for this camera."""
        base = ConfirmParams().for_interval(self.interval_s)
        own = self.confirm.model_dump(exclude_none=True)
        return ConfirmParams(**{name: own.get(name, getattr(base, name)) for name in base.__dataclass_fields__})


class EdgeSettings(_Section):
    """The whole file."""

    edge: Name
    data_dir: FilePath
    broker: BrokerSettings
    model: ModelSettings = ModelSettings()
    plan: Allowances = Allowances()
    preview: PreviewSettings | None = None
    updates: UpdateSettings | None = None
    history: HistorySettings = HistorySettings()
    cameras: tuple[CameraSettings, ...]

    @field_validator("cameras")
    @classmethod
    def _different(cls, cameras: tuple[CameraSettings, ...]) -> tuple[CameraSettings, ...]:
        if not cameras:
            raise ValueError("at least one camera is needed")
        names = [camera.id for camera in cameras]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two cameras are called {twice[0]}: each needs an id of its own")
        return cameras

    def mask_book(self) -> MaskBook:
        """The masks in this file, by camera and preset."""
        return MaskBook(
            cameras={
                camera.id: (
                    {each.name: each.masks for each in camera.patrol.presets}
                    if camera.patrol
                    else {camera.preset or "": camera.masks}
                )
                for camera in self.cameras
            }
        )

    def outbox_path(self) -> Path:
        """Where unsent sightings are kept."""
        return self.data_dir / "outbox.sqlite"

    def versions_path(self) -> Path:
        """Where settings, masks and models are kept that stand in for the installed ones."""
        return self.data_dir / "versions"

    def preview_token(self) -> str | None:
        """What opens the box's page, None when there is none; raises ConfigError as `broker_access` does."""
        if self.preview is None:
            return None
        token = _secret("preview.token_file", self.preview.token_file)
        if len(token) < SHORTEST_TOKEN:
            raise ConfigError(
                f"preview.token_file {self.preview.token_file} holds {len(token)} characters: "
                f"write at least {SHORTEST_TOKEN}"
            )
        return token

    def broker_access(self) -> Broker:
        """The broker with its password; raises ConfigError when the password file cannot be read."""
        password = _secret("broker.password_file", self.broker.password_file)
        ca_file = str(self.broker.ca_file) if self.broker.ca_file else None
        return Broker(self.broker.host, self.broker.port, self.broker.username, password, ca_file)


def _secret(key: str, file: Path) -> str:
    """A file's only line; raises ConfigError naming `key`."""
    try:
        secret = file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigError(f"{key} {file} cannot be read ({error.strerror}): write the secret into it") from error
    if not secret:
        raise ConfigError(f"{key} {file} is empty: write the secret into it")
    return secret


def read_settings(path: Path) -> EdgeSettings:
    """Read and check; raises ConfigError naming file, line, field and what is allowed, one line for each fault."""
    return read_checked(path, EdgeSettings)
