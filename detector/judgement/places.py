# SPDX-License-Identifier: AGPL-3.0-or-later
"""Places where people have judged this box's sightings false: there more is asked of a detection, but it is never
blind.

The server tells the whole list (docs/wire.md, `places`); it is kept on disk, so that a box without link still knows.
One false alarm teaches nothing, since fog or a truck may stand anywhere: from the second at one place on, `STEP` is
added to the threshold there for each, at most `MOST`. What is surer than that counts as everywhere, and so does what
is twice as large as what was false: a real fire at such a place grows out of it.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from detector.files import write_whole
from detector.judgement.hits import Box
from detector.wire import BoxFractions

log = logging.getLogger(__name__)

LEAST = 2
STEP = 0.1
MOST = 0.3
"""Added to the threshold. The shipped model gives half of the labelled tower plumes more than 0.5."""
REACH = 0.25
"""How far beyond a false box, in shares of its size, a detection's centre may lie and still be at its place."""
GROWN = 2.0
"""Sizes of the false box from which on a detection is not the same thing any more."""


class FalsePlace(BaseModel):
    """Where one false sighting was: fractions of the picture."""

    model_config = ConfigDict(frozen=True)

    camera: str
    preset: str | None = None
    box: BoxFractions


class PlaceList(BaseModel):
    """`edge/<edge>/places`: all of a box's. Unknown fields are left for later versions to add."""

    model_config = ConfigDict(frozen=True)

    v: Literal[1]
    places: tuple[FalsePlace, ...] = Field(max_length=1000)


class Places:
    """The list as it is kept on disk."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._payload = b""
        self._places: tuple[FalsePlace, ...] = ()
        try:
            self._payload = path.read_bytes()
            self._places = PlaceList.model_validate_json(self._payload).places
        except FileNotFoundError:
            pass
        except (OSError, ValidationError) as error:
            log.warning("%s cannot be read and is begun anew; the server will tell it again: %s", path, error)
            self._payload = b""

    @property
    def digest(self) -> str:
        """SHA-256 of the list as the server sent it: by this it sees whether it has to send it again."""
        return hashlib.sha256(self._payload).hexdigest()

    def take(self, payload: bytes) -> None:
        """A new list from the server. Raises ValueError, one phrase, for what is none; OSError from the disk."""
        try:
            places = PlaceList.model_validate_json(payload).places
        except ValidationError as error:
            first = error.errors()[0]
            raise ValueError(f"{'.'.join(map(str, first['loc'])) or 'payload'}: {first['msg']}") from error
        write_whole(self._path, payload)
        self._payload, self._places = payload, places
        log.info("the server told %d places of false alarms", len(places))

    def of(self, camera: str, preset: str | None) -> tuple[Box, ...]:
        """The false boxes of one view."""
        return tuple(each.box for each in self._places if (each.camera, each.preset) == (camera, preset))


def extra_at(box: Box, false: Sequence[Box]) -> tuple[float, int]:
    """What is added to the threshold for a detection, and how many false ones that is for."""
    count = sum(_same_place(box, each) for each in false)
    return (0.0, 0) if count < LEAST else (min(MOST, STEP * (count - LEAST + 1)), count)


def _same_place(box: Box, false: Box) -> bool:
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    wide, high = false[2] - false[0], false[3] - false[1]
    if max(box[2] - box[0], box[3] - box[1]) > GROWN * max(wide, high):
        return False
    across, down = REACH * wide, REACH * high
    return false[0] - across <= x <= false[2] + across and false[1] - down <= y <= false[3] + down
