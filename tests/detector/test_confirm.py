# SPDX-License-Identifier: AGPL-3.0-or-later
"""The temporal stage, in pictures: w, x, X and # are a weak, a faint, a plain and a sure detection, . a clean frame."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from detector.judgement.confirm import Confirmed, Confirmer
from detector.judgement.hits import Box, Hit
from detector.judgement.params import ConfirmParams

START = datetime(2026, 10, 4, 17, 30, tzinfo=UTC)
CONFIDENCE = {"w": 0.08, "x": 0.25, "X": 0.4, "#": 0.7}
PLUME: Box = (0.40, 0.50, 0.44, 0.56)


def seconds(value: float) -> datetime:
    return START + timedelta(seconds=value)


def run(
    picture: str,
    interval: float = 10,
    params: ConfirmParams | None = None,
    box: Callable[[int], Box] = lambda index: PLUME,
) -> list[tuple[int, Confirmed]]:
    """Feed a picture to a confirmer. Returns (frame, sighting)."""
    confirmer = Confirmer((params or ConfirmParams()).for_interval(interval))
    found = []
    for index, mark in enumerate(picture):
        at = seconds(index * interval)
        hits = [Hit(at, box(index), CONFIDENCE[mark])] if mark in CONFIDENCE else []
        found += [(index, sighting) for sighting in confirmer.step(at, hits)]
    return found


def frames(picture: str, interval: float = 10, **more: object) -> list[int]:
    return [index for index, _ in run(picture, interval, **more)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        ("...............", []),
        ("X..............", []),
        ("XX.............", [1]),
        ("XXX..X.X.X.....", [1]),
        ("...XXX.........", [4]),
        ("##.............", [1]),
        ("#.#............", [2]),
        ("#..#...........", [3]),
        ("#...#..........", []),
        ("xx.............", []),
        ("xxx............", []),
        ("xxxxxxxxxxxxxxx", []),
        ("xxX............", [2]),
        ("X.X............", []),
        ("X.X.X..........", [4]),
        ("X....X....X....", []),
        ("X.....X.....X..", []),
        ("XXXXXXXXXXXXXXX", [1]),
        ("wwwwww.........", []),
        ("..xX...........", []),
        ("wwxX...........", [3]),
        ("XXX" + "." * 100 + "XXX", [1, 104]),
    ],
)
@pytest.mark.parametrize("interval", [10.0, 150.0])
def test_what_stays_at_one_place_is_reported_once(picture: str, expected: list[int], interval: float) -> None:
    """Persistence confirms and blinking does not, once for each plume, at any pace."""
    assert frames(picture, interval) == expected


def test_a_flash_is_not_smoke_however_often_it_is_sampled() -> None:
    """Many frames within a second or two are one glimpse, not persistence."""
    assert frames("####..........", interval=0.5) == []
    assert frames("#######.......", interval=0.5) == [4]


def test_a_plume_that_grows_and_leans_is_one_plume() -> None:
    """The foot stays, the head grows and drifts with the wind: one sighting."""

    def grow(index: int) -> Box:
        return (0.40, 0.55 - 0.02 * index, 0.44 + 0.03 * index, 0.56)

    assert frames("XXXXXXXXXXXX", box=grow) == [1]


def test_a_drifting_cloud_is_no_plume() -> None:
    """What moves foot and all is cloud, even when it is seen in every frame."""

    def drift(index: int) -> Box:
        return (0.10 + 0.05 * index, 0.40, 0.17 + 0.05 * index, 0.45)

    assert frames("XXXXXXXXXXXX", box=drift, params=ConfirmParams(reach=1.0)) == []


def test_fog_that_fills_the_frame_needs_more() -> None:
    """What is large when first seen takes long and sure detection; what grows large from small does not."""

    def fog(index: int) -> Box:
        return (0.1, 0.3, 0.9, 0.8)

    def growth(index: int) -> Box:
        return (0.4 - 0.1 * index, 0.5 - 0.1 * index, 0.5 + 0.1 * index, 0.6)

    assert frames("XXXXXXXXXX", box=fog) == []
    assert frames("##########", box=fog) == [4]
    assert frames("XXXXX", box=growth) == [1]


def test_a_first_plume_before_a_hill_that_always_looks_like_smoke_is_found() -> None:
    """A wide find that never moves does not swallow the small one that does; and it is no second fire afterwards."""
    confirmer = Confirmer(ConfirmParams())
    hill: Box = (0.37, 0.31, 0.78, 0.44)
    plume: Box = (0.66, 0.39, 0.69, 0.44)
    found: list[Confirmed] = []
    for index in range(20):
        at = seconds(10 * index)
        small = [Hit(at, plume, 0.3, stir=12)] if index >= 10 else []
        found += confirmer.step(at, [Hit(at, hill, 0.4, stir=1.3), *small])
    [sighting] = found
    assert sighting.hits[-1].box == plume
    assert sighting.earliest == seconds(90)
    assert sighting.latest == seconds(100)
    at = seconds(200)
    assert confirmer.step(at, [Hit(at, (0.60, 0.33, 0.75, 0.44), 0.6, stir=5)]) == []


def test_a_plume_in_front_of_a_fog_bank_is_found() -> None:
    """A small box inside a large one that was there before is a track of its own."""
    confirmer = Confirmer(ConfirmParams())
    bank: Box = (0.0, 0.3, 1.0, 0.8)
    found: list[Confirmed] = []
    for index in range(6):
        at = seconds(10 * index)
        plume = [Hit(at, PLUME, 0.4)] if index >= 3 else []
        found += confirmer.step(at, [Hit(at, bank, 0.3), *plume])
    [sighting] = found
    assert (sighting.at, sighting.hits[-1].box) == (seconds(40), PLUME)


def test_fog_does_not_keep_the_box_busy() -> None:
    """What is large when first seen asks for no burst."""
    confirmer = Confirmer(ConfirmParams())
    confirmer.step(START, [Hit(START, (0.0, 0.3, 1.0, 0.8), 0.6)])
    assert not confirmer.suspicious


def test_two_fires_are_two_sightings() -> None:
    """Smoke at two places in the same frames is reported for each."""
    confirmer = Confirmer(ConfirmParams())
    other: Box = (0.80, 0.50, 0.84, 0.56)
    found: list[Confirmed] = []
    for index in range(3):
        at = seconds(10 * index)
        found += confirmer.step(at, [Hit(at, PLUME, 0.6), Hit(at, other, 0.5)])
    assert sorted(sighting.hits[-1].box for sighting in found) == [PLUME, other]


def test_first_visible_is_an_interval() -> None:
    """T0 lies between the last clean frame and the first positive one, with the whole track kept."""
    [(_, sighting)] = run("..Xx.X....")
    assert sighting.earliest == seconds(10)
    assert sighting.latest == seconds(20)
    assert sighting.at == seconds(50)
    assert [hit.at for hit in sighting.hits] == [seconds(20), seconds(30), seconds(50)]


def test_smoke_from_the_first_frame_has_no_clean_frame() -> None:
    """When the box starts while it burns, the last clean frame is unknown and said to be so."""
    [(_, sighting)] = run("XXX")
    assert sighting.earliest is None


def test_an_old_glimpse_does_not_date_a_new_fire() -> None:
    """A detection that came to nothing a while ago neither confirms nor backdates the next."""
    [(index, sighting)] = run("X.........XXX..")
    assert (index, sighting.earliest, sighting.latest) == (12, seconds(90), seconds(100))


def test_a_long_fire_is_repeated_only_on_request() -> None:
    """With a repeat time the same plume is reported again while it burns."""
    params = ConfirmParams(repeat_after_s=60)
    assert frames("X" * 16, params=params) == [1, 7, 13]


def test_a_clock_that_is_set_back_delays_nothing() -> None:
    """After the box's clock was corrected by an hour, smoke at the same place is found as fast as ever."""
    confirmer = Confirmer(ConfirmParams())
    for index in range(3):
        confirmer.step(seconds(3600 + 10 * index), [Hit(seconds(3600 + 10 * index), PLUME, 0.7)])
    found = [confirmer.step(seconds(10 * index), [Hit(seconds(10 * index), PLUME, 0.7)]) for index in range(2)]
    assert [len(each) for each in found] == [0, 1]


