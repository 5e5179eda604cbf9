# SPDX-License-Identifier: AGPL-3.0-or-later
"""``straw1530 bench outbox``: an edge box killed -9 at random moments while it sends, against a real broker and the
real intake, and 500 alarms that drain after 48 hours without link."""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import random
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from sqlalchemy import func, select

from benchmarks import clockwork, figures
from benchmarks.city import mosquitto
from detector.clock import SystemClock
from detector.link.outbox import Outbox
from detector.link.publisher import Broker, Publisher
from detector.link.timekeeper import Timekeeper
from detector.wire import (
    CoverageReport,
    CoverageRun,
    Interval,
    ModelName,
    Onset,
    OnsetPicture,
    PictureAnnounced,
    Sighting,
    Size,
    View,
    as_text,
)
from server.db import Database, DatabaseClock
from server.domain.policy import Policy
from server.engine.broker import BrokerLink
from server.engine.intake import Intake
from server.models import Camera, Division, EdgeBox, JournalEntry, Picture
from server.models import CoverageRun as StoredRun
from server.models import Onset as StoredOnset
from server.models import Sighting as StoredSighting
from server.services import policies
from server.settings import Broker as BrokerUser

EDGE, CAMERAS = "edge-1", ("tower-1", "tower-2", "tower-3", "tower-4")
BOX = (0.41, 0.52, 0.44, 0.57)
PASSWORDS = {"engine": "password-of-engine", EDGE: f"password-of-{EDGE}"}
Address = tuple[str, int]
_FORK = multiprocessing.get_context("forkserver")
_FORK.set_forkserver_preload(["benchmarks.outbox"])


def register(opened: Database) -> None:
    """A county with one edge box and its cameras."""
    with opened.write() as session:
        session.add(Division(code="330800", prefix="3308", name="City", level="city"))
        session.flush()
        session.add(Division(code="330802", prefix="330802", name="County", level="county", parent_code="330800"))
        session.add(EdgeBox(id=EDGE, name=EDGE))
        session.flush()
        place = {"lat": 28.96, "lon": 118.8, "height_m": 40, "pan": 90, "tilt": -2, "hfov": 40}
        session.add_all(Camera(id=name, edge_id=EDGE, county_code="330802", name=name, **place) for name in CAMERAS)
        policies.publish(session, None, Policy(), datetime.now(UTC))


def a_sighting(at: datetime, bearing: float, jpeg: bytes) -> Sighting:
    """Smoke confirmed at a moment."""
    return Sighting(
        id=str(uuid.uuid4()),
        edge=EDGE,
        camera=CAMERAS[0],
        preset=None,
        t0=Interval(earliest=at - timedelta(seconds=20), latest=at - timedelta(seconds=10)),
        t1=at,
        sent_at=at,
        label="smoke",
        confidence=0.8,
        box=BOX,
        frame=Size(width=1920, height=1080),
        view=View(pan=bearing, tilt=-2.0, hfov=40.0),
        track=(),
        model=ModelName(name="bench", sha256="0" * 64),
        picture=PictureAnnounced(sha256=hashlib.sha256(jpeg).hexdigest(), bytes=len(jpeg)),
    )


def an_onset(sighting: Sighting, clean: bytes, first: bytes, clock: Timekeeper) -> tuple[Onset, dict[str, bytes]]:
    """When its smoke first showed, with two pictures."""
    key = str(uuid.uuid4())
    at = sighting.t0.latest
    frames = [OnsetPicture(at=at, sha256=hashlib.sha256(jpeg).hexdigest(), bytes=len(jpeg)) for jpeg in (clean, first)]
    onset = Onset(
        id=key,
        sighting=sighting.id,
        t0=Interval(earliest=at, latest=at),
        clock=clock.stamp(at),
        frames=9,
        box=BOX,
        frame=sighting.frame,
        clean=frames[0],
        first=frames[1],
    )
    return onset, {f"{key}.clean": clean, f"{key}.first": first}


def a_report(camera: str, start: datetime, seconds: float, clock: Timekeeper) -> CoverageReport:
    """A camera was looked at for so long."""
    run = CoverageRun(state="ok", start=start, to=start + timedelta(seconds=seconds), looks=int(seconds / 5))
    return CoverageReport(id=str(uuid.uuid4()), camera=camera, preset=None, clock=clock.stamp(run.to), runs=(run,))


def a_picture(chance: np.random.Generator, width: int, height: int) -> bytes:
    """A JPEG like no other."""
    small = chance.integers(0, 256, (36, 64, 3), np.uint8)
    return cv2.imencode(".jpg", cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC))[1].tobytes()


