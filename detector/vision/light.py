# SPDX-License-Identifier: AGPL-3.0-or-later
"""By what light a picture was taken: by day, by night in colour, or by infrared.

A camera that has turned to infrared sends no colour at all: not even the greyest fog is that free of it. By night in
colour nothing but lamps and flames is bright; by day there is a sky, whatever the mountains below it look like. On
pictures of lookout towers by day the 95th percentile is above 170 grey levels, in the simulator's dusk it is 128.
"""

from __future__ import annotations

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from detector.frame import Image
from detector.wire import Light

SIZE = (160, 90)
COLOURLESS = 4.0
"""Levels of 255 by which the channels of 19 of 20 points may differ in a picture without colour: 3 by conversion from
video alone, and at least 6 in 498 real pictures of fog."""
DARK = 135.0
"""Grey level that 19 of 20 points of a picture taken by night, or at dusk, stay below."""
LOOKS = 3
"""Looks running that change the light: a passing lorry's headlights do not."""


class Profile(BaseModel):
    """What one light asks for. `confidence` None: that of the model. `fire`: whether glow counts as evidence."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    confidence: float | None = Field(default=None, gt=0, lt=1)
    fire: bool = True


class Profiles(BaseModel):
    """Thresholds by light. Infrared shows hot and shining things alike as white: there glow is no evidence.

    Without their colour 53 validation pictures free of smoke, none of fog, give the shipped model 11 false ones at its
    0.28 (3 with it), and 7 at 0.35, where it still sees smoke in 117 of 133 tower pictures (123 with it, at 0.28).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    day: Profile = Profile()
    night: Profile = Profile()
    ir: Profile = Profile(confidence=0.35, fire=False)

    def of(self, light: Light) -> Profile:
        """The profile for a light."""
        profile: Profile = getattr(self, light)
        return profile


def measure(image: Image) -> tuple[float, float]:
    """(colour, brightness) of a BGR picture: 95th percentiles of the channels' difference and of the grey level."""
    small = cv2.resize(image, SIZE, interpolation=cv2.INTER_AREA)
    spread = small.max(axis=2).astype(np.int16) - small.min(axis=2)
    return float(np.percentile(spread, 95)), float(np.percentile(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY), 95))


def light_of(image: Image) -> Light:
    """The light of one picture."""
    colour, brightness = measure(image)
    if colour <= COLOURLESS:
        return "ir"
    return "night" if brightness < DARK else "day"


class LightMeter:
    """The light of one camera, which changes only when several looks running say so."""

    def __init__(self) -> None:
        self._light: Light | None = None
        self._other: Light | None = None
        self._count = 0

    @property
    def light(self) -> Light:
        """As of the last look; day before the first."""
        return self._light or "day"

    def look(self, image: Image) -> Light:
        """Take in a picture; returns the light it is to be judged by."""
        seen = light_of(image)
        self._count = self._count + 1 if seen == self._other else 1
        self._other = seen
        if self._light is None or self._count >= LOOKS:
            self._light = seen
        return self._light
