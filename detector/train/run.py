# SPDX-License-Identifier: AGPL-3.0-or-later
"""One run from a dataset description to an exported, evaluated model: prepare, train, blend, choose, export."""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from detector.layouts import description_in, read_folder, yolo_root
from detector.measure import evaluate
from detector.measure.dataset import Composites, DatasetError, Description, Picture, pictures, read_description
from detector.train.export import export, write_card
from detector.train.prepare import judged_by, prepare
from detector.train.thresholds import OPERATING, UNDECIDED, choose, look_at, recall
from detector.vision.card import card_path
from detector.vision.model import load_model

BLENDS = (0.5, 0.65, 0.8, 1.0)  # how far from the starting weights to the trained ones; validation decides
USUAL_BLEND = 0.65  # where nothing can be compared
AVERAGED = 3  # last checkpoints
FALSE_IMAGES = 0.05  # of the validation side, where no other share is asked for


@dataclass(frozen=True, slots=True)
class Mixture:
    """One mixture of the starting and the trained weights, and its score on validation."""

    share: float
    folder: Path
    score: float


def _facts(
    options: argparse.Namespace, share: float, chosen: dict[str, float] | None, description: Description
) -> dict[str, Any]:
    return {
        "name": "smoke",
        "version": options.out.name,
        "input": (640, 640),
        "views": ["whole", "band", "detail"],
        "iou": 0.5,
        "licence": "AGPL-3.0-or-later",
        "origin": f"fine-tuned from {options.weights.name}",
        "training": f"dataset {description.name}, budget {options.budget}, seed {options.seed}, blend {share}",
    } | _operating(chosen)


def _operating(chosen: dict[str, float] | None) -> dict[str, Any]:
    """On a card: the views' common score as it is, where nothing is chosen."""
    return {"confidence": OPERATING, "thresholds": chosen} if chosen else {"confidence": UNDECIDED, "thresholds": {}}


def _mixture(
    options: argparse.Namespace,
    share: float,
    trained: Sequence[Path],
    description: Description,
    validation: Sequence[Picture],
) -> Mixture:
    """Mix, export, and choose the thresholds on the validation side, where it has pictures without smoke."""
    from detector.train.fit import blend

    folder = options.out / f"blend-{share}"
    mixed = blend(options.weights, trained, share, folder / "weights.pt")
    model, card = export(mixed, folder, _facts(options, share, None, description))
    looks = look_at(load_model(model, threads=options.threads), validation)
    chosen = choose(looks, options.false_images)
    if chosen is None:
        print(f"too few pictures without smoke on the validation side to choose thresholds: they stay at {UNDECIDED}")
    write_card(card, model, _facts(options, share, chosen, description))
    score = recall(looks, chosen["smoke"] if chosen else UNDECIDED)
    print(f"blend {share}: validation score {score:.3f} at {json.dumps(chosen or UNDECIDED)}")
    return Mixture(share, folder, score)


def described(path: Path, root: Path | None) -> tuple[Description, Path]:
    """A description with its root; or a folder of pictures as they lie (or the YOLO `data.yaml` of one): its folders
    drawn from alike, and split as the table, its lists or their names say."""
    path = description_in(path)
    folder = path if path.is_dir() else yolo_root(path)
    if folder is None:
        return read_description(path), root or path.parent
    found = read_folder(folder, None if path.is_dir() else path, split=True)
    sources = [source.model_copy(update={"share": 0.6, "backdrop": 1.0}) for source in found.sources]
    composites = Composites(plumes=0.3 * len(sources), lookalikes=0.1 * len(sources))
    return found.model_copy(update={"sources": sources, "composites": composites}), folder


def choose_thresholds(model: Path, dataset: Path, root: Path | None) -> dict[str, float]:
    """Choose the thresholds of a model anew on the validation side and write them on its card.

    Rounding to int8 moves scores: thresholds of the float model would not hold. Raises DatasetError where the
    validation side has too few pictures without smoke.
    """
    description, root = described(dataset, root)
    validation = [picture for picture in pictures(description, root) if picture.split == "validation"]
    chosen = choose(look_at(load_model(model), validation), FALSE_IMAGES)
    if chosen is None:
        raise DatasetError("too few pictures without smoke on the validation side to choose thresholds")
    path = card_path(model)
    card = yaml.safe_load(path.read_text(encoding="utf-8")) | _operating(chosen)
    path.write_text(yaml.safe_dump(card, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return chosen


def begin(out: Path, description: Description, resume: bool) -> Path:
    """Write down in `out` what is trained on, and return where. An earlier run's pictures and checkpoints go, lest they
    be taken for this one's, unless it is to be resumed. Raises DatasetError when that had another dataset.
    """
    record = out / "dataset.yaml"
    text = yaml.safe_dump(description.model_dump(mode="json"), sort_keys=False)
    if record.is_file() and resume and record.read_text(encoding="utf-8") != text:
        raise DatasetError(f"the run in {out} was begun with another dataset: resume it with that, or give another out")
    if record.is_file() and not resume:
        for name in ("cache", "fit"):
            shutil.rmtree(out / name, ignore_errors=True)
    out.mkdir(parents=True, exist_ok=True)
    record.write_text(text, encoding="utf-8")
    return record


def run(options: argparse.Namespace) -> int:
    """Do the whole run; returns the exit status. Raises DatasetError, ExportError or TrainingUnavailable."""
    from detector.train.fit import BUDGETS, fit

    budget = BUDGETS[options.budget]
    budget = replace(budget, pictures=options.pictures or budget.pictures, epochs=options.epochs or budget.epochs)
    description, root = described(options.dataset, options.root)
    record = begin(options.out, description, options.resume)
    print(f"drawing {budget.pictures} training pictures into {options.out / 'cache'}")
    judge = judged_by(load_model(options.hard, threads=options.threads)) if options.hard else None
    data = prepare(description, root, options.out / "cache", budget.pictures, options.seed, judge=judge)
    trained = fit(
        data,
        options.weights,
        options.out / "fit",
        budget,
        seed=options.seed,
        threads=options.threads,
        resume=options.resume,
    )
    sides = {split: [p for p in pictures(description, root) if p.split == split] for split in ("validation", "test")}
    shares = BLENDS if any(picture.labels for picture in sides["validation"]) else (USUAL_BLEND,)
    mixtures = [_mixture(options, share, trained[-AVERAGED:], description, sides["validation"]) for share in shares]
    best = max(mixtures, key=lambda mixture: mixture.score)
    print(f"chosen on validation: blend {best.share}, in {best.folder}")
    if not sides["test"]:
        print("the test side has no pictures: nothing to measure it on")
        return 0
    figures = options.out / "test.json"
    model = ["--model", str(best.folder / "smoke.onnx"), "--json", str(figures)]
    return evaluate.main([str(record), "--root", str(root), *model])
