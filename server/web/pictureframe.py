# SPDX-License-Identifier: AGPL-3.0-or-later
"""How much of a picture to show: smoke a hundredth of the frame wide must be seen on a phone held in the sun."""

from __future__ import annotations

from server.queries.incidents import Seen

_GROW = 4.0
_LEAST = 0.12  # of the frame's width


def closeup(seen: Seen, aspect: float = 1.6) -> tuple[float, float, float, float]:
    """The part of the picture around its box: x, y, width, height in pixels, of the given aspect, inside the frame."""
    x1, y1, x2, y2 = seen.box or (0.0, 0.0, 1.0, 1.0)
    wanted = max((x2 - x1) * seen.width * _GROW, (y2 - y1) * seen.height * _GROW * aspect, seen.width * _LEAST)
    width = min(wanted, seen.width, seen.height * aspect)
    height = width / aspect
    x = (x1 + x2) / 2 * seen.width - width / 2
    y = (y1 + y2) / 2 * seen.height - height / 2
    return (
        round(min(max(x, 0), seen.width - width), 1),
        round(min(max(y, 0), seen.height - height), 1),
        round(width, 1),
        round(height, 1),
    )
