# SPDX-License-Identifier: AGPL-3.0-or-later
"""`straw1530 evaluate`: measure a model on labelled pictures, by source, camera and size of smoke.

Runs on the edge's own back ends, without torch. A threshold is chosen on the validation side only; the
training side is never measured unless asked for by name; real and composite pictures are reported apart.
A folder's labels are YOLO's, Pascal VOC's or COCO's: beside the pictures, or in labels, Annotations or annotations
beside images or JPEGImages. A data.yaml may name folders or lists of pictures (.txt) for each side.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from detector.errors import ModelError
from detector.layouts import description_in, read_folder, yolo_root
from detector.measure.dataset import SPLITS, DatasetError, Description, Picture, pictures, read_description
from detector.measure.metrics import Box, Proportion, average_precision, choose_threshold, match
from detector.vision.model import BACKENDS, SHIPPED, Model, load_model
from detector.vision.skyline import Horizon
from detector.vision.views import colourless, look_all

STDOUT = Path("-")
FLOOR = 0.02  # detections below this confidence are not kept: they change no figure
RECALL_IOU = 0.1  # smoke has no edge: a box that touches the plume has found it
SIZES = (("under 0.5 %", 0.0, 0.005), ("0.5 to 2 %", 0.005, 0.02), ("over 2 %", 0.02, 1.01))


@dataclass(frozen=True, slots=True)
class Seen:
    """One picture's truth and what a model found in it. Boxes in pixels; `area` is a truth's share of the frame."""

    picture: Picture
    smoke: tuple[Box, ...]
    areas: tuple[float, ...]
    found: tuple[tuple[Box, float], ...]  # smoke only
    loudest: float  # highest confidence of any class

    @property
    def clean(self) -> bool:
        """Nothing burns in it."""
        return not self.picture.labels


def look(model: Model, chosen: Iterable[Picture], progress: Callable[[int], None], in_grey: bool = False) -> list[Seen]:
    """Run `model` over pictures, or what is left of them without their colour. One that cannot be read is named on
    stderr and left out."""
    result = []
    for number, picture in enumerate(chosen):
        read = cv2.imread(str(picture.path))
        if read is None:
            print(f"\nthe picture {picture.path} cannot be read and is left out", file=sys.stderr)
            continue
        image = np.asarray(read, np.uint8)
        if in_grey:
            image = colourless(image)
        rows, columns = image.shape[:2]
        smoke = [label for label in picture.labels if label.name == "smoke"]
        boxes = tuple(
            (
                (label.x - label.width / 2) * columns,
                (label.y - label.height / 2) * rows,
                (label.x + label.width / 2) * columns,
                (label.y + label.height / 2) * rows,
            )
            for label in smoke
        )
        found = look_all(model, image, Horizon(), FLOOR)
        result.append(
            Seen(
                picture,
                boxes,
                tuple(label.width * label.height for label in smoke),
                tuple((d.box, d.confidence) for d in found if d.label == "smoke"),
                max((d.confidence for d in found), default=0.0),
            )
        )
        progress(number + 1)
    if not result:
        raise DatasetError("none of the pictures can be read: give JPEG or PNG files")
    return result


def figures(seen: Sequence[Seen], threshold: float) -> dict[str, Any]:
    """AP at IoU 0.5 and 0.1, recall and false images at `threshold`, of these pictures."""
    truths = sum(len(s.smoke) for s in seen)
    report: dict[str, Any] = {"pictures": len(seen), "smoke_boxes": truths}
    if truths:
        for overlap in (0.5, 0.1):
            scored = [pair for s in seen for pair in match(s.found, s.smoke, overlap)[0]]
            ap = average_precision(scored, truths)
            report[f"ap{round(overlap * 100)}"] = None if ap is None else round(ap, 4)
        scores = [score for s in seen for score in match(s.found, s.smoke, RECALL_IOU)[1]]
        report["recall"] = Proportion(sum(score >= threshold for score in scores), truths).as_json()
    clean = [s for s in seen if s.clean]
    if clean:
        report["false_images"] = Proportion(sum(s.loudest >= threshold for s in clean), len(clean)).as_json()
    return report


def by_size(seen: Sequence[Seen], threshold: float) -> dict[str, Any]:
    """Recall by the share of the frame that the smoke's box takes."""
    pairs = [
        (area, score) for s in seen for area, score in zip(s.areas, match(s.found, s.smoke, RECALL_IOU)[1], strict=True)
    ]
    report = {}
    for name, low, high in SIZES:
        scores = [score for area, score in pairs if low <= area < high]
        report[name] = Proportion(sum(score >= threshold for score in scores), len(scores)).as_json()
    return report


