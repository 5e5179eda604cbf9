# SPDX-License-Identifier: AGPL-3.0-or-later
"""How one camera is looked at: by which light, with which masks, and where more is asked than elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from detector.frame import Image
from detector.judgement.hits import Box, Hit
from detector.judgement.masks import Stencil, ViewMasks
from detector.judgement.places import extra_at
from detector.vision.light import LightMeter, Profiles
from detector.wire import Light


@dataclass(frozen=True, slots=True)
class Dropped:
    """A detection that does not count, and in one phrase why."""

    hit: Hit
    why: str


@dataclass(frozen=True)
class Thresholds:
    """What is asked of a detection: `base`, unless a light's profile says otherwise."""

    base: float
    profiles: Profiles = Profiles()

    def at(self, light: Light) -> float:
        """The threshold by this light."""
        return self.profiles.of(light).confidence or self.base


class Knowledge:
    """What is known of all views: the stencils of the masks and the places of false alarms, as of now.

    `masks` and `places` say what is known of a camera's view; they are asked again after `changed`, which any thread
    may call.
    """

    def __init__(
        self,
        masks: Callable[[str, str | None], ViewMasks],
        places: Callable[[str, str | None], Sequence[Box]],
    ) -> None:
        self._masks = masks
        self._places = places
        self.version = 0

    def changed(self) -> None:
        """Masks or places are others than they were."""
        self.version += 1

    def of(self, camera: str, preset: str | None) -> tuple[Stencil, Sequence[Box]]:
        """What is known of one view."""
        return Stencil(self._masks(camera, preset)), self._places(camera, preset)


NOTHING_KNOWN = Knowledge(lambda _camera, _preset: ViewMasks(), lambda _camera, _preset: ())


class Eye:
    """One camera's. For use from the looking thread; `dropped`, `light` and `preset` may be read from others."""

    def __init__(self, camera: str, preset: str | None, thresholds: Thresholds, knowledge: Knowledge) -> None:
        self._camera = camera
        self.preset = preset
        self._thresholds = thresholds
        self._knowledge = knowledge
        self._version = -1
        self._stencil, self._false = knowledge.of(camera, preset)
        self._meter = LightMeter()
        self._threshold = thresholds.base
        self.dropped: tuple[Dropped, ...] = ()

    @property
    def light(self) -> Light:
        """As of the last look."""
        return self._meter.light

    def face(self, preset: str | None) -> None:
        """The camera looks at another preset now."""
        if preset != self.preset:
            self.preset, self._version = preset, -1

    def threshold(self, image: Image) -> float:
        """Take in a picture; returns the confidence to ask the model for."""
        self._threshold = self._thresholds.at(self._meter.look(image))
        return self._threshold

    def sift(self, hits: Sequence[Hit]) -> list[Hit]:
        """The detections of that picture that count; the others are in `dropped`."""
        if self._version != self._knowledge.version:
            self._version = self._knowledge.version
            self._stencil, self._false = self._knowledge.of(self._camera, self.preset)
        reasons = [(hit, self._why_not(hit)) for hit in hits]
        self.dropped = tuple(Dropped(hit, why) for hit, why in reasons if why is not None)
        return [hit for hit, why in reasons if why is None]

    def _why_not(self, hit: Hit) -> str | None:
        if hit.label == "fire" and not self._thresholds.profiles.of(self.light).fire:
            return f"glow is no evidence by {self.light}"
        masked = self._stencil.why_not(hit)
        if masked is not None:
            return masked
        extra, count = extra_at(hit.box, self._false)
        if extra and hit.confidence < self._threshold + extra:
            return f"false {count} times here: {self._threshold + extra:.2f} is asked"
        return None
