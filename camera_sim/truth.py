# SPDX-License-Identifier: AGPL-3.0-or-later
"""What truly happens in a scene, for measuring those who watch it."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from camera_sim.scene import LitFire, Scene


def stamp(wall_s: float) -> str:
    """Seconds since the Unix epoch as ISO 8601 in UTC with milliseconds."""
    return datetime.fromtimestamp(wall_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Truth:
    """The ground truth of one scene, whose time zero is `started_s` (seconds since the Unix epoch)."""

    def __init__(self, scene: Scene, started_s: float) -> None:
        self.scene = scene
        self.started_s = started_s
        self._visible: dict[str, float | None] = {}

    def document(self) -> dict[str, Any]:
        """The camera with its view, and every fire lit or scheduled."""
        camera = self.scene.spec.camera
        return {
            "camera": camera.model_dump(),
            "started_at": stamp(self.started_s),
            "wind": self.scene.spec.wind.model_dump(),
            "fires": [self.fire(f) for f in self.scene.fires],
        }

    def fire(self, fire: LitFire) -> dict[str, Any]:
        """One fire. `base` is its foot in the picture as fractions of width and height (null behind the camera);
        `first_visible_at` estimates the first frame whose smoke a person would see (null when none would)."""
        if fire.id not in self._visible:
            self._visible[fire.id] = self.scene.first_visible_s(fire)
        base, seen = self.scene.base(fire), self._visible[fire.id]
        return {
            "id": fire.id,
            "lat": round(fire.lat, 6),
            "lon": round(fire.lon, 6),
            "bearing_deg": round(fire.bearing_deg, 3),
            "range_m": round(fire.range_m, 1),
            "base": None if base is None else {"x": round(base[0], 6), "y": round(base[1], 6)},
            "in_view": base is not None and 0 <= base[0] < 1 and 0 <= base[1] < 1,
            "ignited_at": stamp(self.started_s + fire.start_s),
            "first_visible_at": None if seen is None else stamp(self.started_s + seen),
            "extinguished_at": None if fire.extinguished_s is None else stamp(self.started_s + fire.extinguished_s),
            "burns_out_at": stamp(self.started_s + fire.stop_s),
            "note": fire.note,
        }

    def write(self, folder: Path) -> Path:
        """Write `<camera id>.json` into a folder, whole or not at all."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.scene.spec.camera.id}.json"
        part = path.with_suffix(".json.part")
        part.write_text(json.dumps(self.document(), ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        os.replace(part, path)
        return path
