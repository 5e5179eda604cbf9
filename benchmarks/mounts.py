# SPDX-License-Identifier: AGPL-3.0-or-later
"""A simulated mount as the box's patrol sees one: three presets 40 degrees apart, turned at finite speed."""

from __future__ import annotations

from camera_sim.mount import Mount, Pose
from camera_sim.spec import Camera, Ptz
from detector.camera.ptz import Position, PtzStatus
from detector.clock import Clock
from detector.errors import PtzRefused

PRESETS = {"p1": Pose(240, -2.5, 0.1), "p2": Pose(280, -2.5, 0.1), "p3": Pose(320, -2.5, 0.1)}
# The longest way, 80 degrees back to the first preset, takes 1.3 s.
SPEED = Ptz(pan_deg_s=60, tilt_deg_s=30, zoom_s=2)
PLACE = Camera(id="tower", name="tower", lat=29, lon=119, height_m=40, pan_deg=240, tilt_deg=-2.5, hfov_deg=32)


class MountHead:
    """detector.camera.ptz.Head over a simulated mount, without a network."""

    def __init__(self, clock: Clock, speed: Ptz = SPEED) -> None:
        self.mount = Mount(PLACE, speed)
        self._clock = clock

    def presets(self) -> dict[str, Position | None]:
        """See Head."""
        return {name: _units(pose) for name, pose in PRESETS.items()}

    def go(self, preset: str) -> None:
        """See Head."""
        if preset not in PRESETS:
            raise PtzRefused(f"there is no preset {preset}")
        self.mount.move(PRESETS[preset], self._clock.monotonic())

    def status(self) -> PtzStatus:
        """See Head."""
        now = self._clock.monotonic()
        return PtzStatus(_units(self.mount.pose(now)), self.mount.moving(now))

    def close(self) -> None:
        """Nothing to let go of."""

    def at(self, preset: str) -> bool:
        """Whether the camera stands at a preset now."""
        now = self._clock.monotonic()
        return not self.mount.moving(now) and self.mount.pose(now) == PRESETS[preset]


def _units(pose: Pose) -> Position:
    return pose.pan_deg / 180 - 1, pose.tilt_deg / 90, pose.zoom