@contextmanager
def sender(folder: Path, broker: Address) -> Iterator[tuple[Outbox, Publisher, Timekeeper]]:
    """The box's outbox and its sender, running."""
    clock = Timekeeper(SystemClock())
    outbox = Outbox(folder / "outbox.sqlite")
    publisher = Publisher(EDGE, Broker(*broker, EDGE, PASSWORDS[EDGE]), outbox, clock)
    stop = threading.Event()
    thread = threading.Thread(target=publisher.run, args=(stop,), daemon=True)
    publisher.start()
    thread.start()
    try:
        yield outbox, publisher, clock
    finally:
        stop.set()
        publisher.wake()
        thread.join(10)
        publisher.stop()
        outbox.close()


def box(folder: Path, broker: Address, seed: int, pause_s: float) -> None:
    """Find smoke every now and then and send it, until killed. What was accepted is noted after `put` returned."""
    chance, noise = random.Random(seed), np.random.default_rng(seed)
    with sender(folder, broker) as (outbox, publisher, clock), (folder / "accepted").open("a", buffering=1) as notes:
        while True:
            jpegs = [a_picture(noise, 320, 180) for _ in range(3)]
            now = clock.now()
            sighting = a_sighting(now, chance.uniform(0, 360), jpegs[0])
            outbox.put(sighting, jpegs[0], now)
            notes.write(f"sighting {sighting.id} {sighting.picture.sha256 if sighting.picture else ''}\n")
            onset, pictures = an_onset(sighting, jpegs[1], jpegs[2], clock)
            outbox.put_onset(onset, pictures, now)
            notes.write(f"onset {onset.id} {' '.join(each.sha256 for each in (onset.clean, onset.first) if each)}\n")
            report = a_report(chance.choice(CAMERAS), now, 1, clock)
            outbox.put_coverage(report, now, whole=True)
            notes.write(f"coverage {report.id}\n")
            publisher.wake()
            end = time.monotonic() + chance.expovariate(1 / pause_s)
            while time.monotonic() < end:
                if publisher.connected:
                    (folder / "connected").touch()
                time.sleep(min(0.02, pause_s))


@contextmanager
def intake(opened: Database, broker: Address, folder: Path) -> Iterator[Counter[str]]:
    """The engine's intake on the broker; counts the messages of each kind that reach it."""
    stop, counts = threading.Event(), Counter[str]()
    link = BrokerLink(BrokerUser(*broker, "engine", PASSWORDS["engine"]), "engine-bench", stop)
    desk = Intake(opened, DatabaseClock(), folder / "evidence", link.publish)

    def handle(topic: str, payload: bytes) -> None:
        counts[topic.split("/")[4]] += 1
        desk.handle(topic, payload)

    link.start(handle)
    try:
        yield counts
    finally:
        stop.set()
        link.close()


def killed(opened: Database, broker: Address, folder: Path, *, kills: int, every_s: float, seed: int) -> dict[str, Any]:
    """Kill the box so often, let the last one send all, and count. `every_s`: the mean time from start to kill."""
    chance = random.Random(seed)
    began, while_connected = time.monotonic(), 0
    (folder / "accepted").touch()
    with intake(opened, broker, folder) as counts:
        for number in range(kills):
            (folder / "connected").unlink(missing_ok=True)
            running = _FORK.Process(target=box, args=(folder, broker, seed + number, every_s / 4), daemon=True)
            running.start()
            time.sleep(chance.uniform(0, 2 * every_s))
            while_connected += (folder / "connected").exists()
            _kill(running)
        took = time.monotonic() - began
        with sender(folder, broker) as (outbox, _, _):
            _until(lambda: not outbox.listing(), 120 + kills)
        left = _left(folder)
    return {
        "kills": kills,
        "kills_while_connected": while_connected,
        "took_s": round(took, 1),
        "received": dict(counts),
        "left_in_outbox": left,
        **count(opened, folder),
    }


def _kill(process: BaseProcess) -> None:
    process.kill()
    process.join()


def _left(folder: Path) -> int:
    outbox = Outbox(folder / "outbox.sqlite")
    left = len(outbox.listing())
    outbox.close()
    return left


def _until(done: Callable[[], bool], timeout_s: float) -> None:
    end = time.monotonic() + timeout_s
    while not done() and time.monotonic() < end:
        time.sleep(0.1)


