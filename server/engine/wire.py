# SPDX-License-Identifier: AGPL-3.0-or-later
"""Reading what edge boxes and phones send: docs/wire.md, enforced."""

from __future__ import annotations

import json
import math
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, TypeVar
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from server.domain.errors import Invalid
from server.domain.lifecycle import Event
from server.domain.texts import check_texts
from server.services.coverage import CoverageReport, Run
from server.services.onsets import OnsetReport
from server.services.sightings import Report

MAX_JSON = 64 * 1024
MAX_PICTURE = 4 * 1024 * 1024

Fraction = Annotated[float, Field(ge=0, le=1)]
Box = tuple[Fraction, Fraction, Fraction, Fraction]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,39}$")]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Message(BaseModel):
    # Fields we do not know yet are passed over: a newer box may say more within the same version.
    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)
    v: Literal[1]


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)


class FirstSeen(_Part):
    """T0 as an interval on the edge's clock."""

    earliest: AwareDatetime | None
    latest: AwareDatetime

    @model_validator(mode="after")
    def _ordered(self) -> FirstSeen:
        if self.earliest is not None and self.earliest > self.latest:
            raise ValueError("earliest is after latest")
        return self


class EdgeClock(_Part):
    """Server minus edge, and how well that is known. Times of one ``scale`` differ by exactly what went by."""

    offset_ms: float | None = None
    error_ms: Annotated[float, Field(ge=0)] | None = None
    scale: Annotated[str, Field(max_length=64)] | None = None
    monotonic_s: float | None = None


class FrameSize(_Part):
    """Pixels."""

    width: Annotated[int, Field(gt=0, le=20_000)]
    height: Annotated[int, Field(gt=0, le=20_000)]


class CameraView(_Part):
    """Degrees; pan from true north, tilt negative below the horizon. Without ``hfov`` the camera's zoom table gives it
    for ``zoom``, which is on the device's own scale."""

    pan: Annotated[float, Field(ge=-360, le=720)]
    tilt: Annotated[float, Field(ge=-90, le=90)]
    hfov: Annotated[float, Field(gt=0, lt=180)] | None = None
    zoom: float | None = None


class AnnouncedPicture(_Part):
    """The picture that will follow."""

    sha256: Digest
    bytes: Annotated[int, Field(gt=0, le=MAX_PICTURE)]


class SightingMessage(_Message):
    """``edge/<edge>/sighting``. What is not checked here (track, model, label) is kept with it as it came."""

    model_config = ConfigDict(extra="allow")

    id: UUID
    edge: Name
    camera: Name
    t0: FirstSeen
    t1: AwareDatetime
    sent_at: AwareDatetime
    clock: EdgeClock = EdgeClock()
    confidence: Fraction
    box: Box
    frame: FrameSize
    view: CameraView | None = None
    moving: bool = False
    picture: AnnouncedPicture | None = None

    @model_validator(mode="after")
    def _sensible(self) -> SightingMessage:
        x1, y1, x2, y2 = self.box
        if not (x1 < x2 and y1 < y2):
            raise ValueError("box must have x1 < x2 and y1 < y2")
        return self


class OnsetPicture(AnnouncedPicture):
    """A kept frame; ``at`` by the edge's clock."""

    at: AwareDatetime


class OnsetMessage(_Message):
    """``edge/<edge>/onset``. What is not checked here is kept with it as it came."""

    model_config = ConfigDict(extra="allow")

    id: UUID
    sighting: UUID
    t0: FirstSeen
    clock: EdgeClock = EdgeClock()
    frames: Annotated[int, Field(ge=0)]
    clean: OnsetPicture | None = None
    first: OnsetPicture | None = None

    def to_report(self, edge: str) -> OnsetReport:
        """As the services take it."""
        return OnsetReport(
            id=str(self.id),
            edge=edge,
            sighting=str(self.sighting),
            t0_earliest=self.t0.earliest,
            t0_latest=self.t0.latest,
            clock_offset_ms=self.clock.offset_ms,
            clock_error_ms=self.clock.error_ms,
            frames=self.frames,
            clean_sha256=self.clean.sha256 if self.clean else None,
            first_sha256=self.first.sha256 if self.first else None,
            message=self.model_dump(mode="json"),
        )


class StatusMessage(_Message):
    """``edge/<edge>/status``."""

    online: bool
    at: AwareDatetime | None = None
    clock: EdgeClock = EdgeClock()
    cameras: dict[Name, dict[str, Any]] = {}
    versions: dict[str, Any] = {}
    trouble: Annotated[str, Field(max_length=2000)] | None = None
    places: Digest | None = None

    @property
    def states(self) -> dict[str, str]:
        """How each camera is, by the wire's words or a later version's."""
        states = {name: status.get("state") for name, status in self.cameras.items()}
        return {name: state[:24] for name, state in states.items() if isinstance(state, str)}


