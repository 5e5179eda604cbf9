# SPDX-License-Identifier: AGPL-3.0-or-later
"""Training pictures drawn from a dataset's training side into a cache folder, all of one size.

Each is drawn from (seed, number) alone: a source by its share, a crop or a mosaic of four, or a composite.
Small smoke is what matters, so half of the mosaics shrink their pictures, and crops zoom in at most 1.8 times.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray

from detector.train.composite import Box, add_lookalike, add_plume, camera_noise, contact_sheet, label_line
from detector.train.dataset import CLASSES, Description, Picture, pictures

Image = NDArray[np.uint8]
Boxes = list[tuple[Box, int]]
KEPT_SHARE = 0.4  # of a box that a crop must leave for it to stay a label
MOSAIC = 0.25


@dataclass(frozen=True, slots=True)
class Recipe:
    """What to draw from: training pictures by source, with the chance of each source."""

    by_source: dict[str, list[Picture]]
    shares: dict[str, float]
    backdrops: dict[str, float]
    plumes: float
    lookalikes: float


def recipe(description: Description, root: Path) -> Recipe:
    """Only the training side is ever drawn from."""
    by_source: dict[str, list[Picture]] = {}
    for picture in pictures(description, root):
        if picture.split == "train":
            by_source.setdefault(picture.source, []).append(picture)
    sources = [s for s in description.sources if s.name in by_source]
    return Recipe(
        by_source,
        {s.name: s.share for s in sources if s.share},
        {s.name: s.backdrop for s in sources if s.backdrop},
        description.composites.plumes,
        description.composites.lookalikes,
    )


def _pick(shares: dict[str, float], drawn: Recipe, rng: np.random.Generator) -> Picture:
    names = list(shares)
    weights = np.array([shares[name] for name in names])
    chosen = drawn.by_source[str(rng.choice(names, p=weights / weights.sum()))]
    return chosen[int(rng.integers(len(chosen)))]


def _load(picture: Picture) -> tuple[Image, Boxes]:
    image = cv2.imread(str(picture.path))
    if image is None:
        raise ValueError(f"the picture {picture.path} cannot be read: replace or remove it")
    rows, columns = image.shape[:2]
    boxes: Boxes = []
    for label in picture.labels:
        x, y = label.x * columns, label.y * rows
        half_w, half_h = label.width * columns / 2, label.height * rows / 2
        boxes.append(((x - half_w, y - half_h, x + half_w, y + half_h), CLASSES.index(label.name)))
    return np.asarray(image, np.uint8), boxes


def _crop(
    image: Image, boxes: Boxes, size: tuple[int, int], zoom: float, rng: np.random.Generator
) -> tuple[Image, Boxes]:
    """A crop with the shape of `size` (width, height), 1/zoom of the largest that fits, scaled to it."""
    rows, columns = image.shape[:2]
    scale = min(columns / size[0], rows / size[1]) / zoom
    wide, high = size[0] * scale, size[1] * scale
    left, top = rng.uniform(0, columns - wide), rng.uniform(0, rows - high)
    if boxes and rng.random() < 0.8:  # keep one smoke in view
        (x1, y1, x2, y2), _ = boxes[int(rng.integers(len(boxes)))]
        left = float(np.clip(rng.uniform(x2 - wide, x1) if x2 - x1 < wide else left, 0, columns - wide))
        top = float(np.clip(rng.uniform(y2 - high, y1) if y2 - y1 < high else top, 0, rows - high))
    part = image[int(top) : int(top + high), int(left) : int(left + wide)]
    method = cv2.INTER_AREA if scale > 1 else cv2.INTER_LINEAR
    moved = np.asarray(cv2.resize(part, size, interpolation=method), np.uint8)
    kept: Boxes = []
    for (x1, y1, x2, y2), kind in boxes:
        a1, b1 = max(x1, left), max(y1, top)
        a2, b2 = min(x2, left + wide), min(y2, top + high)
        if a2 > a1 and b2 > b1 and (a2 - a1) * (b2 - b1) >= KEPT_SHARE * (x2 - x1) * (y2 - y1):
            box = (a1 - left) / scale, (b1 - top) / scale, (a2 - left) / scale, (b2 - top) / scale
            kept.append((box, kind))
    return moved, kept


def _mosaic(parts: Sequence[tuple[Image, Boxes]], size: tuple[int, int]) -> tuple[Image, Boxes]:
    """Four pictures of `size` at half scale: small smoke, four scenes for the price of one."""
    wide, high = size[0] // 2, size[1] // 2
    canvas = np.zeros((size[1], size[0], 3), np.uint8)
    boxes: Boxes = []
    for number, (image, found) in enumerate(parts):
        left, top = wide * (number % 2), high * (number // 2)
        canvas[top : top + high, left : left + wide] = cv2.resize(image, (wide, high), interpolation=cv2.INTER_AREA)
        boxes += [((x1 / 2 + left, y1 / 2 + top, x2 / 2 + left, y2 / 2 + top), k) for (x1, y1, x2, y2), k in found]
    return canvas, boxes


def _real(drawn: Recipe, size: tuple[int, int], rng: np.random.Generator) -> tuple[Image, Boxes]:
    image, boxes = _load(_pick(drawn.shares, drawn, rng))
    zoom = 1.0 if rng.random() < 0.4 else float(np.exp(rng.uniform(0, np.log(1.8))))
    return _crop(image, boxes, size, zoom, rng)


def _composed(drawn: Recipe, size: tuple[int, int], plume: bool, rng: np.random.Generator) -> tuple[Image, Boxes]:
    image, boxes = _load(_pick(drawn.backdrops, drawn, rng))
    image, boxes = _crop(image, boxes, size, float(rng.uniform(1, 1.5)), rng)
    if not plume or rng.random() < 0.2:
        image, _ = add_lookalike(image, rng)
    for _ in range(1 + int(rng.random() < 0.3) if plume else 0):
        done = add_plume(image, rng, [box for box, _ in boxes])
        if done:
            image = done[0]
            boxes = [*boxes, (done[1], 0)]
    return camera_noise(image, rng), boxes


def draw(drawn: Recipe, size: tuple[int, int], seed: int, number: int) -> tuple[Image, Boxes]:
    """The training picture `number`: `size` is (width, height); boxes in pixels with their class number."""
    rng = np.random.default_rng([seed, number])

    def one() -> tuple[Image, Boxes]:
        total = sum(drawn.shares.values())
        roll = rng.random() * (total + drawn.plumes + drawn.lookalikes)
        if roll < total:
            return _real(drawn, size, rng)
        return _composed(drawn, size, roll < total + drawn.plumes, rng)

    if rng.random() < MOSAIC:
        return _mosaic([one() for _ in range(4)], size)
    return one()


def prepare(
    description: Description, root: Path, cache: Path, count: int, seed: int, size: tuple[int, int] = (640, 480)
) -> Path:
    """Write `count` training pictures and their labels, and the YAML that ultralytics reads; returns its path.

    What is already there is kept, so an interrupted preparation goes on where it stopped. The validation
    side is copied as it is.
    """
    drawn = recipe(description, root)
    for folder in ("images/train", "labels/train", "images/val", "labels/val"):
        (cache / folder).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        target = cache / "images/train" / f"{number:06}.jpg"
        if not target.exists():
            image, boxes = draw(drawn, size, seed, number)
            lines = [label_line(box, (size[1], size[0]), kind) for box, kind in boxes]
            (cache / "labels/train" / f"{number:06}.txt").write_text("".join(line + "\n" for line in lines))
            cv2.imwrite(str(target), image, [cv2.IMWRITE_JPEG_QUALITY, 92])
    for picture in pictures(description, root):
        if picture.split == "validation":
            name = f"{picture.source}-{picture.path.stem}"
            image, boxes = _load(picture)
            shape = (image.shape[0], image.shape[1])
            cv2.imwrite(str(cache / "images/val" / f"{name}.jpg"), image)
            lines = [label_line(box, shape, kind) for box, kind in boxes]
            (cache / "labels/val" / f"{name}.txt").write_text("".join(line + "\n" for line in lines))
    target = cache / "data.yaml"
    facts = {
        "path": str(cache.resolve()),
        "train": "images/train",
        "val": "images/val",
        "names": dict(enumerate(CLASSES)),
    }
    target.write_text(yaml.safe_dump(facts, sort_keys=False), encoding="utf-8")
    return target


def sheet(description: Description, root: Path, count: int, seed: int) -> Image:
    """The first `count` training pictures with their boxes, to be looked at."""
    drawn = recipe(description, root)
    shown = []
    for number in range(count):
        image, boxes = draw(drawn, (640, 480), seed, number)
        shown.append((image, [box for box, _ in boxes], str(number)))
    return contact_sheet(shown)
