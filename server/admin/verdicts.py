# SPDX-License-Identifier: AGPL-3.0-or-later
"""What people decided about sightings, with their pictures: what `straw1530 train from-review` learns from."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from server.domain.errors import Invalid
from server.domain.lifecycle import Event, State
from server.models import Incident, Picture, Sighting
from server.services import pictures

# Which line decides an incident that stands so; the last of them counts. Excused ones say nothing of the smoke.
_SAYS = {
    State.FALSE_ALARM: (Event.MARK_FALSE,),
    State.VERIFIED: (Event.REPORT_DONE, Event.REPORT_FALSE),
    State.CLOSED: (Event.REPORT_DONE, Event.REPORT_FALSE),
}


def verdict(incident: Incident) -> tuple[Literal["real", "false"], str | None] | None:
    """How an incident was decided, and the reason of a false alarm; None while it is not, or was excused."""
    says = _SAYS.get(State(incident.state), ())
    for line in reversed(incident.journal):
        if line.event in says:
            return ("real", None) if line.event == Event.REPORT_DONE else ("false", line.data.get("reason"))
    return None


def export(session: Session, evidence: Path, out: Path) -> Counter[str]:
    """Write verdicts.jsonl and the pictures of all decided sightings into `out`; returns how many of each verdict.

    Sightings without a stored picture are counted as `without picture`. Raises Invalid when `out` holds anything.
    """
    if out.exists() and any(out.iterdir()):
        raise Invalid(f"{out} is not empty: name a folder that is new")
    out.mkdir(parents=True, exist_ok=True)
    counts: Counter[str] = Counter()
    with (out / "verdicts.jsonl").open("w", encoding="utf-8") as file:
        for sighting, incident in session.execute(
            select(Sighting, Incident).join(Incident).where(Incident.state.in_(sorted(_SAYS))).order_by(Sighting.id)
        ):
            decided = verdict(incident)
            if decided is None:
                continue
            stored = select(Picture.id).where(
                Picture.incident_id == incident.id, Picture.sha256 == sighting.picture_sha256
            )
            if session.scalar(stored.limit(1)) is None:
                counts["without picture"] += 1
                continue
            name = f"{sighting.picture_sha256}.jpg"  # two sightings of one frame share it, and so do their boxes
            shutil.copyfile(pictures.file_of(evidence, str(sighting.picture_sha256)), out / name)
            line = {"picture": name, "camera": sighting.camera_id, "verdict": decided[0], "reason": decided[1]}
            line |= {"box": sighting.message.get("box"), "label": sighting.message.get("label", "smoke")}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
            counts[decided[0]] += 1
    return counts
