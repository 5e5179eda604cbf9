# SPDX-License-Identifier: AGPL-3.0-or-later
"""`straw1530 train …`: make, export and describe the models the edge runs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from detector.frame import is_picture
from detector.train.torch_setup import TrainingUnavailable
from detector.vision.model import SHIPPED


def _size(text: str) -> tuple[int, int]:
    """`640` or `1280x736` (width x height), multiples of 32."""
    width, _, height = text.partition("x")
    try:
        size = int(width), int(height or width)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no size; write 640 or 1280x736") from None
    if min(size) < 64 or size[0] % 32 or size[1] % 32:
        raise argparse.ArgumentTypeError(f"{text!r}: both sides must be multiples of 32, at least 64")
    return size


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="straw1530 train", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    export = commands.add_parser("export", help="weights (.pt, .npz state dict or .onnx) to smoke.onnx and its card")
    export.add_argument("--weights", type=Path, required=True)
    export.add_argument("--out", type=Path, required=True, help="folder for the model and its card")
    export.add_argument("--name", default="smoke")
    export.add_argument("--version", default="0")
    export.add_argument("--size", type=_size, default=(640, 640), help="input, WIDTH or WIDTHxHEIGHT")
    export.add_argument("--confidence", type=float, default=0.25, help="operating threshold for the card")
    export.add_argument(
        "--band", action="store_true", help="look along the skyline at twice the size, and at small smoke in detail"
    )
    export.add_argument("--iou", type=float, default=0.5, help="suppression overlap for the card")
    export.add_argument("--origin", default="", help="where the weights come from")
    export.add_argument("--training", default="", help="what they were trained on, one line")

    composite = commands.add_parser("composite", help="lay plumes and look-alikes on pictures without smoke")
    composite.add_argument("--negatives", type=Path, required=True, help="folder of pictures, searched deeply")
    composite.add_argument("--out", type=Path, required=True, help="folder for images/ and labels/")
    composite.add_argument("--count", type=int, default=100)
    composite.add_argument("--seed", type=int, default=1530)
    composite.add_argument("--sheet", type=Path, help="write a contact sheet of the first ones here")

    run = commands.add_parser("run", help="prepare, train, export and evaluate, from a dataset description")
    run.add_argument(
        "dataset", type=Path, help="description (YAML), YOLO data.yaml or folder, as for `straw1530 evaluate`"
    )
    run.add_argument("--root", type=Path, help="folder that the description's paths start from")
    run.add_argument(
        "--weights", type=Path, default=SHIPPED, help="to start from: .onnx, .npz or .pt; default: the shipped"
    )
    run.add_argument("--budget", choices=("small", "full"), default="small", help="two CPU cores, or a GPU")
    run.add_argument("--out", type=Path, required=True, help="folder of this run")
    run.add_argument("--pictures", type=int, help="training pictures to draw; default: the budget's")
    run.add_argument("--epochs", type=int, help="default: the budget's")
    run.add_argument("--seed", type=int, default=1530)
    run.add_argument("--threads", type=int, default=2)
    run.add_argument(
        "--hard",
        type=Path,
        metavar="MODEL",
        help="of pictures without smoke draw those that this model (.onnx, .xml) cries over",
    )
    run.add_argument("--false-images", type=float, default=0.05, help="share allowed on validation")
    run.add_argument("--resume", action="store_true", help="go on where an interrupted run stopped")

    review = commands.add_parser("from-review", help="turn verdicts from operation into a dataset for `run`")
    review.add_argument("folder", type=Path, help="pictures and verdicts.jsonl")
    review.add_argument("--out", type=Path, required=True, help="folder for the dataset")

    quantise = commands.add_parser("quantise", help="calibrate a model to int8 (OpenVINO)")
    quantise.add_argument("--model", type=Path, required=True, help="the float model (.onnx with its card)")
    quantise.add_argument("--pictures", type=Path, required=True, help="folder of training pictures")
    quantise.add_argument("--out", type=Path, required=True, help="the int8 model (.xml)")
    quantise.add_argument("--dataset", type=Path, help="description on whose validation side its thresholds are chosen")
    quantise.add_argument("--root", type=Path, help="folder that the description's paths start from")

    blend = commands.add_parser("blend", help="average checkpoints and mix them with the starting weights")
    blend.add_argument("--start", type=Path, required=True)
    blend.add_argument("--trained", type=Path, nargs="+", required=True)
    blend.add_argument("--share", type=float, default=0.65, help="0 the starting weights, 1 the trained ones")
    blend.add_argument("--out", type=Path, required=True, help="the checkpoint to write (.pt)")
    return parser


def _blend(options: argparse.Namespace) -> int:
    from detector.train.fit import blend

    print(blend(options.start, options.trained, options.share, options.out))
    return 0


def _quantise(options: argparse.Namespace) -> int:
    from detector.train.quantise import quantise

    pictures = sorted(p for p in options.pictures.iterdir() if is_picture(p))
    quantise(options.model, options.out, pictures[:: max(len(pictures) // 200, 1)])
    if options.dataset is not None:
        from detector.train.run import choose_thresholds

        print(choose_thresholds(options.out, options.dataset, options.root))
    print(f"{options.out}")
    return 0


def _from_review(options: argparse.Namespace) -> int:
    from detector.train.review import from_review

    counts = from_review(options.folder, options.out)
    told = f"{counts['real']} real, {counts['false']} false alarms, {counts['left out']} left out"
    print(f"{options.out / 'dataset.yaml'}: {told}")
    return 0


def _composite(options: argparse.Namespace) -> int:
    from detector.train.composite import write_composites

    boxed = write_composites(options.negatives, options.out, options.count, options.seed, options.sheet)
    print(f"{options.count} pictures in {options.out}, {boxed} with smoke")
    return 0


def _run(options: argparse.Namespace) -> int:
    from detector.train.run import run

    return run(options)


def _export(options: argparse.Namespace) -> int:
    from detector.train.export import export

    facts = {
        "name": options.name,
        "version": options.version,
        "input": options.size,
        "confidence": options.confidence,
        "views": ["whole", "band", "detail"] if options.band else ["whole"],
        "thresholds": {},
        "iou": options.iou,
        "licence": "AGPL-3.0-or-later",
        "origin": options.origin,
        "training": options.training,
    }
    model, card = export(options.weights, options.out, facts)
    print(f"{model} ({model.stat().st_size / 1e6:.1f} MB) and {card}")
    return 0


def main(argv: Sequence[str]) -> int:
    """Run one training command; 1 with a sentence on stderr when it cannot be done."""
    # Written as an option it means the same.
    options = _parser().parse_args([arg.removeprefix("--") if arg == "--from-review" else arg for arg in argv])
    actions = {
        "export": _export,
        "composite": _composite,
        "run": _run,
        "from-review": _from_review,
        "quantise": _quantise,
        "blend": _blend,
    }
    try:
        return actions[options.command](options)
    except (TrainingUnavailable, ValueError, OSError) as error:
        print(f"straw1530 train: {error}", file=sys.stderr)
        return 1
