# SPDX-License-Identifier: AGPL-3.0-or-later
"""The measurement of discovery measures what it says."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest

from benchmarks import discovery, plumes
from benchmarks.plumes import BEFORE, Boxes, Film
from detector.frame import Image
from detector.planning.plan import Allowances, compute

SIZE = 480, 270
BOX = (0.4, 0.5, 0.43, 0.54)
ROOF = (0.39, 0.44, 0.5, 0.54)
HILL = (0.44, 0.5, 0.53, 0.54)


class Made(Film):
    """Land without movement, and something that stirs in `BOX` from second 0 on."""

    def picture(self, second: int) -> Image:
        return _land(second if self.begin + second >= BEFORE else None)


@lru_cache(maxsize=256)
def _land(second: int | None) -> Image:
    land = np.random.default_rng(1).integers(40, 200, (27, 48, 3), np.uint8).repeat(10, axis=0).repeat(10, axis=1)
    if second is not None:
        x1, y1, x2, y2 = (round(share * SIZE[number % 2]) for number, share in enumerate(BOX))
        land[y1:y2, x1:x2] = np.random.default_rng(second).integers(0, 256, (y2 - y1, x2 - x1, 1), np.uint8)
    return land


def made(seen: Boxes, before: Boxes = []) -> Film:  # noqa: B006 - not written to
    """A plume of which each look finds the same."""
    looks = (before,) * BEFORE + (seen,) * 100
    return Made("made", looks, 0.28, BEFORE, 0.0, 1000.0, (None,) * BEFORE + (BOX,) * 100)


ALWAYS = made([(*BOX, 0.8)])
NEVER = made([])


@pytest.mark.parametrize("case", discovery.CASES, ids=lambda case: case.name)
def test_a_plain_plume_is_found_as_planned(case: discovery.Case) -> None:
    """What the model always sees is found within the plan's worst case; the wait for the next look is part of it."""
    run = discovery.measure(case, [ALWAYS], 6, 1.0, 1)
    sure = Allowances(capture_s=0, look_s=0, delivery_s=0, confidence=0.8, misses=0)
    assert run["seconds"]["n"] == 6
    assert run["false"] == 0
    assert run["seconds"]["max"] <= compute(case.plan(), 1, sure)[0].worst_s + 2 * discovery.TICK_S
    assert run["seconds"]["max"] > case.burst_s
    assert 0 < run["first_find_s"] < run["seconds"]["mean"]


def test_what_is_never_seen_is_never_found() -> None:
    """And is counted as such, by its place."""
    run = discovery.measure(discovery.CASES[1], [NEVER, ALWAYS], 4, 1.0, 1)
    assert run["not_found"] == {"made 1000 m": 2}
    assert not run["kept"]


def test_what_was_there_before_is_not_the_plume() -> None:
    """A roof before which the smoke rises is found with and without it and is no find of it; nor is anything before
    there is smoke."""
    film = made([(*ROOF, 0.9)], before=[(*ROOF, 0.9)])
    assert film.steady_s is None
    assert not film.plumes(ROOF, 5)
    assert film.plumes(BOX, 5)
    assert not film.plumes(BOX, -5)


def test_a_box_that_grew_to_hold_the_smoke_is_the_plumes() -> None:
    """A hill beside it was found before, without smoke; the find that now holds both shows it."""
    film = made([], before=[(*HILL, 0.9)])
    assert film.plumes((BOX[0], BOX[1], HILL[2], HILL[3]), 5)
    assert not film.plumes(HILL, 5)
    half = (0.42, BOX[1], HILL[2], HILL[3])
    assert not film.plumes(half, 5), "too little of the smoke"


def test_a_plume_counts_from_when_it_is_seen_steadily() -> None:
    """Seen from the seventh second on: that is where it begins to count."""
    late = replace(ALWAYS, looks=(*[[]] * (BEFORE + 7), *ALWAYS.looks[BEFORE + 7 :]))
    assert late.steady_s == 7
    assert late.since(7).steady_s == 0
    assert late.since(7).seen(0) == ALWAYS.seen(0)
    assert late.since(7).seen(-1) == []


def test_lost_looks_cost_time() -> None:
    """With half of the looks lost the mean grows."""
    whole, half = (discovery.measure(discovery.CASES[0], [ALWAYS], 8, recall, 1) for recall in (1.0, 0.5))
    assert half["seconds"]["mean"] > whole["seconds"]["mean"] + 5


def test_the_recordings_say_whose_they_are() -> None:
    """One model's, by its digest; most of the plumes are seen steadily within a minute, and none before it is lit."""
    recorded, _, digest = plumes.read()
    assert len(digest) == 64
    assert 2 * sum(film.steady_s is not None for film in recorded) > len(recorded)
    assert all(len(film.looks) == BEFORE + plumes.AFTER for film in recorded)
