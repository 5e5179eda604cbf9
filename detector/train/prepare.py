# SPDX-License-Identifier: AGPL-3.0-or-later
"""Training pictures drawn from a dataset's training side into a cache folder, all of one size.

Each is drawn from (seed, number) alone: a source by its share, or a composite; as the runtime would look at it, which
is the whole frame or a piece of the band along the skyline; now and then four of them as a mosaic at half scale.
What a model gets right already teaches it little: with a judge, what has no smoke is the loudest of a few.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray

from detector.measure.dataset import CLASSES, DatasetError, Description, Picture, pictures
from detector.measure.evaluate import RECALL_IOU
from detector.measure.metrics import iou
from detector.train.composite import Box, add_lookalike, add_plume, camera_noise, contact_sheet, label_line
from detector.train.export import LETTERBOX_GREY
from detector.vision.model import Model
from detector.vision.skyline import skyline

Image = NDArray[np.uint8]
Boxes = list[tuple[Box, int]]
Judge = Callable[[Image, Boxes], float]
"""How surely a model cries smoke or fire in a picture outside these boxes, 0..1."""
KEPT_SHARE = 0.3  # of a box that a crop must leave for it to stay a label ...
FILLING = 0.15  # ... unless what is left of it fills this share of the crop: smoke all over is no picture without smoke
MOSAIC = 0.12
BAND = 0.45  # of the pictures are a piece of the band along the skyline, half as wide as the frame
WHOLE = 0.3  # the whole frame with its padding; the rest are crops in between
JITTER = 0.12  # of the frame's height, by which the band may miss the skyline
LOUDEST_OF = 4
FAINTEST_FIND = 0.02  # below it a find teaches nothing


@dataclass(frozen=True, slots=True)
class Recipe:
    """What to draw from: training pictures by source, with the chance of each source."""

    by_source: dict[str, list[Picture]]
    shares: dict[str, float]
    backdrops: dict[str, float]
    plumes: float
    lookalikes: float


def recipe(description: Description, root: Path) -> Recipe:
    """Only the training side is ever drawn from. What is no picture is named on stderr and left out.

    Raises DatasetError when there is nothing to draw.
    """
    by_source: dict[str, list[Picture]] = {}
    for picture in pictures(description, root):
        if picture.split != "train":
            continue
        if cv2.haveImageReader(str(picture.path)):
            by_source.setdefault(picture.source, []).append(picture)
        else:
            print(f"the picture {picture.path} cannot be read and is left out", file=sys.stderr)
    sources = [s for s in description.sources if s.name in by_source]
    shares = {s.name: s.share for s in sources if s.share}
    backdrops = {s.name: s.backdrop for s in sources if s.backdrop}
    composites = description.composites
    if not shares and not backdrops:
        raise DatasetError(
            f"dataset {description.name} has no pictures on its training side: add some of other cameras or days, or "
            "leave less for validation and test"
        )
    if not backdrops and (composites.plumes or composites.lookalikes):
        raise DatasetError(f"dataset {description.name} asks for composites: give a source of it a `backdrop`")
    return Recipe(by_source, shares, backdrops, composites.plumes, composites.lookalikes)


def judged_by(model: Model) -> Judge:
    """The surest find of a model where nothing is labelled."""

    def cries(image: Image, boxes: Boxes) -> float:
        finds = model.detect(image, FAINTEST_FIND)
        stray = [
            each.confidence for each in finds if not (iou(each.box, [box for box, _ in boxes]) >= RECALL_IOU).any()
        ]
        return max(stray, default=0.0)

    return cries


def _source(shares: dict[str, float], drawn: Recipe, rng: np.random.Generator) -> list[Picture]:
    names = list(shares)
    weights = np.array([shares[name] for name in names])
    return drawn.by_source[str(rng.choice(names, p=weights / weights.sum()))]


def _pick(source: Sequence[Picture], rng: np.random.Generator) -> Picture:
    return source[int(rng.integers(len(source)))]


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


def _cut(image: Image, boxes: Boxes, window: tuple[float, float, float, float]) -> tuple[Image, Boxes]:
    """The part of a picture in `window` (left, top, width, height), with the boxes of which enough is in it."""
    left, top, wide, high = window
    part = image[int(top) : int(top + high), int(left) : int(left + wide)]
    kept: Boxes = []
    for (x1, y1, x2, y2), kind in boxes:
        a1, b1 = max(x1, left), max(y1, top)
        a2, b2 = min(x2, left + wide), min(y2, top + high)
        seen = max(a2 - a1, 0) * max(b2 - b1, 0)
        if seen and seen >= min(KEPT_SHARE * (x2 - x1) * (y2 - y1), FILLING * wide * high):
            kept.append(((a1 - left, b1 - top, a2 - left, b2 - top), kind))
    return part, kept


def _fit(image: Image, boxes: Boxes, size: tuple[int, int]) -> tuple[Image, Boxes]:
    """Scaled into `size` (width, height) as the runtime does it: its shape kept, the rest grey."""
    rows, columns = image.shape[:2]
    scale = min(size[0] / columns, size[1] / rows)
    wide, high = min(round(columns * scale), size[0]), min(round(rows * scale), size[1])
    left, top = (size[0] - wide) // 2, (size[1] - high) // 2
    canvas = np.full((size[1], size[0], 3), LETTERBOX_GREY, np.uint8)
    canvas[top : top + high, left : left + wide] = cv2.resize(image, (wide, high), interpolation=cv2.INTER_LINEAR)
    moved: Boxes = [
        ((x1 * scale + left, y1 * scale + top, x2 * scale + left, y2 * scale + top), kind)
        for (x1, y1, x2, y2), kind in boxes
    ]
    return canvas, moved


def _holding(low: float, high: float, start: float, length: float, limit: float) -> float:
    """`start`, moved so that `length` from it holds `low` to `high` where it is long enough, within 0..`limit`."""
    if high - low < length:
        start = float(np.clip(start, high - length, low))
    return float(np.clip(start, 0, limit - length))


def _window(
    image: Image, boxes: Boxes, size: tuple[int, int], rng: np.random.Generator
) -> tuple[tuple[float, float, float, float], float]:
    """Where to look in a picture, as the runtime might: (left, top, width, height), and how many times nearer."""
    rows, columns = image.shape[:2]
    roll = rng.random()
    if roll < WHOLE:
        return (0, 0, columns, rows), 1.0
    band = roll < WHOLE + BAND
    zoom = float(np.exp(rng.uniform(np.log(1.8), np.log(2.3)) if band else rng.uniform(0, np.log(1.8))))
    scale = min(columns / size[0], rows / size[1]) / zoom
    wide, high = size[0] * scale, size[1] * scale
    left, top = rng.uniform(0, columns - wide), rng.uniform(0, rows - high)
    if band:
        line = float(np.median(skyline(image)[int(left) : int(left + wide)]))
        top = float(np.clip(line + rng.uniform(-JITTER, JITTER) * rows - high / 2, 0, rows - high))
    if boxes and rng.random() < 0.85:  # keep one smoke in view
        (x1, y1, x2, y2), _ = boxes[int(rng.integers(len(boxes)))]
        left, top = _holding(x1, x2, left, wide, columns), _holding(y1, y2, top, high, rows)
    return (left, top, wide, high), zoom


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


def _real(picture: Picture, size: tuple[int, int], rng: np.random.Generator) -> tuple[Image, Boxes]:
    image, boxes = _load(picture)
    return _fit(*_cut(image, boxes, _window(image, boxes, size, rng)[0]), size)


def _composed(drawn: Recipe, size: tuple[int, int], plume: bool, rng: np.random.Generator) -> tuple[Image, Boxes]:
    """Composed at the resolution the camera has in that part of its frame, then scaled: the band is often magnified."""
    image, boxes = _load(_pick(_source(drawn.backdrops, drawn, rng), rng))
    window, zoom = _window(image, boxes, size, rng)
    image, boxes = _cut(image, boxes, window)
    if image.shape[1] > size[0]:
        image, boxes = _fit(image, boxes, (size[0], round(size[0] * image.shape[0] / image.shape[1])))
    if not plume or rng.random() < 0.2:
        image, _ = add_lookalike(image, rng)
    for _ in range(1 + int(rng.random() < 0.3) if plume else 0):
        done = add_plume(image, rng, [box for box, _ in boxes], zoom)
        if done:
            image = done[0]
            boxes = [*boxes, (done[1], 0)]
    return _fit(camera_noise(image, rng), boxes, size)


def draw(
    drawn: Recipe, size: tuple[int, int], seed: int, number: int, judge: Judge | None = None
) -> tuple[Image, Boxes]:
    """The training picture `number`: `size` is (width, height); boxes in pixels with their class number."""
    rng = np.random.default_rng([seed, number])

    def loudest(make: Callable[[], tuple[Image, Boxes]]) -> tuple[Image, Boxes]:
        if judge is None:
            return make()
        return max((make() for _ in range(LOUDEST_OF)), key=lambda made: judge(*made))

    def one() -> tuple[Image, Boxes]:
        total = sum(drawn.shares.values())
        roll = rng.random() * (total + drawn.plumes + drawn.lookalikes)
        if roll >= total + drawn.plumes:
            return loudest(lambda: _composed(drawn, size, False, rng))
        if roll >= total:
            return _composed(drawn, size, True, rng)
        source = _source(drawn.shares, drawn, rng)
        picture = _pick(source, rng)
        if picture.labels:
            return _real(picture, size, rng)
        clean = [each for each in source if not each.labels]
        return loudest(lambda: _real(_pick(clean, rng), size, rng))

    if rng.random() < MOSAIC:
        return _mosaic([one() for _ in range(4)], size)
    return one()


def prepare(
    description: Description,
    root: Path,
    cache: Path,
    count: int,
    seed: int,
    *,
    size: tuple[int, int] = (640, 480),
    judge: Judge | None = None,
) -> Path:
    """Write `count` training pictures and their labels, and the YAML that ultralytics reads; returns its path.

    What is already there is kept, so an interrupted preparation goes on where it stopped. ultralytics wants a `val`
    too, and is not asked to look at it.
    """
    drawn = recipe(description, root)
    for folder in ("images/train", "labels/train"):
        (cache / folder).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        target = cache / "images/train" / f"{number:06}.jpg"
        if not target.exists():
            image, boxes = draw(drawn, size, seed, number, judge)
            lines = [label_line(box, (size[1], size[0]), kind) for box, kind in boxes]
            (cache / "labels/train" / f"{number:06}.txt").write_text("".join(line + "\n" for line in lines))
            cv2.imwrite(str(target), image, [cv2.IMWRITE_JPEG_QUALITY, 92])
    target = cache / "data.yaml"
    facts = {
        "path": str(cache.resolve()),
        "train": "images/train",
        "val": "images/train",
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