def count(opened: Database, folder: Path) -> dict[str, Any]:
    """What was accepted on the box against what is in the record: lost and doubled must be 0."""
    lines = [line.split() for line in (folder / "accepted").read_text().splitlines()]
    accepted = {kind: {line[1] for line in lines if line[0] == kind} for kind in ("sighting", "onset", "coverage")}
    accepted["picture"] = {sha256 for line in lines for sha256 in line[2:]}
    with opened.read() as session:
        stored = {
            "sighting": Counter(session.scalars(select(StoredSighting.id))),
            "onset": Counter(session.scalars(select(StoredOnset.id))),
            "coverage": Counter(session.scalars(select(StoredRun.report_id))),
            "picture": Counter(session.scalars(select(Picture.sha256))),
        }
        journal = Counter(
            (row.event, row.data.get("sighting"))
            for row in session.scalars(
                select(JournalEntry).where(JournalEntry.event.in_(["open", "sighting", "onset"]))
            )
        )
    told = Counter(sighting for event, sighting in journal.elements() if event != "onset")
    return {
        "accepted": {kind: len(keys) for kind, keys in accepted.items()},
        "lost": sum(len(keys - stored[kind].keys()) for kind, keys in accepted.items()),
        "doubled": sum(times > 1 for each in stored.values() for times in each.values())
        + sum(times > 1 for times in (*told.values(), *journal.values())),
        "lines_missing": sum(key not in told for key in stored["sighting"]),
    }


def outage(opened: Database, broker: Address, folder: Path, *, alarms: int, hours: float) -> dict[str, Any]:
    """So many alarms and the coverage of so many hours wait; the link comes back. Seconds until the record has them."""
    clock, noise, chance = Timekeeper(SystemClock()), np.random.default_rng(1), random.Random(1)
    outbox = Outbox(folder / "outbox.sqlite")
    end = clock.now()
    start = end - timedelta(hours=hours)
    wanted, size = [], 0
    for number in range(alarms):
        jpeg = a_picture(noise, 1920, 1080)
        at = start + (end - start) * number / alarms
        sighting = a_sighting(at, chance.uniform(0, 360), jpeg)
        outbox.put(sighting, jpeg, at)
        wanted.append(sighting.id)
        size += len(jpeg)
    reports = 0
    for tenth in range(int(hours * 6)):
        for camera in CAMERAS:
            at = start + timedelta(minutes=10 * tenth)
            outbox.put_coverage(a_report(camera, at, 600, clock), at, whole=True)
            reports += 1
    waiting = len(outbox.listing())
    outbox.close()
    with intake(opened, broker, folder):
        began = time.monotonic()
        with sender(folder, broker) as (outbox, _, _):
            _until(lambda: not outbox.due("sighting", 1), 300)
            alarms_s = time.monotonic() - began
            _until(lambda: not outbox.listing(), 300)
            all_s = time.monotonic() - began
            left = len(outbox.listing())
    with opened.read() as session:
        order = select(StoredSighting.id).order_by(StoredSighting.received_at, StoredSighting.message["t1"].as_string())
        came = list(session.scalars(order))
        late = session.scalar(select(func.count()).where(StoredSighting.late)) or 0
        incidents = session.scalar(select(func.count()).where(JournalEntry.event == "open")) or 0
        pictures = session.scalar(select(func.count()).select_from(Picture)) or 0
    return {
        "alarms": alarms,
        "hours": hours,
        "waiting": waiting,
        "pictures_mb": round(size / 2**20, 1),
        "coverage_reports": reports,
        "alarms_s": round(alarms_s, 2),
        "all_s": round(all_s, 2),
        "left": left,
        "in_order": came == wanted,
        "late": late,
        "incidents": incidents,
        "pictures": pictures,
        "began_at": as_text(start),
    }


def main(argv: Sequence[str]) -> int:
    """1 when anything was lost or doubled, or the outage drained out of order."""
    parser = argparse.ArgumentParser(prog="straw1530 bench outbox", description=__doc__)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument(
        "--every", type=float, default=0.5, help="mean seconds from start to kill (default %(default)s)"
    )
    parser.add_argument("--alarms", type=int, default=500)
    parser.add_argument("--hours", type=float, default=48)
    parser.add_argument("--seed", type=int, default=1530)
    parser.add_argument("--database", choices=["postgresql", "sqlite"], default="sqlite")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args(argv)
    found: dict[str, Any] = {"database": args.database}
    with _place(args.database) as (opened, broker, folder):
        found["outage"] = outage(opened, broker, folder, alarms=args.alarms, hours=args.hours)
    with _place(args.database) as (opened, broker, folder):
        found["killed"] = killed(opened, broker, folder, kills=args.kills, every_s=args.every, seed=args.seed)
    figures.write(args.json, "outbox", found)
    wrong = found["killed"]["lost"] + found["killed"]["doubled"] + found["killed"]["left_in_outbox"]
    return 1 if wrong or not found["outage"]["in_order"] else 0


@contextmanager
def _place(kind: str) -> Iterator[tuple[Database, Address, Path]]:
    """A fresh database, a broker and an empty folder."""
    with tempfile.TemporaryDirectory(prefix="straw1530-bench-") as name, clockwork.database(kind) as opened:
        folder = Path(name)
        register(opened)
        with mosquitto(folder, PASSWORDS) as broker:
            yield opened, broker, folder
