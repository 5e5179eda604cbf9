# SPDX-License-Identifier: AGPL-3.0-or-later
"""The box's settings: one YAML file, checked whole before anything starts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from detector.confirm import ConfirmParams
from detector.errors import ConfigError
from detector.model import SHIPPED, Backend
from detector.plan import Allowances
from detector.publisher import Broker
from detector.wire import View

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
SCHEMES = ("rtsp://", "rtsps://", "http://", "https://")


def _beside(path: Path, info: ValidationInfo) -> Path:
    """Relative paths are meant from the settings file's folder."""
    folder: Path = info.context["folder"] if info.context else Path()
    return folder / path.expanduser()


FilePath = Annotated[Path, AfterValidator(_beside)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class BrokerSettings(_Section):
    """Where alarms go. The password stands in a file of its own; `ca_file` turns on TLS."""

    host: str
    port: int = Field(default=1883, ge=1, le=65535)
    username: str
    password_file: FilePath
    ca_file: FilePath | None = None


class ModelSettings(_Section):
    """What looks: `confidence` None means the threshold on the model's card."""

    path: FilePath = SHIPPED
    backend: Backend = "auto"
    confidence: float | None = Field(default=None, gt=0, lt=1)
    threads: int = Field(default=2, ge=1, le=64)


class ConfirmSettings(_Section):
    """What one camera does differently; see detector.confirm.ConfirmParams."""

    evidence: float | None = Field(default=None, gt=0)
    least_hits: int | None = Field(default=None, ge=1)
    persist_s: float | None = Field(default=None, ge=0)
    window_s: float | None = Field(default=None, gt=0)
    repeat_after_s: float | None = Field(default=None, gt=0)


class PresetSettings(_Section):
    """One view of a camera that goes round."""

    name: Name
    view: View | None = None


class PatrolSettings(_Section):
    """A round of presets: `dwell_s` at each, after `settle_s` from the order to move until the picture stands."""

    presets: tuple[PresetSettings, ...] = Field(min_length=2)
    dwell_s: float = Field(gt=0, le=3600)
    settle_s: float = Field(default=3.0, ge=0, le=60)


class CameraSettings(_Section):
    """One camera at one view, or at those of its patrol. `view` None leaves its angles to the server's register."""

    id: Name
    url: str
    interval_s: float = Field(default=10.0, ge=0.5, le=3600)
    burst_interval_s: float = Field(default=2.0, ge=0.2, le=3600)
    preset: str | None = None
    view: View | None = None
    confirm: ConfirmSettings = ConfirmSettings()
    patrol: PatrolSettings | None = None

    @field_validator("url")
    @classmethod
    def _known_scheme(cls, url: str) -> str:
        if not url.startswith(SCHEMES):
            raise ValueError(f"must begin with one of {', '.join(SCHEMES)}")
        return url

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

    def outbox_path(self) -> Path:
        """Where unsent sightings are kept."""
        return self.data_dir / "outbox.sqlite"

    def broker_access(self) -> Broker:
        """The broker with its password; raises ConfigError when the password file cannot be read."""
        file = self.broker.password_file
        try:
            password = file.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise ConfigError(
                f"broker.password_file {file} cannot be read ({error.strerror}): write the password into it"
            ) from error
        if not password:
            raise ConfigError(f"broker.password_file {file} is empty: write the password into it")
        ca_file = str(self.broker.ca_file) if self.broker.ca_file else None
        return Broker(self.broker.host, self.broker.port, self.broker.username, password, ca_file)


def read_settings(path: Path) -> EdgeSettings:
    """Read and check; raises ConfigError naming file, line, field and what is allowed, one line for each fault."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"settings file {path} cannot be read: {error}") from error
    try:
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"settings file {path} is not YAML: {' '.join(str(error).split())}") from error
    try:
        return EdgeSettings.model_validate(content, context={"folder": path.parent})
    except ValidationError as error:
        faults = [
            f"{path}:{_line(tree, fault['loc'])}: {'.'.join(map(str, fault['loc'])) or 'the file'}: {fault['msg']}"
            for fault in error.errors(include_url=False)
        ]
        raise ConfigError("\n".join(faults)) from error


def _line(node: Any, where: tuple[int | str, ...]) -> int:
    """The line, from 1, of the deepest part of the file on the way to `where`."""
    line = node.start_mark.line + 1 if node else 1
    for step in where:
        if isinstance(node, yaml.MappingNode):
            pair = next(((key, value) for key, value in node.value if key.value == step), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            pair = node.value[step], node.value[step]
        else:
            pair = None
        if pair is None:
            break
        line, node = pair[0].start_mark.line + 1, pair[1]
    return line
