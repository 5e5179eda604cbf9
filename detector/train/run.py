# SPDX-License-Identifier: AGPL-3.0-or-later
"""One run from a dataset description to an exported, evaluated model: prepare, train, blend, choose, export."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from detector import evaluate
from detector.model import load_model
from detector.train.dataset import Description, Picture, pictures, read_description
from detector.train.export import export
from detector.train.prepare import prepare

BLENDS = (0.5, 0.65, 0.8, 1.0)  # how far from the starting weights to the trained ones; validation decides


def _facts(options: argparse.Namespace, share: float, threshold: float, description: Description) -> dict[str, Any]:
    return {
        "name": "smoke",
        "version": options.out.name,
        "input": (640, 640),
        "confidence": threshold,
        "iou": 0.5,
        "licence": "AGPL-3.0-or-later",
        "origin": f"fine-tuned from {options.weights.name}",
        "training": f"dataset {description.name}, budget {options.budget}, seed {options.seed}, blend {share}",
    }


def _score(model: Path, validation: Sequence[Picture], limit: float, threads: int) -> tuple[float, float]:
    """(recall of small smoke and of all smoke, averaged; the threshold at which false images are at `limit`)."""
    seen = evaluate.look(load_model(model, threads=threads), validation, lambda _: None)
    threshold = evaluate.threshold_from(seen, limit)
    sizes = evaluate.by_size(seen, threshold)
    small, whole = sizes[evaluate.SIZES[0][0]], evaluate.figures(seen, threshold)["recall"]
    return ((small["value"] or whole["value"]) + whole["value"]) / 2, threshold


def _choose(
    options: argparse.Namespace, trained: Sequence[Path], description: Description, chosen: Sequence[Picture]
) -> tuple[float, Path]:
    """Export each blend, score it on validation, and return the best: (share, its folder)."""
    from detector.train.fit import blend

    scores = {}
    for share in BLENDS:
        folder = options.out / f"blend-{share}"
        mixed = blend(options.weights, trained, share, folder / "weights.pt")
        model, _ = export(mixed, folder, _facts(options, share, 0.25, description))
        score, threshold = _score(model, chosen, options.false_images, options.threads)
        export(mixed, folder, _facts(options, share, threshold, description))
        scores[share] = score
        print(f"blend {share}: validation score {score:.3f} at threshold {threshold:.2f}")
    best = max(scores, key=lambda share: scores[share])
    return best, options.out / f"blend-{best}"


def run(options: argparse.Namespace) -> int:
    """Do the whole run; returns the exit status. Raises DatasetError, ExportError or TrainingUnavailable."""
    from detector.train.fit import BUDGETS, fit

    budget = BUDGETS[options.budget]
    budget = replace(budget, pictures=options.pictures or budget.pictures, epochs=options.epochs or budget.epochs)
    description = read_description(options.dataset)
    root = options.root or options.dataset.parent
    print(f"drawing {budget.pictures} training pictures into {options.out / 'cache'}")
    data = prepare(description, root, options.out / "cache", budget.pictures, options.seed)
    trained = fit(
        data,
        options.weights,
        options.out / "fit",
        budget,
        seed=options.seed,
        threads=options.threads,
        resume=options.resume,
    )
    validation = [p for p in pictures(description, root) if p.split == "validation"]
    share, folder = _choose(options, trained[-3:], description, validation)
    print(f"chosen on validation: blend {share}, in {folder}")
    figures = options.out / "test.json"
    status = evaluate.main(
        [str(options.dataset), "--root", str(root), "--model", str(folder / "smoke.onnx"), "--json", str(figures)]
    )
    if status == 0:
        print(f"figures in {figures}: {json.loads(figures.read_text())['model']['model']}")
    return status
