# SPDX-License-Identifier: AGPL-3.0-or-later
"""Pictures of smoke that nobody had to light: plumes laid on real pictures without smoke, with exact boxes.

A composite is drawn from a seed alone. Figures measured on composites are never mixed with real ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from detector.frame import is_picture
from detector.train.lookalikes import LOOKALIKES
from detector.train.noise import fractal
from detector.train.plume import Fire, lay, optical_depth, random_fire
from detector.train.scene import Scene, read_scene
from detector.vision.skyline import horizon

Image = NDArray[np.uint8]
Box = tuple[float, float, float, float]

FAINTEST = 5.0  # grey levels: a change smaller than this is not visible after the camera's compression
VISIBLE = 14.0  # grey levels somewhere in the plume, or it is not labelled at all
SMALLEST = 10  # pixels a plume must change visibly to be labelled
TRIES = 12
# So that `straw1530 evaluate` reports them as what they are.
DESCRIPTION = """name: composites
sources:
  - {name: composites, images: images, labels: labels, kind: composite, test: 1.0}
"""


@dataclass(frozen=True, slots=True)
class Placed:
    """A fire in a picture: where it burns (pixels), how many metres a pixel spans there, and how far it is."""

    fire: Fire
    base: tuple[float, float]
    metres_per_pixel: float
    distance: float
    behind_ridge: bool
    seed: int


def place(scene: Scene, shape: tuple[int, int], rng: np.random.Generator, zoom: float = 1.0) -> Placed:
    """A random fire on the land of a picture of `shape` (rows, columns), 0.5 to 6 km away.

    The lens is between 20 and 70 degrees wide, the camera 15 to 250 m above the field; both settle the
    row on which a fire at that distance stands. The picture shows 1/`zoom` of what the lens does.
    """
    rows, columns = shape
    distance = float(np.exp(rng.uniform(np.log(500), np.log(6000))))
    span = 2 * np.tan(np.radians(rng.uniform(20, 70)) / 2) * distance / zoom
    metres = float(span / columns)
    x = float(rng.uniform(0.04, 0.96) * columns)
    top = float(scene.skyline[int(x)])
    ridge = bool(rng.random() < 0.35)
    drop = rng.uniform(0, 0.02) * rows if ridge else rng.uniform(15, 250) / metres + 2
    y = top + min(drop, rng.uniform(0.2, 0.7) * (rows - 4 - top))  # never at the camera's own feet
    fire = random_fire(rng)
    if ridge:  # what shows above a ridge is the smoke of a larger fire
        fire = replace(fire, buoyancy=fire.buoyancy * 4, inversion=fire.inversion * 2, density=fire.density * 2)
    return Placed(fire, (x, y), metres, distance, ridge, int(rng.integers(2**31)))


def _hide_behind_land(depth: NDArray[np.float32], scene: Scene, seed: int) -> NDArray[np.float32]:
    """Only what rises above the skyline is seen, over a line of trees."""
    rng = np.random.default_rng(seed)
    trees = scene.skyline + np.abs(fractal(rng, (1, depth.shape[1]), 6, 3)[0]) * -1.0
    land = np.arange(depth.shape[0])[:, None] >= trees[None, :]
    return np.asarray(np.where(land, 0, depth), np.float32)


def _box(before: Image, after: Image) -> Box | None:
    """Where the smoke is visible: the bounds of the changed pixels, stray specks left out."""
    change = np.abs(after.astype(np.float32) - before.astype(np.float32)).max(axis=2)
    if change.max() < VISIBLE:
        return None
    limit = max(FAINTEST, 0.13 * float(change.max()))
    seen = (cv2.blur(change, (3, 3)) >= limit).astype(np.uint8)
    joined = cv2.dilate(seen, np.ones((5, 5), np.uint8))
    count, parts = cv2.connectedComponents(joined)
    parts = parts * seen
    sizes = np.bincount(parts.ravel(), minlength=count)[1:]
    if not sizes.size or sizes.sum() < SMALLEST:
        return None
    kept = 1 + np.flatnonzero(sizes >= 0.1 * sizes.max())
    rows, columns = np.nonzero(np.isin(parts, kept))
    return float(columns.min()), float(rows.min()), float(columns.max() + 1), float(rows.max() + 1)


def render(image: Image, scene: Scene, placed: Placed, after: float = 0.0) -> tuple[Image, Box | None]:
    """`image` with the plume `after` seconds on, and its box (pixels), or None while nothing can be seen."""
    depth = optical_depth(placed.fire, placed.metres_per_pixel, image.shape[:2], placed.base, after)
    if placed.behind_ridge:
        depth = _hide_behind_land(depth, scene, placed.seed)
    depth = np.asarray(cv2.GaussianBlur(depth, (0, 0), 0.6), np.float32)
    clear = float(np.exp(-placed.distance / np.random.default_rng(placed.seed).uniform(5e3, 4e4)))
    result = lay(image, depth, replace(scene.light, through_haze=clear), placed.fire)
    return result, _box(image, result)


def _fits(box: Box, shape: tuple[int, int], taken: Sequence[Box]) -> bool:
    """Not most of the picture, and not across another smoke's box."""
    x1, y1, x2, y2 = box
    if (x2 - x1) * (y2 - y1) > 0.2 * shape[0] * shape[1]:
        return False
    return all(x2 < a1 or a2 < x1 or y2 < b1 or b2 < y1 for a1, b1, a2, b2 in taken)


