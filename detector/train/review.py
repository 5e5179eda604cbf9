# SPDX-License-Identifier: AGPL-3.0-or-later
"""What people decided about sightings becomes training data: a county's own cameras make its model better.

The input is the folder that `straw1530 admin verdicts` writes: pictures and `verdicts.jsonl`, one object a line:

    {"picture": "a.jpg", "camera": "quzhou-west", "verdict": "real", "box": [0.41, 0.52, 0.44, 0.57], "reason": null}

`verdict` is `real` or `false`; `box` is [x1, y1, x2, y2] as fractions of the frame and is needed when real; `label`
is `smoke` (when left out) or `fire`.
"""

from __future__ import annotations

import csv
import shutil
from collections import Counter
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from detector.measure.dataset import CLASSES, DatasetError, Source, read_description, side

# False alarms that do smoke: no straw fire, and no picture to learn from that nothing smokes in.
SMOKE_ALL_THE_SAME = frozenset({"chimney", "cooking", "ritual"})
NAME = "review"
SHARES = {"validation": 0.2, "test": 0.2}
COMPOSITES = {"plumes": 0.3, "lookalikes": 0.1}


class Verdict(BaseModel):
    """One decided sighting."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    picture: str
    camera: str
    verdict: Literal["real", "false"]
    box: tuple[float, float, float, float] | None = None
    reason: str | None = None
    label: Literal["smoke", "fire"] = "smoke"

    @model_validator(mode="after")
    def _has_its_box(self) -> Verdict:
        if Path(self.picture).name != self.picture:
            raise ValueError("picture is a file name without folders")
        if self.verdict == "real":
            if self.box is None:
                raise ValueError("a real smoke needs its box")
            x1, y1, x2, y2 = self.box
            if not (0 <= x1 < x2 <= 1 and 0 <= y1 < y2 <= 1):
                raise ValueError("box is [x1, y1, x2, y2] as fractions of the frame, x1 < x2 and y1 < y2")
        return self


def read_verdicts(folder: Path) -> list[Verdict]:
    """The checked verdicts of `folder`; raises DatasetError naming file and line."""
    path = folder / "verdicts.jsonl"
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: export the verdicts into that folder") from error
    verdicts = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            verdict = Verdict.model_validate_json(line)
        except ValidationError as error:
            raise DatasetError(f"{path} line {number}: {error.errors()[0]['msg']}") from error
        if not (folder / verdict.picture).is_file():
            raise DatasetError(f"{path} line {number}: there is no picture {verdict.picture} in {folder}")
        verdicts.append(verdict)
    return verdicts


def from_review(folder: Path, out: Path) -> Counter[str]:
    """Write `out`/dataset.yaml with images, labels and cameras; returns how many were real, false and left out.

    Several verdicts on one picture are several boxes; a picture with any real smoke is never a clean one. Left out is
    what smoked and was no straw fire: neither smoke to report nor a picture without any. What an earlier review left in
    `out` goes: a verdict may have changed since.
    """
    verdicts = read_verdicts(folder)
    left_out = {v.picture for v in verdicts if v.reason in SMOKE_ALL_THE_SAME}
    counts = Counter("left out" if v.picture in left_out else v.verdict for v in verdicts)
    verdicts = [v for v in verdicts if v.picture not in left_out]
    if not verdicts:
        raise DatasetError(f"{folder / 'verdicts.jsonl'} holds no verdicts to learn from yet")
    _clear(out)
    for name in ("images", "labels"):
        (out / name).mkdir(parents=True)
    cameras: dict[str, str] = {}
    labels: dict[str, list[str]] = {}
    for verdict in verdicts:
        cameras[verdict.picture] = verdict.camera
        lines = labels.setdefault(verdict.picture, [])
        if verdict.box is not None and verdict.verdict == "real":
            x1, y1, x2, y2 = verdict.box
            place = f"{(x1 + x2) / 2:.6f} {(y1 + y2) / 2:.6f} {x2 - x1:.6f} {y2 - y1:.6f}"
            lines.append(f"{CLASSES.index(verdict.label)} {place}\n")
    for picture, found in labels.items():
        shutil.copyfile(folder / picture, out / "images" / picture)
        (out / "labels" / f"{Path(picture).stem}.txt").write_text("".join(found), encoding="utf-8")
    with (out / "cameras.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("image", "camera"), *sorted(cameras.items())])
    facts = {"name": NAME, "sources": [_source(set(cameras.values()))], "composites": COMPOSITES}
    (out / "dataset.yaml").write_text(yaml.safe_dump(facts, sort_keys=False), encoding="utf-8")
    return counts


def _clear(out: Path) -> None:
    """Take away an earlier review's pictures and labels; raises DatasetError where `out` holds anything else."""
    if not out.is_dir() or not any(out.iterdir()):
        return
    record = out / "dataset.yaml"
    if not record.is_file() or read_description(record).name != NAME:
        raise DatasetError(f"{out} holds something else than an earlier review: give an empty folder")
    for name in ("images", "labels"):
        shutil.rmtree(out / name, ignore_errors=True)


def _source(cameras: set[str]) -> dict[str, Any]:
    """The review as a source, split by camera; the first few cameras may all be needed to learn from."""
    source: dict[str, Any] = {"name": NAME, "images": "images", "labels": "labels"}
    source |= {"group": {"table": "cameras.csv"}, "share": 0.5, "backdrop": 0.5}
    split = source | SHARES
    learns = any(side(Source.model_validate(split), camera) == "train" for camera in cameras)
    return split if learns else source
