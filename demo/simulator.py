# SPDX-License-Identifier: AGPL-3.0-or-later
"""Lighting and putting out fires in the camera simulator, over its control interface."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import requests

from demo.site import HOST, CameraSite, Demo, DemoError


class SimulatorAway(DemoError):
    """The simulator does not answer: not up yet, or starting again."""


class Simulator:
    """The simulator's control interface."""

    def __init__(self, demo: Demo) -> None:
        self._url = f"http://{HOST}:{demo.ports.cameras}/cameras"

    def ignite(self, site: CameraSite) -> dict[str, Any]:
        """Light the scene's fire now; returns its ground truth (place, moment of ignition)."""
        fire = site.scene.fires[0]
        place = fire.model_dump(include={"lat", "lon", "bearing_deg", "range_m"}, exclude_none=True)
        return self._post(site, "ignite", place | {"note": fire.note})

    def extinguish(self, site: CameraSite) -> dict[str, Any]:
        """Put out what burns; the smoke thins away in some seconds."""
        return self._post(site, "extinguish", {})

    def _post(self, site: CameraSite, action: str, body: dict[str, Any]) -> dict[str, Any]:
        try:
            answer = requests.post(f"{self._url}/{site.camera}/{action}", json=body, timeout=10)
            found: dict[str, Any] = answer.json()
        except (requests.RequestException, ValueError) as error:
            raise SimulatorAway(f"the camera simulator does not answer: {error}") from None
        if not answer.ok:
            raise DemoError(f"the camera simulator refused to {action}: {found.get('error')}")
        return found


def lit_at(truth: dict[str, Any]) -> datetime:
    """When a fire was lit."""
    return datetime.fromisoformat(str(truth["ignited_at"]))