class WantMessage(_Message):
    """``edge/<edge>/want``: the next piece of an update's file."""

    sha256: Digest
    offset: Annotated[int, Field(ge=0)]


class CoverageStretch(_Part):
    """One camera in one state for some time, by the edge's clock."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False, populate_by_name=True)

    state: Annotated[str, Field(pattern=r"^[a-z_]{1,24}$")]
    from_at: Annotated[AwareDatetime, Field(alias="from")]
    to: AwareDatetime
    looks: Annotated[int, Field(ge=0)]

    @model_validator(mode="after")
    def _ordered(self) -> CoverageStretch:
        if self.from_at > self.to:
            raise ValueError("from is after to")
        return self


class CoverageMessage(_Message):
    """``edge/<edge>/coverage``."""

    id: UUID
    camera: Name
    preset: Annotated[str, Field(max_length=64)] | None = None
    clock: EdgeClock = EdgeClock()
    runs: Annotated[tuple[CoverageStretch, ...], Field(min_length=1, max_length=400)]

    def to_report(self, edge: str) -> CoverageReport:
        """As the services take it."""
        return CoverageReport(
            id=str(self.id),
            edge=edge,
            camera=self.camera,
            preset=self.preset,
            clock_offset_ms=self.clock.offset_ms,
            clock_error_ms=self.clock.error_ms,
            runs=[Run(run.state, run.from_at, run.to, run.looks) for run in self.runs],
        )


class ReceiptMessage(_Message):
    """``person/<person>/receipt``."""

    notice: UUID
    at: AwareDatetime | None = None


AnswerEvent = Literal["accept", "set_off", "arrive", "start_disposal", "report_done", "report_false", "undo"]


class AnswerMessage(_Message):
    """``person/<person>/answer``."""

    id: Annotated[str, Field(min_length=8, max_length=64)]
    incident: Annotated[str, Field(min_length=3, max_length=8)]
    event: AnswerEvent
    at: AwareDatetime | None = None
    lat: Annotated[float, Field(ge=-90, le=90)] | None = None
    lon: Annotated[float, Field(ge=-180, le=180)] | None = None
    note: Annotated[str, Field(max_length=500)] | None = None
    reason: str | None = None

    def journal_data(self) -> dict[str, Any]:
        """What the journal keeps beside the server's own time."""
        data = self.model_dump(mode="json", include={"lat", "lon", "note", "reason"}, exclude_none=True)
        if self.at is not None:
            data["phone_at"] = self.at.isoformat()
        return data

    @property
    def domain_event(self) -> Event:
        """The event by its domain name."""
        return Event(self.event)


M = TypeVar("M", bound=BaseModel)


def parse(kind: type[M], payload: bytes) -> M:
    """Read one message. Raises Invalid with one sentence naming the first field that is wrong."""
    if len(payload) > MAX_JSON:
        raise Invalid(f"the message has {len(payload):,} bytes; at most {MAX_JSON:,} are taken")
    try:
        data = json.loads(payload)
        check_texts(data)
    except (ValueError, RecursionError) as error:  # a number of thousands of digits is one, too
        raise Invalid(f"the message is not JSON: {error}") from None
    if isinstance(data, dict) and data.get("v") not in (None, 1):
        raise Invalid(f"the message has version {data['v']!r}; this server knows version 1")
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "message"
        raise Invalid(f"{where}: {first['msg']}") from None


def sighting_id_of(payload: bytes) -> str | None:
    """The id of a message that could not be read whole, so that its sender can be told; None if even that is lost."""
    try:
        return str(UUID(str(json.loads(payload)["id"])))
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def to_report(message: SightingMessage, received_at: datetime) -> Report:
    """The sighting as the services take it.

    A message cannot arrive before it was sent: an unmeasured clock that says so is known to be ahead by at least that.
    """
    offset_ms = message.clock.offset_ms
    if offset_ms is None and message.sent_at > received_at:
        offset_ms = (received_at - message.sent_at) / timedelta(milliseconds=1)
    view = message.view
    return Report(
        id=str(message.id),
        edge=message.edge,
        camera=message.camera,
        t0_earliest=message.t0.earliest,
        t0_latest=message.t0.latest,
        t1=message.t1,
        clock_offset_ms=offset_ms,
        clock_error_ms=message.clock.error_ms,
        confidence=message.confidence,
        box=message.box,
        aspect=message.frame.width / message.frame.height,
        view=None if view is None else (math.fmod(view.pan + 360, 360), view.tilt, view.hfov),
        zoom=view.zoom if view else None,
        moving=message.moving,
        picture_sha256=message.picture.sha256 if message.picture else None,
        message=message.model_dump(mode="json"),
    )