def test_suspicion_asks_for_frames_until_it_is_settled() -> None:
    """One detection asks for a burst; clean frames or a confirmation end it, and it never lasts for ever."""
    confirmer = Confirmer(ConfirmParams())
    states = []
    for index, mark in enumerate("X...##"):
        at = seconds(2 * index)
        confirmer.step(at, [Hit(at, PLUME, CONFIDENCE[mark])] if mark in CONFIDENCE else [])
        states.append(confirmer.suspicious)
    assert states == [True, True, True, False, True, False]


def test_a_doubtful_place_does_not_keep_the_box_in_burst() -> None:
    """Something that is always seen but never confirmed stops asking for frames after a minute."""
    confirmer = Confirmer(ConfirmParams(evidence=100))
    asked = []
    for index in range(60):
        at = seconds(2 * index)
        confirmer.step(at, [Hit(at, PLUME, 0.3)])
        asked.append(confirmer.suspicious)
    assert asked[:30] == [True] * 30
    assert not any(asked[31:])


def stirring(stir: float | None) -> list[int]:
    """Frames that confirm a plain detection whose place changes by `stir`."""
    confirmer = Confirmer(ConfirmParams())
    found = []
    for index in range(6):
        hit = Hit(seconds(10 * index), PLUME, 0.4, stir=stir)
        found += [index for _ in confirmer.step(seconds(10 * index), [hit])]
    return found