def _grouped(seen: Sequence[Seen], key: Callable[[Seen], str]) -> dict[str, list[Seen]]:
    groups: dict[str, list[Seen]] = {}
    for one in seen:
        groups.setdefault(key(one), []).append(one)
    return dict(sorted(groups.items()))


def report(seen: Sequence[Seen], threshold: float, cameras: frozenset[str]) -> dict[str, Any]:
    """The whole report, real and composite apart; `cameras` names the sources that are split by camera."""
    result: dict[str, Any] = {"threshold": threshold, "recall_iou": RECALL_IOU}
    for kind, part in _grouped(seen, lambda s: s.picture.kind).items():
        by_camera = [s for s in part if s.picture.source in cameras]
        result[kind] = {
            "all": figures(part, threshold),
            "by_source": {n: figures(p, threshold) for n, p in _grouped(part, lambda s: s.picture.source).items()},
            "by_camera": {
                name: figures(group, threshold)
                for name, group in _grouped(by_camera, lambda s: f"{s.picture.source} {s.picture.group}").items()
            },
            "by_size": by_size(part, threshold),
        }
    return result


def threshold_from(seen: Sequence[Seen], limit: float) -> float:
    """The operating threshold that keeps false images at `limit`; every picture must be of the validation side."""
    if any(s.picture.split != "validation" for s in seen):
        raise DatasetError("a threshold is chosen on the validation side only: ask for --split validation")
    clean = _grouped([s for s in seen if s.clean], lambda s: s.picture.source)
    return choose_threshold({name: [s.loudest for s in group] for name, group in clean.items()}, limit)


def _percent(share: dict[str, Any] | None) -> str:
    if share is None or share["value"] is None:
        return "–"
    low, high = share["ci95"]
    counts = f"{share['hits']}/{share['n']}"
    return f"{100 * share['value']:5.1f} % ({100 * low:.0f}–{100 * high:.0f}) {counts:>9}"


def table(result: dict[str, Any], title: str) -> str:
    """The report as lines a person reads."""
    lines = [f"{title}   threshold {result['threshold']:.2f}, a find overlaps its smoke by {RECALL_IOU}"]
    for kind in ("real", "composite"):
        if kind not in result:
            continue
        part = result[kind]
        lines += ["", f"{kind + ' pictures':<22}   AP50  AP10  {'recall (95 %)':<26}  false images (95 %)"]
        rows = {"all": part["all"], **part["by_source"], **part["by_camera"]}
        for name, row in rows.items():
            aps = "  ".join(f"{row[k]:.2f}" if row.get(k) is not None else "   –" for k in ("ap50", "ap10"))
            recall, false = _percent(row.get("recall")), _percent(row.get("false_images"))
            lines.append(f"  {name:<20}   {aps}  {recall:<26}  {false}")
        lines += [f"  smoke {name:<14}               {_percent(row)}" for name, row in part["by_size"].items()]
    return "\n".join(lines)


def _description(path: Path, root: Path | None, split: bool) -> tuple[Description, Path]:
    """A description with its root, or pictures as they lie in a folder, split as for training when asked for."""
    path = description_in(path)
    folder = path if path.is_dir() else yolo_root(path)
    if folder is None:
        return read_description(path), root or path.parent
    return read_folder(folder, None if path.is_dir() else path, split=split), folder


