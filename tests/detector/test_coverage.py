# SPDX-License-Identifier: AGPL-3.0-or-later
"""The coverage ledger and the camera's health: what was looked at, what was blind, and why."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import cv2
import numpy as np
import pytest

from camera_sim.scene import Scene
from camera_sim.spec import builtin_scenes, load_spec
from detector.cli import main
from detector.config import read_settings
from detector.coverage import Ledger, state_of
from detector.frame import Image
from detector.link.outbox import Outbox
from detector.link.timekeeper import Timekeeper
from detector.vision.scenery import LOOKS, Scenery
from detector.wire import CameraState, CoverageReport
from server.db import Database
from server.queries.coverage import coverage
from tests.detector.make import START, StillClock, sighting
from tests.detector.test_box import SMOKE, Bench, camera, write_settings
from tests.detector.test_publisher import eventually
from tests.detector.test_timekeeper import LinkedClock, engine, sending
from tests.support.brokers import RunningBroker
from tests.support.world import World


class Book:
    """A ledger with its outbox and a clock that stands still until told."""

    def __init__(self, path: Path, clock: StillClock | None = None) -> None:
        self.clock = clock or StillClock()
        self.path = path
        self.outbox = Outbox(path)
        self.keeper = Timekeeper(self.clock)
        self.ledger = Ledger(self.outbox, self.keeper)

    def live(self, seconds: int, state: CameraState, every: int = 1) -> None:
        """So many seconds in one state, a look every ten."""
        for second in range(0, seconds, every):
            looked = state == "ok" and second % 10 == 0
            self.keeper.watch()
            self.ledger.note("tower-1", None, state, int(looked))
            self.ledger.save()
            self.clock.seconds += every

    def reports(self) -> list[CoverageReport]:
        """Those that are ready to be sent."""
        found = [self.outbox.coverage(key) for key in self.outbox.due("coverage", 999)]
        return [each for each in found if each is not None]

    def runs(self) -> list[tuple[str, float]]:
        """State and seconds, over all reports, neighbours of one state put together."""
        whole: list[tuple[str, float]] = []
        for run in [run for report in self.reports() for run in report.runs]:
            seconds = (run.to - run.start).total_seconds()
            if whole and whole[-1][0] == run.state:
                whole[-1] = (run.state, whole[-1][1] + seconds)
            else:
                whole.append((run.state, seconds))
        return whole


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Book]:
    opened = Book(tmp_path / "outbox.sqlite")
    yield opened
    opened.outbox.close()


def test_states_become_runs(book: Book) -> None:
    """Half an hour with a gap of the stream is three runs, in a few reports, with every second accounted for."""
    book.live(900, "ok")
    book.live(300, "stream_down")
    book.live(600, "ok")
    book.ledger.save(ending=True)
    assert book.runs() == [("ok", 899), ("stream_down", 301), ("ok", 599)]
    assert sum(run.looks for report in book.reports() for run in report.runs) == 150
    assert len(book.reports()) <= 4


def test_a_power_cut_loses_a_minute_at_most(book: Book) -> None:
    """What an earlier start left unfinished is sent as far as it was written; the time in between is nobody's."""
    book.live(500, "ok")
    assert book.reports() == []
    book.outbox.close()
    book.clock.seconds += 3600
    again = Book(book.path, book.clock)
    [(state, seconds)] = again.runs()
    assert state == "ok"
    assert 440 <= seconds <= 500
    again.live(120, "dark")
    again.ledger.save(ending=True)
    assert again.runs()[1:] == [("dark", 119)]
    [first, second] = again.reports()
    assert first.runs[-1].to + timedelta(minutes=59) < second.runs[0].start
    again.outbox.close()


def test_who_lists_the_outbox_of_a_running_box_changes_nothing_in_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A report that is still being written is not taken for whole: sent too early, its rest would be none's."""
    file = write_settings(tmp_path, 1, "rtsp://127.0.0.1:1/x")
    book = Book(read_settings(file).outbox_path())
    found = sighting()
    book.outbox.put(found, None, START)
    book.live(300, "ok")
    assert main(["outbox", str(file)]) == 0
    out = capsys.readouterr().out
    assert found.id in out
    assert "1 waiting, 0 refused" in out
    assert book.reports() == []
    book.outbox.close()


def test_time_in_which_the_box_stood_still_is_not_claimed(book: Book) -> None:
    """A pause of half a minute between two samples is no run."""
    book.live(60, "ok")
    book.clock.seconds += 30
    book.live(60, "ok")
    book.ledger.save(ending=True)
    [report] = book.reports()
    assert [(run.to - run.start).total_seconds() for run in report.runs] == [59, 59]


@pytest.mark.parametrize("set_by", [-86_400, -30, 3600])
def test_a_clock_that_is_set_begins_another_report(tmp_path: Path, set_by: int) -> None:
    """Before the server's time is known: nothing is claimed twice, and no report waits for the clock to catch up."""
    clock = LinkedClock()
    book = Book(tmp_path / "outbox.sqlite", clock)
    book.live(100, "ok")
    clock.set_by = set_by
    book.live(700, "ok")
    before, after = book.reports()
    [run] = before.runs
    assert (run.to - run.start).total_seconds() == 99
    assert before.clock.monotonic_s == pytest.approx(1099)
    [run] = after.runs
    assert run.start == START + timedelta(seconds=100 + set_by)
    assert before.clock.scale != after.clock.scale
    book.outbox.close()


