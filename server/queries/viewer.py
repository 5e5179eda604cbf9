# SPDX-License-Identifier: AGPL-3.0-or-later
"""Who looks, and what they may see: their area, and the incidents they were called for."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.orm import Session

from server.models import Incident, Person, Picture
from server.models.notice import called
from server.queries.places import village_name


@dataclass(frozen=True, slots=True)
class Viewer:
    """A person as the screens know them. ``area_prefix`` begins every division code they may see."""

    id: int
    login: str
    name: str
    role: str
    language: str
    area_code: str
    area_name: str
    area_prefix: str
    session_epoch: int

    @property
    def oversees(self) -> bool:
        """Whether they watch and verify (the console) rather than answer in the field."""
        return self.role != "worker"


def load(session: Session, person_id: int) -> Viewer | None:
    """The viewer with this number; None when unknown or no longer active."""
    person = session.get(Person, person_id)
    return to_viewer(person) if person is not None and person.active else None


def to_viewer(person: Person) -> Viewer:
    """The viewer that a stored person is."""
    return Viewer(
        id=person.id,
        login=person.login,
        name=person.name,
        role=person.role,
        language=person.language,
        area_code=person.area_code,
        area_name=village_name(person.area.name),
        area_prefix=person.area.prefix,
        session_epoch=person.session_epoch,
    )


def visible(viewer: Viewer) -> ColumnElement[bool]:
    """The condition on ``Incident`` for what a viewer may see: what ``services.actors.is_concerned`` asks, in SQL."""
    where = func.coalesce(Incident.grid_code, Incident.county_code)
    return or_(where.startswith(viewer.area_prefix, autoescape=True), called(viewer.id))


def may_see_picture(session: Session, viewer: Viewer, sha256: str) -> bool:
    """Whether a stored picture with this digest belongs to an incident the viewer may see."""
    found = select(Picture.id).join(Incident, Incident.id == Picture.incident_id)
    return session.scalar(found.where(Picture.sha256 == sha256, visible(viewer)).limit(1)) is not None
