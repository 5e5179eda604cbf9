# SPDX-License-Identifier: AGPL-3.0-or-later
"""``straw1530 bench model``: milliseconds a frame by back end, precision, picture and view; cameras a core with and
without the change gate; what int8 loses and gains.

Processor time of one thread, so that a busy machine disturbs little. Cameras a core count all that a look costs:
decoding a keyframe of H.264, the skyline, the light, the scenery and the model.
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from benchmarks import figures, pyronear
from camera_sim.scene import Scene
from camera_sim.spec import builtin_scenes, load_spec
from detector.errors import DetectorError
from detector.frame import Frame, Image
from detector.judgement.gaze import Gaze
from detector.measure.dataset import DatasetError, pictures, read_description
from detector.measure.evaluate import look as see
from detector.measure.evaluate import report
from detector.train.torch_setup import TrainingUnavailable
from detector.vision.light import LightMeter
from detector.vision.model import SHIPPED, Backend, Model, load_model
from detector.vision.scenery import Scenery
from detector.vision.skyline import Horizon
from detector.vision.views import look, views

INT8 = SHIPPED.with_name("smoke-int8.xml")
KINDS: tuple[tuple[str, Backend, Path], ...] = (
    ("f32", "onnxruntime", SHIPPED),
    ("f32", "openvino", SHIPPED),
    ("int8", "openvino", INT8),
)
SIZES = ((640, 480), (1280, 720), (1920, 1080))
INTERVAL_S = 10.0
LOOKS = 24
"""Of a simulated camera that the gate is measured on: four minutes."""
DATASET = Path(__file__).parents[1] / "detector" / "train" / "datasets" / "shared.yaml"
SEQUENCE = "boucher-hill-west-2017-12-07"


def timed(work: Callable[[], object], n: int) -> dict[str, float | int]:
    """Milliseconds of processor time: median and spread of `n` runs, after two that warm up."""
    times = []
    for number in range(n + 2):
        begun = time.process_time()
        work()
        if number >= 2:
            times.append(1000 * (time.process_time() - begun))
    low, middle, high = np.percentile(times, (10, 50, 90))
    return {"n": n, "median": round(middle, 1), "p10": round(low, 1), "p90": round(high, 1)}


def by_view(model: Model, image: Image, n: int) -> dict[str, Any]:
    """Each view's cost, and all together."""
    shown = views(model.card, image.shape[0], Horizon().at(image))
    result: dict[str, Any] = {view.name: timed(partial(look, model, image, view), n) for view in shown}
    result["together"] = round(sum(each["median"] for each in result.values()), 1)
    return result


def keyframe(image: Image) -> tuple[int, Callable[[], Image]]:
    """Its bytes, and what decodes `image` as a camera sends it: one keyframe of H.264, by one thread."""
    data = io.BytesIO()
    with av.open(data, "w", format="h264") as container:
        stream = container.add_stream("libx264", rate=1, options={"crf": "28"})
        stream.height, stream.width = image.shape[:2]
        stream.pix_fmt = "yuv420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        container.mux(stream.encode(None))

    def decode() -> Image:
        decoder = av.CodecContext.create("h264", "r")
        assert isinstance(decoder, av.VideoCodecContext)
        decoder.thread_count = 1
        picture = (decoder.decode(av.Packet(data.getvalue())) + decoder.decode(None))[0]
        return np.asarray(picture.to_ndarray(format="bgr24"), np.uint8)

    return len(data.getvalue()), decode


def simulated() -> Iterator[Image]:
    """A 1080p camera without a fire, a picture each ten seconds, with a sensor's noise."""
    spec = load_spec(builtin_scenes()["quzhou-west"])
    camera = spec.camera.model_copy(update={"width": 1920, "height": 1080})
    scene = Scene(spec.model_copy(update={"camera": camera, "fires": (), "start": "on_request"}))
    rng = np.random.default_rng(1530)
    for number in range(LOOKS):
        image = scene.frame(number * INTERVAL_S).astype(np.int16) + rng.integers(-3, 4, (1080, 1920, 1), np.int16)
        yield np.asarray(np.clip(image, 0, 255), np.uint8)


def sequence(data: Path) -> Iterator[Image]:
    """A real tower with smoke throughout, each tenth second, as 1080p."""
    for file in sorted((data / "sequences" / SEQUENCE).iterdir())[::10]:
        image = cv2.imread(str(file))
        if image is not None:
            yield np.asarray(cv2.resize(image, (1920, 1080)), np.uint8)


