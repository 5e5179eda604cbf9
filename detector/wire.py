# SPDX-License-Identifier: AGPL-3.0-or-later
"""The edge's side of docs/wire.md: what it sends, what it is answered, and under which topics."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, ValidationError

MOST_TRACK_POINTS = 32
MOST_RUNS = 400
MOST_PICTURE_BYTES = 4 * 1024 * 1024

CameraState = Literal[
    "ok",
    "starting",
    "stream_down",
    "frozen",
    "resized",
    "dark",
    "covered",
    "blurred",
    "moved",
    "overloaded",
    "manual",
    "lost",
    "away",
    "slow",
]
Light = Literal["day", "night", "ir"]
Part = Literal["sighting", "onset", "coverage", "picture"]
BoxFractions = tuple[float, float, float, float]


def as_text(at: datetime) -> str:
    """2026-11-23T08:55:28.123Z."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


Instant = Annotated[datetime, PlainSerializer(as_text, when_used="json")]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Interval(_Part):
    """When the smoke became visible: after `earliest` (None when unknown), by `latest`."""

    earliest: Instant | None
    latest: Instant


class ClockOffset(_Part):
    """The edge clock against the server's (server minus edge), milliseconds; None until measured.

    Times told on one `scale` differ by exactly what went by; `monotonic_s` is that of the moment the offset holds for.
    """

    offset_ms: float | None = None
    error_ms: float | None = None
    scale: str | None = None
    monotonic_s: float | None = None


class Size(_Part):
    """Pixels."""

    width: int
    height: int


class View(_Part):
    """Where the camera looked: degrees, pan from true north clockwise, tilt negative below the horizon."""

    pan: float = Field(ge=-360, le=360)
    tilt: float = Field(ge=-90, le=90)
    hfov: float = Field(gt=0, lt=180)


class TrackPoint(_Part):
    """One detection of the confirming track."""

    at: Instant
    box: BoxFractions
    confidence: float


class ModelName(_Part):
    """Which model saw it."""

    name: str
    sha256: str


class PictureAnnounced(_Part):
    """The JPEG that will follow."""

    sha256: str
    bytes: int


class Sighting(_Part):
    """A confirmed sighting. `sent_at` is stamped anew at each sending, and `clock` (at `t1`) when better known."""

    v: Literal[1] = 1
    id: str
    edge: str
    camera: str
    preset: str | None
    t0: Interval
    t1: Instant
    sent_at: Instant
    clock: ClockOffset = ClockOffset()
    label: str
    light: Light = "day"
    confidence: float
    box: BoxFractions
    frame: Size
    view: View | None
    moving: bool = False
    """The camera turned, or nobody can say where it looked: nothing may be placed by this."""
    track: tuple[TrackPoint, ...] = Field(max_length=MOST_TRACK_POINTS)
    model: ModelName
    picture: PictureAnnounced | None

    def to_bytes(self, sent_at: datetime, clock: ClockOffset | None = None) -> bytes:
        """The message as it is sent at `sent_at`, with what is known of the clock by then."""
        return self.model_copy(update={"sent_at": sent_at, "clock": clock or self.clock}).model_dump_json().encode()


class OnsetPicture(PictureAnnounced):
    """A kept frame, and when it was taken."""

    at: Instant


class Onset(_Part):
    """When a sighting's smoke first showed, found by looking back over `frames` kept ones. `clock` is at `t0.latest`;
    `box` is where the sighting began. The pictures follow as `<id>.clean` and `<id>.first`."""

    v: Literal[1] = 1
    id: str
    sighting: str
    t0: Interval
    clock: ClockOffset
    frames: int = Field(ge=0)
    box: BoxFractions
    frame: Size
    clean: OnsetPicture | None
    first: OnsetPicture | None

    def to_bytes(self, clock: ClockOffset) -> bytes:
        """The message as it is sent, with what is known of the clock by then."""
        return self.model_copy(update={"clock": clock}).model_dump_json().encode()


class CoverageRun(_Part):
    """A stretch of one state; `ok` was looked at and judged, all else was blind."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, serialize_by_alias=True)

    state: CameraState
    start: Instant = Field(validation_alias="from", serialization_alias="from")
    to: Instant
    looks: int = Field(ge=0)


class CoverageReport(_Part):
    """One camera's time, oldest first. `clock` is at the end of the last run."""

    v: Literal[1] = 1
    id: str
    camera: str
    preset: str | None
    clock: ClockOffset
    runs: tuple[CoverageRun, ...] = Field(min_length=1, max_length=MOST_RUNS)

    def to_bytes(self, clock: ClockOffset) -> bytes:
        """The message as it is sent, with what is known of the clock by then."""
        return self.model_copy(update={"clock": clock}).model_dump_json().encode()


class CameraStatus(_Part):
    """One camera's state, as docs/wire.md names them."""

    state: CameraState
    last_frame_at: Instant | None
    reason: str | None


UpdateKind = Literal["settings", "masks", "model"]
Outcome = Literal["trial", "kept", "refused", "rolled_back"]


class VersionReport(_Part):
    """What the box uses of one kind (0: what is installed), and what became of the newest update from the server."""

    using: int
    pushed: int
    result: Outcome | None
    reason: str | None


class Status(_Part):
    """The box's retained status, and with online=False its last will. `trouble` is what was wrong with an offered
    update that cannot be believed; `places` the SHA-256 of the list of places it has."""

    v: Literal[1] = 1
    online: bool
    at: Instant
    clock: ClockOffset = ClockOffset()
    cameras: dict[str, CameraStatus]
    versions: dict[str, VersionReport] = {}
    trouble: str | None = None
    places: str | None = None


class Ack(BaseModel):
    """The server's word on one part. Unknown fields are left for later versions to add."""

    model_config = ConfigDict(frozen=True)

    v: Literal[1]
    id: str
    part: Part
    result: Literal["stored", "duplicate", "refused"]
    reason: str | None = None


def read_ack(payload: bytes) -> Ack:
    """Raises ValueError, one phrase, for what is no acknowledgement of version 1."""
    try:
        return Ack.model_validate_json(payload)
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{'.'.join(map(str, first['loc'])) or 'payload'}: {first['msg']}") from error


def topic(edge: str, *parts: str) -> str:
    """straw1530/v1/edge/<edge>/…"""
    return "/".join(("straw1530/v1/edge", edge, *parts))
