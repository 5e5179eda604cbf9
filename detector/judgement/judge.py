# SPDX-License-Identifier: AGPL-3.0-or-later
"""One frame judged: what the model sees in it, and the sightings that this confirms."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from detector.frame import Frame
from detector.judgement.confirm import Confirmed, Confirmer
from detector.judgement.gaze import Gaze
from detector.judgement.hits import Hit
from detector.vision.model import Model

WEAK = 0.4
"""The confirmation also reads finds down to this share of the operating threshold."""


def judge(
    model: Model,
    confirmer: Confirmer,
    frame: Frame,
    confidence: float,
    sift: Callable[[Sequence[Hit]], list[Hit]] = list,
    gaze: Gaze | None = None,
) -> tuple[list[Hit], list[Confirmed]]:
    """What the model sees in `frame` at or above `confidence` that counts by `sift`, and the sightings that this and
    the weaker finds confirm.

    While the confirmation is in doubt every view is looked at; without a `gaze` every view always is.
    """
    gaze = gaze or Gaze(gated=False)
    hits = sift(gaze.look(model, frame, WEAK * confidence, closely=confirmer.suspicious))
    sightings = confirmer.step(frame.captured_at, hits)
    return [hit for hit in hits if hit.confidence >= confidence], sightings
