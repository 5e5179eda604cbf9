# SPDX-License-Identifier: AGPL-3.0-or-later
"""`straw1530 replay`: the edge box's own model and confirmation over recorded pictures."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2

from detector.camera.footage import open_footage
from detector.errors import DetectorError
from detector.frame import Frame
from detector.judgement.confirm import Confirmed, Confirmer
from detector.judgement.gaze import Gaze
from detector.judgement.judge import judge
from detector.judgement.params import ConfirmParams
from detector.vision.model import BACKENDS, SHIPPED, Model, load_model

PROGRESS = 100
"""Frames between two lines on stderr."""
LONGEST_S = 86400
"""Between two frames."""
START = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class ReplayedSighting:
    """A confirmed sighting and the frame (from 1) that confirmed it."""

    frame: Frame
    confirmed: Confirmed

    def as_dict(self) -> dict[str, Any]:
        """For JSON: box as fractions, times in seconds from the first frame."""
        hit = self.confirmed.hits[-1]
        return {
            "frame": self.frame.index,
            "seconds": (self.confirmed.at - START).total_seconds(),
            "first_positive_seconds": (self.confirmed.latest - START).total_seconds(),
            "label": hit.label,
            "confidence": round(hit.confidence, 4),
            "box": [round(value, 4) for value in hit.box],
        }


@dataclass(slots=True)
class Tally:
    """The summary line. Figures of time are in milliseconds for a frame, decoding left out."""

    frames: int = 0
    last: int = 0
    frames_with_detection: int = 0
    sightings: int = 0
    false_before_onset: int = 0
    detections_before_onset: int = 0
    first_after_onset: int | None = None
    seconds: float = 0.0

    def as_dict(self, onset: int | None, interval_s: float) -> dict[str, Any]:
        """For JSON; what concerns the onset only where one was given."""
        summary: dict[str, Any] = {
            "frames": self.frames,
            "sightings": self.sightings,
            "frames_with_detection": self.frames_with_detection,
            "ms_per_frame": round(1000 * self.seconds / max(1, self.frames), 1),
        }
        if onset is not None:
            delay = None if self.first_after_onset is None else self.first_after_onset - onset
            summary |= {
                "onset": onset,
                "false_sightings_before_onset": self.false_before_onset,
                "frames_with_detection_before_onset": self.detections_before_onset,
                "delay_frames": delay,
                "delay_seconds": None if delay is None else delay * interval_s,
            }
        return summary


def replay(
    model: Model,
    source: Path,
    interval_s: float,
    confidence: float,
    onset: int | None,
    tally: Tally,
    gated: bool = False,
) -> Iterator[ReplayedSighting]:
    """Confirmed sightings in order; counts into `tally` as it goes. `gated` spends inference
    only where something changed, as the box does. Raises StreamError for a bad source."""
    confirmer = Confirmer(ConfirmParams().for_interval(interval_s))
    gaze = Gaze(gated=gated)
    for frame in open_footage(source, interval_s, START):
        begun = time.perf_counter()
        hits, confirmed = judge(model, confirmer, frame, confidence, gaze=gaze)
        tally.seconds += time.perf_counter() - begun
        before = onset is not None and frame.index < onset
        tally.frames += 1
        tally.last = frame.index
        if tally.frames % PROGRESS == 0:
            sys.stderr.write(f"{tally.frames} frames, {tally.sightings} sightings\n")
        tally.frames_with_detection += bool(hits)
        tally.detections_before_onset += bool(hits) and before
        tally.sightings += len(confirmed)
        tally.false_before_onset += len(confirmed) if before else 0
        if confirmed and not before and tally.first_after_onset is None:
            tally.first_after_onset = frame.index
        for each in confirmed:
            yield ReplayedSighting(frame, each)


def save_picture(folder: Path, sighting: ReplayedSighting) -> None:
    """The confirming frame with its box drawn, as `<frame>.jpg`; a second of the same frame is numbered."""
    image = sighting.frame.image.copy()
    width, height = sighting.frame.size
    x1, y1, x2, y2 = sighting.confirmed.hits[-1].box
    corners = (round(x1 * width), round(y1 * height)), (round(x2 * width), round(y2 * height))
    cv2.rectangle(image, *corners, (0, 0, 255), 2)
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{sighting.frame.index:06d}"
    path = folder / f"{name}.jpg"
    number = 2
    while path.exists():
        path = folder / f"{name}-{number}.jpg"
        number += 1
    cv2.imwrite(str(path), image)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="straw1530 replay",
        description="Run detection and confirmation over a video or a folder of frames.",
    )
    parser.add_argument("source", type=Path, metavar="SOURCE", help="a folder of pictures, or a video file")
    parser.add_argument("--interval", type=float, default=10.0, metavar="S", help="seconds between frames")
    parser.add_argument("--onset", type=int, metavar="N", help="first frame with smoke, from 1")
    parser.add_argument("--model", type=Path, default=SHIPPED, help="model file, its card beside it")
    parser.add_argument("--backend", choices=BACKENDS, default="auto")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--confidence", type=float, metavar="C", help="threshold (default: the card's)")
    parser.add_argument("--gate", action="store_true", help="judge only the views in which something changed")
    parser.add_argument("--json", action="store_true", help="one JSON object a line, the last the summary")
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="keep each confirming frame, its box drawn")
    return parser


def main(argv: Sequence[str]) -> int:
    """Print each sighting and a summary; 2 and one sentence for a source or model that cannot be used."""
    parser = _parser()
    args = parser.parse_args(argv)
    if args.pictures and args.pictures.exists() and not args.pictures.is_dir():
        parser.error(f"--pictures is a folder, and {args.pictures} is none")
    if not 0 < args.interval <= LONGEST_S:
        parser.error(f"--interval must be more than 0 and at most {LONGEST_S} seconds")
    if args.confidence is not None and not 0 < args.confidence < 1:
        parser.error("--confidence must lie between 0 and 1")
    if args.onset is not None and args.onset < 1:
        parser.error("--onset counts frames from 1")
    tally = Tally()
    try:
        model = load_model(args.model, args.backend, args.threads)
        confidence = model.card.confidence if args.confidence is None else args.confidence
        for sighting in replay(model, args.source, args.interval, confidence, args.onset, tally, args.gate):
            if args.pictures:
                save_picture(args.pictures, sighting)
            _say(_sighting_line(sighting, args.json))
    except DetectorError as error:
        sys.stderr.write(f"straw1530 replay: {error}\n")
        return 2
    if args.onset is not None and args.onset > tally.last:
        sys.stderr.write(f"straw1530 replay: --onset {args.onset} lies after the last frame, {tally.last}\n")
        return 2
    _say(_summary_line(tally.as_dict(args.onset, args.interval), args.json))
    return 0


def _sighting_line(sighting: ReplayedSighting, as_json: bool) -> str:
    facts = sighting.as_dict()
    if as_json:
        return json.dumps(facts)
    box = " ".join(f"{value:.3f}" for value in facts["box"])
    return (
        f"frame {facts['frame']:>6}  {facts['seconds']:>9.1f} s  {facts['label']} {facts['confidence']:.2f}  "
        f"box {box}  first seen at {facts['first_positive_seconds']:.1f} s"
    )


def _summary_line(summary: dict[str, Any], as_json: bool) -> str:
    if as_json:
        return json.dumps(summary)
    return "summary: " + ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in summary.items())


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