def test_what_holds_still_is_no_smoke() -> None:
    """A drop on the glass, a pale wall: seen in every frame, and the picture never changes there."""
    assert stirring(1.6) == []
    assert stirring(5.0) == stirring(None) == [1]


def test_growing_smoke_is_believed_sooner() -> None:
    """The same faint finds confirm when the box grows, and do not when it keeps its size."""

    def grow(index: int) -> Box:
        return (0.40, 0.52 - 0.03 * index, 0.44 + 0.01 * index, 0.56)

    assert frames("wxX", box=grow) == [2]
    assert frames("wxX") == []


def test_what_the_frame_cuts_off_needs_more() -> None:
    """Of fog that comes in from the side neither foot nor size is known."""

    def enter(index: int) -> Box:
        return (0.95 - 0.02 * index, 0.5, 1.0, 0.56)

    assert frames("XXXXXX", box=enter) == []
    assert frames("##....", box=enter) == []
    assert frames("###...", box=enter) == [2]


def test_a_place_that_cried_wolf_is_believed_later() -> None:
    """After glimpses that came to nothing the same finds confirm later, most so at the same place."""
    other: Box = (0.80, 0.50, 0.84, 0.56)
    glimpses = "X.....X.....X....."
    assert frames(glimpses + "XXXX") == [len(glimpses) + 3]
    assert frames(glimpses + "XXXX", box=lambda index: PLUME if index < len(glimpses) else other) == [len(glimpses) + 2]


def test_a_scene_full_of_false_finds_is_believed_later() -> None:
    """Fog that shows itself at one place after the other casts doubt on all of them."""

    def wander(index: int) -> Box:
        return (0.1 * (index % 8), 0.2, 0.1 * (index % 8) + 0.04, 0.26) if index < 60 else PLUME

    assert frames("X.X." * 15 + "XX....", box=wander) == []
    assert frames("X.X." * 15 + "XXXX..", box=wander) == [63]
