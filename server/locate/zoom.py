# SPDX-License-Identifier: AGPL-3.0-or-later
"""A camera model's field of view by its zoom.

Zoom positions (ONVIF's 0 to 1, or a vendor's own) have no stated mapping and are far from linear: one 37× camera sees
58° at 0, 7.2° at 0.25 and 2.8° at 1. So each model has a table, measured once. Between its rows the logarithm of the
field is interpolated monotonically (Fritsch and Carlson 1980, with Fritsch and Butland's slopes): more zoom never sees
more.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from server.domain.errors import Invalid


class ZoomTable:
    """Field of view (horizontal, degrees) by zoom position."""

    def __init__(self, model: str, rows: Sequence[tuple[float, float]]) -> None:
        """``rows``: (zoom, field of view), two or more. Raises Invalid when zooms repeat or the field grows."""
        ordered = sorted(rows)
        if len(ordered) < 2 or not all(math.isfinite(z) and 0 < field < 180 for z, field in ordered):
            raise Invalid(
                f"the zoom table of {model!r} needs two rows or more, each a zoom and a field of view in degrees"
            )
        zooms, fields = np.array(ordered).T
        if (np.diff(zooms) <= 0).any() or (np.diff(fields) >= 0).any():
            raise Invalid(f"the zoom table of {model!r}: each zoom once, and the field of view falls from row to row")
        self.model = model
        self._zooms, self._logs = zooms, np.log(fields)
        self._slopes = _monotone_slopes(self._zooms, self._logs)

    def hfov(self, zoom: float) -> float | None:
        """The field of view at a zoom position; None outside the table: what was not measured is not known."""
        if not self._zooms[0] <= zoom <= self._zooms[-1]:
            return None
        index = min(int(np.searchsorted(self._zooms, zoom, side="right")) - 1, len(self._zooms) - 2)
        width = self._zooms[index + 1] - self._zooms[index]
        t = (zoom - self._zooms[index]) / width
        value = (
            (1 + 2 * t) * (1 - t) ** 2 * self._logs[index]
            + t * (1 - t) ** 2 * width * self._slopes[index]
            + t * t * (3 - 2 * t) * self._logs[index + 1]
            + t * t * (t - 1) * width * self._slopes[index + 1]
        )
        return math.exp(float(value))


def _monotone_slopes(x: np.typing.NDArray[np.float64], y: np.typing.NDArray[np.float64]) -> list[float]:
    """The slope at each row: the neighbours' weighted harmonic mean inside, the outermost secant at the ends."""
    widths, secants = np.diff(x), np.diff(y) / np.diff(x)
    slopes = [float(secants[0])]
    for k in range(1, len(secants)):
        one, two = 2 * widths[k] + widths[k - 1], widths[k] + 2 * widths[k - 1]
        slopes.append(float((one + two) / (one / secants[k - 1] + two / secants[k])))
    return [*slopes, float(secants[-1])]