def _tell_unlabelled(description: Description, chosen: Sequence[Picture]) -> None:
    """A source that should have labels and has none may be one whose labels lie elsewhere."""
    bare = {picture.source for picture in chosen} - {picture.source for picture in chosen if picture.labels}
    for source in description.sources:
        if source.name in bare and source.labels is not None:
            told = f"source {source.name} has no labels: each of its pictures counts as one without smoke"
            print(told, file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="straw1530 evaluate", description=__doc__)
    parser.add_argument("dataset", type=Path, help="a dataset description (YAML), a YOLO data.yaml, or a folder")
    parser.add_argument("--root", type=Path, help="folder that the description's paths start from")
    parser.add_argument("--split", choices=SPLITS, help="the side to measure; default: test, and all of a folder")
    parser.add_argument("--model", type=Path, default=SHIPPED)
    parser.add_argument("--baseline", type=Path, help="another model, measured on the same pictures")
    parser.add_argument("--backend", choices=BACKENDS, default="auto")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--colourless", action="store_true", help="take the colour away, as infrared by night does")
    parser.add_argument("--confidence", type=float, help="operating threshold; default: the model card's")
    parser.add_argument(
        "--choose",
        type=float,
        metavar="LIMIT",
        help="choose the threshold for this share of false images; validation only",
    )
    parser.add_argument(
        "--json",
        type=Path,
        nargs="?",
        const=STDOUT,
        metavar="FILE",
        help="write the figures here too; without FILE print them, and the tables on stderr",
    )
    return parser


def _progress(total: int) -> Callable[[int], None]:
    def show(done: int) -> None:
        if done == total or done % (10 if sys.stderr.isatty() else 200) == 0:
            again = "\r" if sys.stderr.isatty() else ""
            print(f"{again}{done}/{total} pictures", end="" if again and done < total else "\n", file=sys.stderr)

    return show


def measure(
    path: Path, chosen: Sequence[Picture], options: argparse.Namespace, cameras: frozenset[str]
) -> dict[str, Any]:
    """One model's report over `chosen`."""
    model = load_model(path, options.backend, threads=options.threads)
    seen = look(model, chosen, _progress(len(chosen)), options.colourless)
    threshold = options.confidence or model.card.confidence
    if options.choose is not None:
        threshold = threshold_from(seen, options.choose)
    facts = {
        "model": model.card.name,
        "version": model.card.version,
        "sha256": model.card.sha256,
        "backend": model.backend,
    }
    return {**facts, **report(seen, threshold, cameras)}


def main(argv: Sequence[str]) -> int:
    """Print the tables and write the JSON; 1 with a sentence on stderr for bad input."""
    parser = _parser()
    options = parser.parse_args(argv)
    if options.confidence is not None and not 0 < options.confidence < 1:
        parser.error("--confidence must lie between 0 and 1")
    if options.choose is not None and not 0 < options.choose < 1:
        parser.error("--choose is a share of the pictures, between 0 and 1")
    tables = sys.stderr if options.json == STDOUT else sys.stdout
    try:
        if options.json and not options.json.parent.is_dir():
            raise DatasetError(f"the folder of {options.json} does not exist: make it, or name another file")
        description, root = _description(options.dataset, options.root, options.split is not None)
        split = options.split or "test"
        chosen = [p for p in pictures(description, root) if p.split == split]
        if not chosen:
            raise DatasetError(f"{options.dataset} has no pictures on its {split} side")
        _tell_unlabelled(description, chosen)
        cameras = frozenset(s.name for s in description.sources if s.group is not None and s.group.table)
        result: dict[str, Any] = {"dataset": description.name, "split": split, "colourless": options.colourless}
        for role, path in (("model", options.model), ("baseline", options.baseline)):
            if path is not None:
                result[role] = measure(path, chosen, options, cameras)
                print(table(result[role], f"{role} {path.name} {result[role]['version']}") + "\n", file=tables)
        written = json.dumps(result, indent=1, ensure_ascii=False)
        if options.json == STDOUT:
            print(written)
        elif options.json:
            options.json.write_text(written + "\n", encoding="utf-8")
    except (DatasetError, ModelError, ValueError, OSError) as error:
        print(f"straw1530 evaluate: {error}", file=sys.stderr)
        return 1
    return 0