def cameras(model: Model, source: Iterator[Image], gated: bool) -> dict[str, Any]:
    """How many cameras one core can look at every ten seconds; nothing else runs on it."""
    gaze, meter, scenery = Gaze(gated=gated), LightMeter(), Scenery()
    decoding = spent = 0.0
    looks = size = 0
    for looks, image in enumerate(source, 1):
        at = looks * INTERVAL_S
        frame = Frame(image, datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=at), at, looks, "bench")
        if looks == 1:
            size, decode = keyframe(image)
            decoding = float(timed(decode, 9)["median"])
        begun = time.process_time()
        meter.look(image)
        gaze.look(model, frame, 0.05)
        scenery.look(image)
        spent += (time.process_time() - begun) if looks > 1 else 0.0
    each = decoding + 1000 * spent / max(1, looks - 1)
    shown = gaze.inferences + gaze.skipped
    return {
        "looks": looks,
        "views_skipped": round(gaze.skipped / shown, 3),
        "keyframe_bytes": size,
        "decoding_ms": decoding,
        "look_ms": round(each, 1),
        "cameras_per_core": int(1000 * INTERVAL_S / each),
    }


def pyronears(image: Image, n: int) -> dict[str, Any]:
    """What Pyronear's network costs, and the cameras that a core can look at with it."""
    with tempfile.TemporaryDirectory(prefix="straw1530-bench-") as folder:
        looking = timed(partial(pyronear.predictor(Path(folder)), image), n)
    each = looking["median"] + timed(keyframe(image)[1], 9)["median"]
    return {"ms": looking, "cameras_per_core": int(1000 * INTERVAL_S / each)}


def exactness(data: Path, most: int) -> dict[str, Any]:
    """The same test pictures by each precision: what is lost and gained."""
    chosen = [picture for picture in pictures(read_description(DATASET), data) if picture.split == "test"]
    chosen = chosen[:: max(1, len(chosen) // most)]
    result: dict[str, Any] = {"pictures": len(chosen)}
    for name, path in (("f32", SHIPPED), ("int8", INT8)):
        model = load_model(path, "openvino", threads=1)
        result[name] = report(see(model, chosen, lambda _: None), model.card.confidence, frozenset())["real"]["all"]
    return result


def main(argv: Sequence[str]) -> int:
    """0 when int8 is at least twice as fast as f32 and a core looks at 100 cameras with the gate."""
    parser = argparse.ArgumentParser(prog="straw1530 bench model", description=__doc__)
    parser.add_argument("--data", type=Path, metavar="DIR", help="labelled pictures: int8 is compared with f32 on them")
    parser.add_argument("--pictures", type=int, default=200, help="of them, at most (default %(default)s)")
    parser.add_argument("--runs", type=int, default=15, help="of each time (default %(default)s)")
    parser.add_argument("--peer", action="store_true", help="what Pyronear's network costs, beside it (extra: train)")
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args(argv)
    scene = next(simulated())
    speed: list[dict[str, Any]] = []
    try:
        for precision, backend, path in KINDS:
            model = load_model(path, backend, threads=1)
            for size in SIZES:
                image = np.asarray(cv2.resize(scene, size), np.uint8)
                told = {"precision": precision, "backend": backend, "picture": f"{size[0]}x{size[1]}"}
                speed.append(told | {"ms": by_view(model, image, args.runs)})
        fleets = {"simulated, no smoke": simulated} | (
            {"real, smoke": partial(sequence, args.data)} if args.data else {}
        )
        per_core = {
            name: {"gate": cameras(model, source(), True), "no_gate": cameras(model, source(), False)}
            for name, source in fleets.items()
        }
        peer = pyronears(scene, args.runs) if args.peer else None
        lost = exactness(args.data, args.pictures) if args.data else None
    except (DetectorError, DatasetError, TrainingUnavailable, OSError) as error:
        print(f"straw1530 bench model: {error}", file=sys.stderr)
        return 2
    found = {"model": model.card.sha256, "speed": speed, "cameras_per_core_1080p_10s": per_core, "int8": lost}
    found |= {"pyronear": peer} if peer else {}
    figures.write(args.json, "model", found)
    f32, int8 = (row["ms"]["together"] for row in speed if row["backend"] == "openvino" and "1080" in row["picture"])
    return 0 if f32 >= 2 * int8 and per_core["simulated, no smoke"]["gate"]["cameras_per_core"] >= 100 else 1
