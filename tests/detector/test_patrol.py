# SPDX-License-Identifier: AGPL-3.0-or-later
"""The patrol: where it goes, how long it stays, what it believes, and whom it leaves alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from benchmarks.mounts import PRESETS, MountHead
from camera_sim.mount import Pose
from detector.box import Looker
from detector.camera.patrol import MOST_HOLD_S, Patrol
from detector.camera.ptz import Position, PtzStatus
from detector.camera.stream import Stream
from detector.config import CameraSettings
from detector.errors import PtzError, PtzRefused
from detector.judgement.eye import NOTHING_KNOWN, Eye, Thresholds
from detector.link.timekeeper import Timekeeper
from detector.planning.plan import Allowances, compute
from detector.watch import Watch
from detector.wire import Sighting
from tests.detector.make import START, StillClock
from tests.detector.test_box import SMOKE, ScriptedModel, SteadySource
from tests.detector.test_publisher import EDGE

ROUND = {"dwell_s": 4, "slew_s": 1.5, "settle_s": 1, "manual_s": 30}


@dataclass
class FaultyHead(MountHead):
    """A mount that misbehaves as told."""

    clock: StillClock
    change: Callable[[PtzStatus], PtzStatus] = lambda status: status
    silent: bool = False
    refuses: bool = False
    jammed: bool = False
    orders: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(self.clock)

    def presets(self) -> dict[str, Position | None]:
        self._answer()
        return super().presets()

    def go(self, preset: str) -> None:
        self._answer()
        self.orders.append(preset)
        if self.refuses:
            raise PtzRefused("the camera refuses: the motor is switched off")
        if not self.jammed:
            super().go(preset)

    def status(self) -> PtzStatus:
        self._answer()
        return self.change(super().status())

    def _answer(self) -> None:
        if self.silent:
            raise PtzError("the camera's ONVIF does not answer")


def nothing(*_: object) -> None:
    """What is found by looking back is not asked for here."""


class Tower:
    """A camera that goes round three presets, in simulated time; the model sees smoke where it is told to."""

    def __init__(self, **changes: object) -> None:
        self.clock = StillClock()
        self.head = FaultyHead(self.clock)
        self.settings = CameraSettings.model_validate(
            {
                "id": "tower",
                "url": "rtsp://127.0.0.1/320",
                "interval_s": 10,
                "ptz": "http://127.0.0.1",
                "patrol": ROUND | {"presets": [{"name": n, "view": VIEWS[n]} for n in PRESETS]} | changes,
            }
        )
        assert self.settings.patrol is not None
        self.patrol = Patrol(
            "tower", {name: name for name in PRESETS}, self.settings.patrol, lambda: self.head, self.clock
        )
        stream = Stream("tower", self.settings.url, SteadySource, self.clock, 10)
        eye = Eye("tower", None, Thresholds(0.25), NOTHING_KNOWN)
        self.watch = Watch(self.settings, stream, self.clock.monotonic(), eye, self.patrol)
        self.model = ScriptedModel(self.clock)
        self.smoke_at: str | None = None
        self.kept: list[tuple[Sighting, bytes | None]] = []
        self.looker = Looker(
            EDGE, self.model, [self.watch], Timekeeper(self.clock), lambda *found: self.kept.append(found), nothing
        )
        self.stood: list[tuple[str | None, float]] = []
        self._asked_at = 0.0

    def run(self, seconds: float, tick: float = 0.1) -> None:
        """Let time pass, the camera and the box going on with what they do."""
        end = self.clock.seconds + seconds
        while self.clock.seconds < end:
            self.watch.stream.step()
            if self.clock.seconds >= self._asked_at:
                self._asked_at = self.clock.seconds + self.patrol.step()
            smoking = self.smoke_at is not None and self.head.at(self.smoke_at)
            self.model.sees = [SMOKE] if smoking else []
            before = len(self.model.looks)
            while self.looker.step() <= 0:
                pass
            if len(self.model.looks) > before:
                self.stood.append((self.watch.spot.preset, self.clock.seconds))
            self.clock.seconds = round(self.clock.seconds + tick, 3)

    @property
    def states(self) -> dict[str | None, str]:
        return {spot.preset: state for spot, state in self.watch.states(self.clock.monotonic())}


VIEWS = {name: {"pan": pose.pan_deg, "tilt": pose.tilt_deg, "hfov": 32} for name, pose in PRESETS.items()}


def test_it_goes_round_in_order_and_looks_once_a_visit() -> None:
    """Each preset in turn; a look only while it stands; a round takes no longer than the plan says."""
    tower = Tower()
    while tower.watch.preset != "p1" or not all(spot.gaze.settled for spot in tower.watch.spots):
        tower.run(0.1)  # until its views are known it looks more often
    tower.stood.clear()
    tower.run(60)
    names = [name for name, _ in tower.stood]
    assert names == (["p1", "p2", "p3"] * 9)[: len(names)]
    assert len(names) >= 9
    first = [at for name, at in tower.stood if name == "p1"]
    cycle = tower.settings.as_plan().rhythm().cycle_s
    assert max(b - a for a, b in zip(first, first[1:], strict=False)) <= cycle + 0.2
    assert set(tower.states.values()) == {"ok"}


def test_a_suspicion_holds_it_there_and_lets_go_again() -> None:
    """Smoke at the second preset: burst looks on the spot, one sighting with that preset and its angles, then on."""
    tower = Tower()
    tower.run(90)  # what is there before a view is known is no evidence
    known = tower.clock.seconds
    tower.smoke_at = "p2"
    tower.run(90)
    [(sighting, _)] = tower.kept
    assert (sighting.preset, sighting.moving) == ("p2", False)
    assert sighting.view is not None
    assert sighting.view.pan == VIEWS["p2"]["pan"]
    at_p2 = [at for name, at in tower.stood if name == "p2" and at >= known]
    assert at_p2[1] - at_p2[0] < tower.settings.as_plan().rhythm().dwell_s
    assert [name for name, _ in tower.stood][-3:].count("p2") == 1


def test_no_onset_takes_longer_than_the_plan_says() -> None:
    """Plain smoke at one preset, at phases spread over the round: the box, the patrol and a mount of finite speed are
    never slower than the worst case that was planned for a slew of that length."""
    sure = Allowances(capture_s=0, look_s=0, delivery_s=0, confidence=0.7, recall=1, misses=0)
    tower = Tower()
    planned = compute(tower.settings.as_plan(), 1, sure)[0]
    took = []
    for number in range(8):
        tower = Tower()
        onset = planned.cycle_s * (1 + number / 8)
        tower.run(onset)
        tower.smoke_at = "p2"
        while not tower.kept:
            tower.run(0.5)
        took.append((tower.kept[0][0].t1 - START).total_seconds() - onset)
    assert max(took) <= planned.worst_s + 0.3
    assert max(took) > planned.cycle_s / 2


def test_each_preset_remembers_for_itself() -> None:
    """What is seen at one preset is no evidence at another: a lone detection at each is no sighting."""
    tower = Tower(dwell_s=0.5)
    for name in ("p1", "p2", "p3"):
        tower.smoke_at = name
        while not tower.stood or tower.stood[-1][0] != name:
            tower.run(0.1)
        tower.smoke_at = None
        tower.run(0.1)
    assert len({id(spot.confirmer) for spot in tower.watch.spots}) == 3
    tower.run(15)
    assert tower.kept == []


def test_no_suspicion_holds_it_for_ever() -> None:
    """Something new is suspected at each look: after a minute it goes on all the same."""
    assert MOST_HOLD_S == 60
    tower = Tower()
    while tower.watch.preset != "p1":
        tower.run(0.1)
    for _ in range(800):
        tower.run(0.1)
        if tower.patrol.stance is not None:
            tower.patrol.looked(tower.patrol.stance.visit, tower.clock.monotonic(), suspicious=True)
    assert tower.head.orders == ["p1", "p2"]


def test_a_picture_that_is_still_being_judged_keeps_the_camera_there() -> None:
    """A slow model: what it finds in the end holds the camera; what it says of a visit that is over holds no other."""
    tower = Tower()
    while tower.watch.preset != "p1":
        tower.run(0.1)
    visit = tower.patrol.stance.visit  # type: ignore[union-attr]
    tower.patrol.looked(visit, tower.clock.monotonic(), suspicious=False)
    tower.clock.seconds += ROUND["dwell_s"] - 0.1
    tower.patrol.looking(visit)
    tower.clock.seconds += 2
    tower.patrol.step()
    tower.patrol.looked(visit, tower.clock.monotonic(), suspicious=True)
    tower.patrol.step()
    assert tower.head.orders == ["p1"]
    tower.patrol.looked(visit, tower.clock.monotonic(), suspicious=False)
    tower.patrol.step()
    assert tower.head.orders == ["p1", "p2"]
    tower.patrol.looked(visit, tower.clock.monotonic(), suspicious=True)
    assert tower.patrol._visit.first_look is None
    assert not tower.patrol._visit.suspicious


def test_a_hand_on_the_camera_is_left_alone_for_a_while() -> None:
    """Turned elsewhere: no order until it was still for the time set; the gap is on record, the view goes on being
    judged without a direction, and then the round goes on."""
    tower = Tower()
    tower.run(20)
    orders = len(tower.head.orders)
    tower.head.mount.move(Pose(10, -5, 0.5), tower.clock.monotonic())
    tower.run(10)
    assert tower.watch.status(tower.clock.monotonic()).state == "manual"
    assert set(tower.states.values()) == {"manual"}
    tower.head.mount.move(Pose(30, -5, 0.5), tower.clock.monotonic())
    tower.run(5)
    assert tower.stood[-1][0] is None
    tower.run(20)
    assert len(tower.head.orders) == orders
    tower.run(60)
    assert len(tower.head.orders) > orders + 2
    assert set(tower.states.values()) == {"ok"}


def test_smoke_seen_by_hand_is_told_without_a_direction() -> None:
    """It is an alarm like any other, but nothing may be placed by it."""
    tower = Tower()
    tower.run(20)
    tower.head.mount.move(Pose(10, -5, 0.5), tower.clock.monotonic())
    tower.run(2)
    tower.head.at = lambda preset: preset == "by hand"  # type: ignore[method-assign]
    tower.smoke_at = "by hand"
    tower.run(25)
    [(sighting, _)] = tower.kept
    assert (sighting.preset, sighting.view, sighting.moving) == (None, None, True)


def test_a_mount_that_falls_silent_is_named_and_its_picture_still_judged() -> None:
    """Lost, with the reason, for every preset; smoke in the picture is told without a direction; then all is well."""
    tower = Tower()
    while tower.watch.preset != "p2":
        tower.run(0.1)
    tower.run(1.5)
    tower.head.silent = True
    tower.smoke_at = "p2"
    tower.run(20)
    assert set(tower.states.values()) == {"lost"}
    assert "does not answer" in str(tower.watch.status(tower.clock.monotonic()).reason)
    [(sighting, _)] = tower.kept
    assert (sighting.view, sighting.moving) == (None, True)
    tower.head.silent, tower.smoke_at = False, None
    tower.run(90)
    assert set(tower.states.values()) == {"ok"}


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_mount_that_answers_again_is_not_sent_away_from_a_suspicion(elsewhere: bool) -> None:
    """One answer that comes too late costs no burst; a mount that is found elsewhere goes on round."""
    tower = Tower()
    tower.run(90)
    tower.smoke_at = "p2"
    while not tower.watch.confirmer.suspicious:
        tower.run(0.1)
    orders = len(tower.head.orders)
    tower.head.silent = True
    tower.run(0.6)
    assert tower.states["p2"] == "lost"
    if elsewhere:
        tower.head.mount.move(PRESETS["p1"], tower.clock.monotonic())
        tower.clock.seconds += 3
    tower.head.silent = False
    while not tower.kept:
        tower.run(0.1)
    [(sighting, _)] = tower.kept
    assert (sighting.preset, sighting.moving) == ("p2", False)
    assert (len(tower.head.orders) > orders) is elsewhere


def test_attempts_grow_rare_while_it_is_silent() -> None:
    """1, 2, 4 … 30 seconds."""
    tower = Tower()
    tower.head.silent = True
    assert [tower.patrol.step() for _ in range(7)] == [1, 2, 4, 8, 16, 30, 30]


@pytest.mark.parametrize("fault", ["refuses", "jammed"])
def test_a_mount_that_does_not_go_is_named_and_asked_again(fault: str) -> None:
    """The preset where it stands is still looked at and known; the others are lost; it mends itself."""
    tower = Tower()
    while tower.watch.preset != "p2":
        tower.run(0.1)
    setattr(tower.head, fault, True)
    tower.run(100)
    assert tower.states["p3"] == "lost"
    assert len(tower.stood) > 6
    reason = str(tower.watch.status(tower.clock.monotonic()).reason)
    assert "switched off" in reason or "stands elsewhere" in reason
    setattr(tower.head, fault, False)
    tower.run(100)
    assert set(tower.states.values()) == {"ok"}


def silence(status: PtzStatus) -> PtzStatus:
    return PtzStatus(None, None)


def for_ever(status: PtzStatus) -> PtzStatus:
    return PtzStatus(status.position, True)


def no_word(status: PtzStatus) -> PtzStatus:
    return PtzStatus(status.position, None)


@pytest.mark.parametrize(
    ("change", "known"),
    [(silence, False), (for_ever, False), (no_word, True)],
    ids=["says nothing", "never idle", "position only"],
)
def test_what_a_mount_does_not_say_is_not_made_up(change: Callable[[PtzStatus], PtzStatus], known: bool) -> None:
    """It goes round and looks all the same; a direction is told only where position and word agree."""
    tower = Tower()
    tower.head.change = change
    tower.smoke_at = "p2"
    tower.run(120)
    assert {name for name, _ in tower.stood} >= {"p1", "p2", "p3"}
    assert tower.kept
    assert {sighting.moving for sighting, _ in tower.kept} == {not known}


def test_presets_without_a_stated_position_are_learned() -> None:
    """The first time it comes to rest is the preset's position; a hand is noticed by it from then on."""
    tower = Tower()
    tower.head.presets = lambda: dict.fromkeys(PRESETS)  # type: ignore[method-assign]
    tower.smoke_at = "p2"
    tower.run(100)
    assert {sighting.moving for sighting, _ in tower.kept} == {False}
    tower.head.mount.move(Pose(10, -5, 0.5), tower.clock.monotonic())
    tower.run(3)
    assert set(tower.states.values()) == {"manual"}


def test_a_preset_the_camera_does_not_know_is_named() -> None:
    """The others are looked after."""
    tower = Tower()
    tower.patrol._devices = {"p1": "p1", "p2": "nowhere", "p3": "p3"}
    tower.run(150)
    assert {name for name, _ in tower.stood} >= {"p1", "p3"}
    assert "p2" not in {name for name, _ in tower.stood}
    assert tower.states["p2"] in {"lost", "away"}
