# SPDX-License-Identifier: AGPL-3.0-or-later
"""The training itself: ultralytics' DetectionTrainer, started from our weights, on CPU or GPU alike.

Imported only where torch is wanted.
"""

from __future__ import annotations

import shutil
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from detector.train.export import load_network
from detector.train.torch_setup import ultralytics

_ultralytics = ultralytics()

import torch  # noqa: E402 - ultralytics() first makes torchvision importable
from torch.utils.data import Sampler  # noqa: E402
from ultralytics.data.build import InfiniteDataLoader  # noqa: E402
from ultralytics.models.yolo.detect import DetectionTrainer  # noqa: E402
from ultralytics.utils import LOGGER  # noqa: E402


@dataclass(frozen=True, slots=True)
class Budget:
    """How much training a machine is asked for."""

    pictures: int  # drawn into the cache
    epochs: int
    parts: int  # of an epoch, each ending in a checkpoint: what an interruption may cost
    batch: int
    frozen: int  # layers of the backbone that stay as they are
    rate: float
    mosaic: float
    rect: bool  # train at the cache's own shape instead of padding to a square


BUDGETS = {
    # Two CPU cores. bf16 and no padding: 0.15 s of one core a picture, against 1.2 s as float32 squares.
    "small": Budget(5000, 2, 4, 16, 5, 2e-4, 0.0, True),
    # One GPU: everything moves, and mosaics are drawn anew each time.
    "full": Budget(30000, 60, 1, 64, 0, 1e-3, 0.3, False),
}


FAST_BFLOAT16 = bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


class _Part(Sampler[int]):  # type: ignore[misc]
    """One part of the epoch's shuffled pictures; to ultralytics a part is an epoch, with its checkpoint."""

    def __init__(self, pictures: int, parts: int, trainer: Any) -> None:
        self.pictures, self.parts, self.trainer = pictures, min(parts, pictures), trainer

    def __iter__(self) -> Iterator[int]:
        epoch, part = divmod(self.trainer.epoch, self.parts)
        shuffled = np.random.default_rng([self.trainer.args.seed, epoch]).permutation(self.pictures)
        return iter(shuffled[part :: self.parts][: len(self)].tolist())

    def __len__(self) -> int:
        return self.pictures // self.parts


class SmokeTrainer(DetectionTrainer):  # type: ignore[misc]
    """DetectionTrainer that starts from a state dict, trains in parts and uses the CPU's fast memory layout."""

    start: Path
    parts: int

    def get_model(self, cfg: Any = None, weights: Any = None, verbose: bool = True) -> Any:
        """The network with the starting weights, or the checkpoint's when a run is resumed."""
        network = weights if self.resume and weights is not None else load_network(self.start).model
        network = network.float()
        for parameter in network.parameters():
            parameter.requires_grad = True
        return network.to(memory_format=torch.channels_last)

    def get_dataloader(self, dataset_path: str, batch_size: int = 16, rank: int = 0, mode: str = "train") -> Any:
        """ultralytics' loader; for training in parts (which is without workers) over one part after the other."""
        loader = super().get_dataloader(dataset_path, batch_size, rank, mode)
        if mode != "train" or self.parts == 1:
            return loader
        return InfiniteDataLoader(
            dataset=loader.dataset,
            batch_size=loader.batch_size,
            sampler=_Part(len(loader.dataset), self.parts, self),
            collate_fn=loader.collate_fn,
        )

    def _model_train(self) -> None:
        """Train mode; what was unfused from an exported model has no statistics of its own to follow."""
        super()._model_train()
        if self.start.suffix == ".onnx":
            for layer in self.model.modules():
                if isinstance(layer, torch.nn.BatchNorm2d):
                    layer.eval()

    def validate(self) -> tuple[dict[str, Any], float]:
        """Nothing: our own evaluation judges, by camera and by size, and on validation pictures as they are."""
        return {}, 0.0

    def final_eval(self) -> None:
        """Nothing, for the same reason."""

    def preprocess_batch(self, batch: dict[str, Any]) -> dict[str, Any]:
        """As ultralytics does, then channels last, and bfloat16 on a CPU.

        ultralytics refuses bfloat16 there, though with AVX-512 BF16 it is 2.5 times as fast; without, it is twelve
        times as slow, and float32 stays. This runs inside its own (disabled) autocast block, which restores the
        switch when the step's forward pass ends.
        """
        batch = super().preprocess_batch(batch)
        batch["img"] = batch["img"].contiguous(memory_format=torch.channels_last)
        if self.device.type == "cpu" and FAST_BFLOAT16:
            torch.set_autocast_dtype("cpu", torch.bfloat16)
            torch.set_autocast_enabled("cpu", True)
        return batch