def add_plume(
    image: Image, rng: np.random.Generator, taken: Sequence[Box] = (), zoom: float = 1.0
) -> tuple[Image, Box] | None:
    """`image`, 1/`zoom` of a camera's view, with one visible plume and its box.

    None when a dozen tries placed none, or no land can be told from the sky: smoke that stands on nothing is believed
    by nobody, and fog would teach that a smear is smoke.
    """
    if horizon(image) is None:
        return None
    scene = read_scene(image, rng)
    for _ in range(TRIES):
        result, box = render(image, scene, place(scene, (image.shape[0], image.shape[1]), rng, zoom))
        if box is not None and _fits(box, (image.shape[0], image.shape[1]), taken):
            return result, box
    return None


def add_lookalike(image: Image, rng: np.random.Generator, name: str | None = None) -> tuple[Image, str]:
    """`image` with something that is not smoke, and its name."""
    chosen = name or str(rng.choice(list(LOOKALIKES)))
    return LOOKALIKES[chosen](image, read_scene(image, rng), rng), chosen


def camera_noise(image: Image, rng: np.random.Generator) -> Image:
    """What the sensor and its JPEG do after the light: grain, then compression."""
    grain = rng.normal(0, rng.uniform(0, 3), image.shape)
    noisy = np.clip(image + grain, 0, 255).astype(np.uint8)
    _, data = cv2.imencode(".jpg", noisy, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(55, 95))])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


def label_line(box: Box, shape: tuple[int, int], number: int = 0) -> str:
    """A YOLO label: class, centre and size as fractions of the picture."""
    (x1, y1, x2, y2), (rows, columns) = box, shape
    return (
        f"{number} {(x1 + x2) / 2 / columns:.6f} {(y1 + y2) / 2 / rows:.6f} "
        f"{(x2 - x1) / columns:.6f} {(y2 - y1) / rows:.6f}"
    )


def contact_sheet(pictures: Sequence[tuple[Image, Sequence[Box], str]], columns: int = 5, width: int = 320) -> Image:
    """Pictures side by side with their boxes drawn and a caption each."""
    height = width * 3 // 4
    tiles = []
    for image, boxes, caption in pictures:
        tile = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        fx, fy = width / image.shape[1], height / image.shape[0]
        for x1, y1, x2, y2 in boxes:
            cv2.rectangle(
                tile, (int(x1 * fx) - 3, int(y1 * fy) - 3), (int(x2 * fx) + 3, int(y2 * fy) + 3), (0, 0, 255), 1
            )
        cv2.putText(tile, caption, (4, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 255, 255), 1, cv2.LINE_AA)
        tiles.append(tile)
    while len(tiles) % columns:
        tiles.append(np.zeros((height, width, 3), np.uint8))
    lines = [np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)]
    return np.asarray(np.vstack(lines), np.uint8)


def write_composites(negatives: Path, out: Path, count: int, seed: int, sheet: Path | None) -> int:
    """Write `count` composites (two in three with a plume, the rest look-alikes) as images/ and labels/ in `out`.

    The same seed and negatives give the same files. Returns how many carry a box.
    """
    sources = sorted(p for p in negatives.rglob("*") if is_picture(p))
    if not sources:
        raise ValueError(f"there are no pictures in {negatives}")
    for folder in ("images", "labels"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    shown: list[tuple[Image, Sequence[Box], str]] = []
    boxed = 0
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        image = cv2.imread(str(sources[int(rng.integers(len(sources)))]))
        if image is None:
            raise ValueError("one of the pictures cannot be read: " + str(sources[0].parent))
        image = cv2.resize(image, (960, 960 * image.shape[0] // image.shape[1]), interpolation=cv2.INTER_AREA)
        done = add_plume(np.asarray(image, np.uint8), rng) if number % 3 else None
        boxes: list[Box] = [done[1]] if done else []
        picture, caption = (done[0], "smoke") if done else add_lookalike(np.asarray(image, np.uint8), rng)
        boxed += len(boxes)
        picture = camera_noise(picture, rng)
        cv2.imwrite(str(out / "images" / f"{number:06}.jpg"), picture, [cv2.IMWRITE_JPEG_QUALITY, 95])
        shape = (picture.shape[0], picture.shape[1])
        (out / "labels" / f"{number:06}.txt").write_text("".join(label_line(b, shape) + "\n" for b in boxes))
        if len(shown) < 40:
            shown.append((picture, boxes, caption))
    (out / "dataset.yaml").write_text(DESCRIPTION, encoding="utf-8")
    if sheet is not None:
        cv2.imwrite(str(sheet), contact_sheet(shown))
    return boxed