def test_a_full_disk_is_waited_out(book: Book, caplog: pytest.LogCaptureFixture) -> None:
    """The ledger goes on in memory, says so once, and is written when the disk takes it."""
    blocker = sqlite3.connect(book.path, isolation_level=None)
    book.outbox._database.execute("PRAGMA busy_timeout = 0")
    blocker.execute("BEGIN IMMEDIATE")
    book.live(700, "ok", every=5)
    blocker.execute("ROLLBACK")
    blocker.close()
    book.live(10, "ok")
    book.ledger.save(ending=True)
    assert sum(seconds for _, seconds in book.runs()) >= 700
    assert caplog.text.count("the coverage ledger waits in memory") == 1


def test_a_week_without_link_is_small(book: Book) -> None:
    """Four cameras for a week, each with a fault an hour, take less than 8 MiB."""
    for number in range(4 * 7 * 144):
        book.ledger.note(f"cam-{number % 4}", None, "ok", 0)
        if number % 4 == 3:
            for state in ("frozen", "ok"):
                book.clock.seconds += 5
                for each in range(4):
                    book.ledger.note(f"cam-{each}", None, state, 1)
            book.clock.seconds += 600
            book.ledger.save(ending=number % 16 == 15)
    assert book.path.stat().st_size < 8 * 1024 * 1024


@pytest.mark.parametrize(
    ("stream", "scenery", "unjudged_s", "counts_as"),
    [
        ("ok", "ok", 12, "ok"),
        ("resized", "ok", 12, "ok"),
        ("frozen", "ok", 12, "frozen"),
        ("ok", "blurred", 12, "blurred"),
        ("ok", "ok", 31, "overloaded"),
        ("frozen", "ok", 31, "overloaded"),
        ("stream_down", "dark", 99, "stream_down"),
    ],
)
def test_what_time_counts_as(
    stream: CameraState, scenery: CameraState, unjudged_s: float, counts_as: CameraState
) -> None:
    """The stream's fault first, then a box that cannot keep up, then what the picture shows."""
    assert state_of(stream, scenery, unjudged_s, 10) == counts_as


def blur(image: Image) -> Image:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), 6), np.uint8)


def cover(image: Image) -> Image:
    return np.asarray(np.random.default_rng(1).integers(110, 118, image.shape), np.uint8)


def turn(image: Image) -> Image:
    return np.roll(image, image.shape[1] // 16, axis=1)


FAULTS: dict[str, Callable[[Image], Image]] = {
    "dark": lambda image: np.asarray(image // 20, np.uint8),
    "covered": cover,
    "blurred": blur,
    "moved": turn,
}


@pytest.fixture(scope="module")
def scenes() -> dict[str, list[Image]]:
    """Simulated views in clear air, haze and dusk, among smoke and look-alikes."""
    wanted = ("quzhou-west", "quzhou-haze", "quzhou-dusk")
    drawn = {name: Scene(load_spec(builtin_scenes()[name])) for name in wanted}
    return {name: [np.asarray(scene.frame(t), np.uint8) for t in range(0, 150, 15)] for name, scene in drawn.items()}


@pytest.mark.parametrize("name", ["quzhou-west", "quzhou-haze", "quzhou-dusk"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_spoilt_picture_is_noticed_after_three_looks_and_forgiven_at_once(
    scenes: dict[str, list[Image]], name: str, fault: str
) -> None:
    """Black, covered, out of focus, turned: each by its own name and with its mend; a good look ends it."""
    scenery = Scenery()
    for image in scenes[name]:
        scenery.look(image)
        assert scenery.state == ("ok", None)
    for _ in range(LOOKS - 1):
        scenery.look(FAULTS[fault](image))
    assert scenery.state[0] == "ok"
    scenery.look(FAULTS[fault](image))
    assert scenery.state[0] == fault
    assert scenery.state[1]
    scenery.look(image)
    assert scenery.state == ("ok", None)


def test_real_cameras_are_not_accused(shared: Path) -> None:
    """Half a day of three real towers, with drifting smoke, changing light and banks of cloud: no fault."""
    folders = [path for path in sorted((shared / "data" / "smoke" / "sequences").iterdir()) if any(path.glob("*.jpg"))]
    for folder in folders[:3]:
        scenery = Scenery()
        for path in sorted(folder.glob("*.jpg"))[::3]:
            image = cv2.imread(str(path))
            assert image is not None
            scenery.look(np.asarray(image, np.uint8))
            assert scenery.state[0] == "ok", path.name


def test_the_box_tells_what_the_picture_shows() -> None:
    """A camera that is looked at is ok; when no look comes for three intervals the box is overloaded."""
    bench = Bench(camera("west"))
    bench.model.sees = [SMOKE]
    bench.run(20)
    watch = bench.watches[0]
    assert watch.status(bench.clock.monotonic()).state == "ok"
    assert watch.looks >= 3
    for _ in range(120):
        bench.clock.seconds += 0.5
        watch.stream.step()
    status = watch.status(bench.clock.monotonic())
    assert status.state == "overloaded"
    assert "too slow" in (status.reason or "")


def test_from_the_ledger_to_the_servers_figure(
    world: World, database: Database, broker: RunningBroker, tmp_path: Path
) -> None:
    """Over a real broker and the real intake: kept until acknowledged, then gone from the box and in the sum."""
    book = Book(tmp_path / "outbox.sqlite")
    book.live(900, "ok")
    book.live(300, "covered")
    book.ledger.save(ending=True)
    with engine(database, broker, tmp_path), sending(broker, book.outbox, Timekeeper(book.clock)):
        eventually(lambda: not book.outbox.due("coverage", 1))
    book.outbox.close()
    with database.read() as session:
        found = {each.camera: each for each in coverage(session, START, START + timedelta(seconds=1200))}
    one = found["tower-1"]
    assert one.looked_s == pytest.approx(900, abs=2)
    assert one.blind_s == pytest.approx({"covered": 299}, abs=2)
    assert one.looks == 90