def _progress(every: float = 60.0) -> Callable[[Any], None]:
    """A callback that says once a minute where the training is: its log is read from a file as often as not."""
    last = time.monotonic()
    steps = 0

    def tell(trainer: Any) -> None:
        nonlocal last, steps
        steps += 1
        if time.monotonic() - last < every:
            return
        last = time.monotonic()
        total = len(trainer.train_loader) * trainer.epochs
        LOGGER.info(
            f"epoch {trainer.epoch + 1} of {trainer.epochs}, {steps} batches done here, {total} in the whole run"
        )

    return tell


def fit(data: Path, weights: Path, out: Path, budget: Budget, *, seed: int, threads: int, resume: bool) -> list[Path]:
    """Train and return every epoch's checkpoint. `out` gets ultralytics' records; `resume` goes on where it stopped."""
    torch.set_num_threads(threads)
    on_gpu = torch.cuda.is_available()
    last = out / "weights" / "last.pt"
    finished = out / "finished"
    if resume and finished.is_file():
        return _checkpoints(last.parent)
    if resume:
        _mend(last)
    resume = resume and last.is_file()  # interrupted before its first epoch ended: begin anew
    settings: dict[str, Any] = {
        "model": str(last) if resume else "yolov8s.yaml",
        "data": str(data),
        "epochs": budget.epochs * budget.parts,
        "batch": budget.batch,
        "nbs": budget.batch,
        "imgsz": 640,
        "rect": budget.rect,
        "freeze": budget.frozen,
        "optimizer": "AdamW",
        "lr0": budget.rate,
        "lrf": 0.05,
        "cos_lr": True,
        "warmup_epochs": 0.1,
        "warmup_bias_lr": 0.0,
        "weight_decay": 0.01,
        "mosaic": budget.mosaic,
        "close_mosaic": 0,
        "scale": 0.0 if budget.rect else 0.4,
        "translate": 0.0 if budget.rect else 0.1,
        "erasing": 0.0,
        "hsv_h": 0.015,
        "hsv_s": 0.5,
        "hsv_v": 0.3,
        "amp": "bf16" if on_gpu else False,
        "device": 0 if on_gpu else "cpu",
        "workers": 8 if on_gpu else 0,
        "seed": seed,
        "deterministic": True,
        "plots": False,
        "val": False,
        "save_period": 1,
        "patience": 0,
        "project": str(out.parent.resolve()),
        "name": out.name,
        "exist_ok": True,
        "verbose": True,
    }
    if resume:
        settings["resume"] = str(last)
    trainer = SmokeTrainer(overrides=settings)
    trainer.start, trainer.parts = weights, budget.parts
    trainer.add_callback("on_train_batch_end", _progress())
    trainer.train()
    finished.touch()
    return _checkpoints(last.parent)


def _mend(last: Path) -> None:
    """A kill in the middle of a write leaves a torn file. ``last`` is written first and the epoch's checkpoint after it
    with the same bytes, so one of the two is whole, or the epoch before is."""
    for checkpoint in reversed(_checkpoints(last.parent)):
        if _is_torn(checkpoint):
            checkpoint.unlink()
            if not _is_torn(last):
                shutil.copyfile(last, checkpoint)
        elif _is_torn(last):
            shutil.copyfile(checkpoint, last)
    if _is_torn(last):
        last.unlink(missing_ok=True)


def _is_torn(checkpoint: Path) -> bool:
    """Whether it is no whole zip, as torch writes them: the directory comes last."""
    return not zipfile.is_zipfile(checkpoint)


def _checkpoints(folder: Path) -> list[Path]:
    """epoch0.pt, epoch1.pt … in the order they were made."""
    return sorted(folder.glob("epoch*.pt"), key=lambda path: int(path.stem.removeprefix("epoch")))


def blend(start: Path, trained: Sequence[Path], share: float, out: Path) -> Path:
    """Write start + share * (mean of trained - start) as a checkpoint: averaging keeps what fine-tuning forgot.

    All must be the same network. Wortsman et al. (2022), "Robust fine-tuning of zero-shot models" and "Model soups".
    """
    if not trained:
        raise ValueError("a blend needs at least one trained checkpoint")
    old, target = load_network(start).model.float(), load_network(trained[0])
    new = [load_network(path).model.float().state_dict() for path in trained]
    mixed = {}
    for name, value in old.state_dict().items():
        if value.is_floating_point():
            mean = torch.stack([state[name] for state in new]).mean(dim=0)
            mixed[name] = value + share * (mean - value)
        else:
            mixed[name] = new[0][name]
    network = target.model
    network.load_state_dict(mixed)
    network.args = old.args
    out.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"model": network.half(), "train_args": {}, "epoch": -1}, out)
    return out
