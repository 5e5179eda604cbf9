# SPDX-License-Identifier: AGPL-3.0-or-later
"""A camera's mount set right by landmarks: solved, kept with what it was before, and taken back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from server import wake
from server.domain.errors import Missing
from server.locate.calibrate import Calibration, Landmark, calibrate
from server.models import CalibrationRecord, Camera, Person
from server.services import places

_VALUES = ("pan_offset", "tilt_offset", "roll", "hfov_factor", "pan_error", "tilt_error", "hfov_error")


def solve(
    camera: Camera, stated: tuple[float, float, float], size: tuple[int, int], landmarks: Sequence[Landmark]
) -> Calibration:
    """The mount that fits the landmarks in a picture of ``size`` (width, height, pixels) taken while the camera
    ``stated`` its pan, tilt and field of view. Raises Invalid when they do not fix it."""
    pan, tilt, hfov = stated
    bare = replace(places.view(camera, stated), pan=pan, tilt=tilt, roll=0.0, hfov=hfov)
    return calibrate(bare, size[0], size[1], landmarks)


def keep(
    session: Session,
    camera: Camera,
    found: Calibration,
    landmarks: Sequence[Landmark],
    *,
    person: Person | None,
    now: datetime,
) -> CalibrationRecord:
    """Place fires by this calibration from now on; the caller commits."""
    residuals = {one.name: one for one in found.residuals}
    record = CalibrationRecord(
        camera_id=camera.id,
        at=now,
        person_id=person.id if person is not None else None,
        before=_values(camera),
        after={name: getattr(found, name) for name in _VALUES},
        points=[asdict(one) | {"dx": residuals[one.name].dx, "dy": residuals[one.name].dy} for one in landmarks],
        rms_px=found.rms_px,
    )
    session.add(record)
    for name, value in record.after.items():
        setattr(camera, name, value)
    camera.calibrated_at = now
    wake.request(session)
    return record


def undo(session: Session, camera: Camera, now: datetime) -> CalibrationRecord:
    """Take the last calibration back that stands; the caller commits. Raises Missing when there is none."""
    record = last(session, camera)
    if record is None:
        raise Missing(f"no calibration of {camera.id} is left to take back")
    for name in _VALUES:
        setattr(camera, name, record.before[name])
    moment = record.before["calibrated_at"]
    camera.calibrated_at = datetime.fromisoformat(moment) if moment else None
    record.undone_at = now
    wake.request(session)
    return record


def last(session: Session, camera: Camera) -> CalibrationRecord | None:
    """The newest calibration that was not taken back."""
    return session.scalars(
        select(CalibrationRecord)
        .where(CalibrationRecord.camera_id == camera.id, CalibrationRecord.undone_at.is_(None))
        .order_by(CalibrationRecord.id.desc())
        .limit(1)
    ).first()


def _values(camera: Camera) -> dict[str, Any]:
    moment = camera.calibrated_at
    return {name: getattr(camera, name) for name in _VALUES} | {"calibrated_at": moment.isoformat() if moment else None}
