# SPDX-License-Identifier: AGPL-3.0-or-later
"""All that is tuned of the confirmation. What the figures were chosen on stands in docs/seeing.md."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class ConfirmParams:
    """All that is tuned. Times in seconds, lengths as fractions of the frame or of a box where said."""

    evidence: float = 1.1
    """Sum of worths that confirms."""
    least_hits: int = 2
    """Least number of counted detections."""
    best: float = 0.55
    """What one of them must be worth at least: weak finds make it sooner, but never alone."""
    persist_s: float = 1.8
    """Least time between the first and the last counted detection."""
    window_s: float = 30.0
    """Detections older than this no longer count as evidence."""
    full_confidence: float = 0.5
    """A detection is worth its confidence divided by this, at most 1."""
    steady_weight: float = 0.75
    """What the evidence of a track is multiplied by as long as it keeps its size ..."""
    growth_gain: float = 0.25
    """... more by so much for each doubling of its box's area ..."""
    growth_weight: float = 1.5
    """... up to this."""
    cut_weight: float = 0.6
    """What a detection is multiplied by that a side of the frame cuts off: its foot and size are not known. One in 20
    labelled plumes is cut, one in four false detections."""
    still: float = 2.0
    """A detection whose `stir` is less holds still; noise alone gives 1.1 to 1.6, a real plume 2.06 and more."""
    still_weight: float = 0.08
    """What a detection that holds still is multiplied by: however often it is looked at, it does not confirm alone."""
    place_doubt: float = 0.3
    """The evidence of a place is divided by 1 + this for each worth that came to nothing there lately."""
    scene_doubt: float = 0.05
    """The same for what came to nothing anywhere in the scene."""
    remember_s: float = 7200.0
    """How long what came to nothing is held against a place."""
    miss_cost: float = 0.15
    """Taken off for each frame in the window that saw nothing where a counted detection had been."""
    large_area: float = 0.15
    """Of the frame. On lookout towers 19 of 20 labelled plumes are below 0.11; false boxes in fog average 0.45."""
    large_weight: float = 0.25
    """What detections are multiplied by on a track that was large when it was first seen."""
    max_travel: float = 0.4
    """How far the foot may have moved within the window, in sizes of the box, before it is a cloud."""
    reach: float = 0.75
    """How far from a track a detection may be and still belong to it, in sizes of the larger box."""
    slack: float = 0.02
    """Added to both distances, as a fraction of the frame: wind, shake, and the detector's own jitter."""
    alike: float = 0.33
    """Boxes of which one is less than this share as long as the other are two things: a first plume before a hill that
    always looks a little like smoke, or before a bank of fog."""
    suspect: float = 0.25
    """Evidence from which on more frames, sooner, are asked for: one find at the operating threshold has it."""
    burst_s: float = 60.0
    """How long one suspicion may ask for more frames: fog must not keep the box busy all day."""
    forget_s: float = 900.0
    """A track unseen for so long is gone; smoke seen there later is new."""
    repeat_after_s: float | None = None
    """Report a plume again when it still burns after so long; None reports it once."""

    def for_interval(self, interval_s: float) -> ConfirmParams:
        """The same rule for a camera sampled every `interval_s`: windows hold at least four intervals."""
        return replace(
            self,
            window_s=max(self.window_s, 4 * interval_s),
            forget_s=max(self.forget_s, 6 * interval_s),
        )
