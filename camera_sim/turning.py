# SPDX-License-Identifier: AGPL-3.0-or-later
"""A scene seen by a camera that turns.

A new view of the landscape takes seconds to draw, so it is drawn beside the stream while the camera is on its way;
until it is there, and at every moment of a movement, the view is made from the nearest one already drawn, which for a
camera that only turns and zooms is exact as far as the two overlap.
"""

from __future__ import annotations

import math
import threading

import cv2
import numpy as np

from camera_sim.geometry import View
from camera_sim.media import SceneSource
from camera_sim.mount import Mount, Pose
from camera_sim.noise import U8
from camera_sim.scene import Scene

EXPOSURE_S = 0.01


class TurningSource(SceneSource):
    """A rendered scene behind a mount. The mount's clock is the scene's."""

    def __init__(self, scene: Scene) -> None:
        assert scene.spec.ptz is not None
        super().__init__(scene)
        self.mount = Mount(scene.spec.camera, scene.spec.ptz)
        self._painting = threading.Lock()
        self._asked: set[View] = set()

    def frame(self, t_s: float) -> U8:
        """See camera_sim.media.Source."""
        view = self.mount.view(t_s)
        if not self._asked:
            self._paint(view)
            for preset in self.mount.ptz.presets:
                self._ask(self._view_of(Pose(preset.pan_deg, preset.tilt_deg, self.mount.zoom_for(preset.hfov_deg))))
        self._ask(self._view_of(self.mount.target))
        still = self.scene.still(view) if view in self.scene.drawn() else self._made(view, t_s)
        return self.scene.frame(t_s, view, still)

    def _view_of(self, pose: Pose) -> View:
        mount = Mount(self.scene.spec.camera, self.mount.ptz)
        mount.move(pose, 0.0)
        return mount.view(math.inf)

    def _ask(self, view: View) -> None:
        """Have a view drawn beside the stream."""
        if view not in self._asked:
            self._asked.add(view)
            threading.Thread(target=self._paint, args=(view,), name="landscape", daemon=True).start()

    def _paint(self, view: View) -> None:
        with self._painting:
            self._asked.add(view)
            self.scene.still(view)

    def _made(self, view: View, t_s: float) -> U8:
        """The view made from those drawn: each fills in what the ones before it do not show, the nearest first."""
        out = np.zeros((view.height, view.width, 3), np.uint8)
        empty = np.full((view.height, view.width), 255, np.uint8)
        for drawn in sorted(self.scene.drawn(), key=lambda each: _apart(each, view)):
            if _apart(drawn, view) > (drawn.hfov_deg + view.hfov_deg) / 2 + 1:
                continue
            still, matrix, size = self.scene.still(drawn), drawn.seen_from(view), (view.width, view.height)
            warped = cv2.warpPerspective(still, matrix, size)
            there = cv2.warpPerspective(np.full(still.shape[:2], 255, np.uint8), matrix, size, flags=cv2.INTER_NEAREST)
            taken = cv2.bitwise_and(empty, there)
            cv2.copyTo(warped, taken, out)
            empty = np.asarray(cv2.bitwise_and(empty, cv2.bitwise_not(taken)), np.uint8)
            if not empty.any():
                break
        swept = int(view.focal_px * math.radians(self.mount.speed_deg_s(t_s)) * EXPOSURE_S)
        return np.asarray(cv2.blur(out, (swept, 1)) if swept > 1 else out, np.uint8)


def _apart(one: View, other: View) -> float:
    pan = (one.pan_deg - other.pan_deg + 180) % 360 - 180
    return math.hypot(pan, one.tilt_deg - other.tilt_deg)
