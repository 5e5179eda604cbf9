# SPDX-License-Identifier: AGPL-3.0-or-later
"""``straw1530 bench confirm``: the confirmation against "k of the last n frames", on the same model's finds.

Real films (hill-road fog by day, a tower before its first smoke) and composites (plumes, look-alikes that drift or come
and go with the light, pictures that do not move) are counted apart. A rule raises a false alarm where nothing burns;
single frames raise one with each frame that has a find. "k of n" reports again after n frames without a find. On
composites the box's own confirmation is also measured as the box works: quick looks at first, and on suspicion.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks import figures, films
from benchmarks.films import Film
from detector.errors import DetectorError
from detector.frame import Frame, Image
from detector.judgement.confirm import Confirmer
from detector.judgement.gaze import Gaze
from detector.judgement.hits import Box, Hit
from detector.judgement.judge import WEAK, judge
from detector.judgement.params import ConfirmParams
from detector.measure.dataset import DatasetError, Split
from detector.measure.metrics import Proportion
from detector.vision.gate import small
from detector.vision.model import BACKENDS, SHIPPED, Detection, Model, load_model
from detector.vision.skyline import DEFAULT, Horizon, horizon

START = datetime(2026, 1, 1, tzinfo=UTC)
RULES = ((1, 1), (2, 2), (2, 3), (3, 3), (3, 5), (4, 6))
BURST_S = 2
NEAR = 0.03
"""An alarm within so much of the frame of the plume's place is the plume's."""
SEED = 1530
QUICK = frozenset({"plume", "look-alike", "still"})
"""Films that can be looked at at any moment."""

Alarm = tuple[float, Box]


@dataclass(frozen=True, slots=True)
class Seen:
    """A film as the box sees it: seconds and finds of each look in its plain pace, weak ones included; and what its
    confirmation makes of it with quick looks."""

    name: str
    group: str
    step_s: float
    onset_s: float | None
    place: Box | None
    looks: list[tuple[float, list[Hit]]]
    alarms: list[Alarm]

    def is_plume(self, box: Box) -> bool:
        """Whether a box is at the plume's place."""
        x1, y1, x2, y2 = self.place or (0.0, 0.0, 1.0, 1.0)
        return box[0] < x2 + NEAR and box[2] > x1 - NEAR and box[1] < y2 + NEAR and box[3] > y1 - NEAR


Rule = Callable[[Seen], list[Alarm]]


class Memory:
    """The model, asked once for each picture that it is shown; with a file at `path` also over several runs."""

    def __init__(self, model: Model, path: Path | None) -> None:
        self.card, self.backend = model.card, model.backend
        self._model, self._path = model, path
        self._known: dict[str, list[Detection]] = {}
        for line in path.read_text(encoding="utf-8").splitlines() if path and path.exists() else []:
            view, finds = json.loads(line)
            self._known[view] = [Detection(tuple(box), sure, label) for box, sure, label in finds]

    def detect(self, image: Image, confidence: float, zoom: int = 1) -> list[Detection]:
        """As the model; for one picture and zoom always the same confidence."""
        shown = hashlib.sha256(image.tobytes()).hexdigest()[:24]
        view = f"{self.card.sha256[:12]} {shown} {image.shape[1]} {zoom}"
        if view not in self._known:
            found = self._known[view] = self._model.detect(image, confidence, zoom)
            if self._path is not None:
                finds = [(each.box, each.confidence, each.label) for each in found]
                with self._path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps((view, finds), default=float) + "\n")
        return self._known[view]


def see(model: Memory, film: Film, group: str) -> Seen:
    """Look at a film as the box does but for the gate: in its plain pace, and with quick looks too where it shows any
    moment."""
    line = horizon(small(film.picture(film.times[0]))) or DEFAULT
    plain, looks = Gaze(Horizon(line), gated=False), []
    for at in film.times:
        looks.append((at, plain.look(model, _frame(film, at), WEAK * model.card.confidence)))
    seen = Seen(film.name, group, film.step_s, film.onset_s, film.place, looks, [])
    if film.kind == "real":
        return seen
    confirmer, gaze, at = Confirmer(ConfirmParams().for_interval(film.step_s)), Gaze(Horizon(line), gated=False), 0.0
    while at <= film.times[-1]:
        _, sightings = judge(model, confirmer, _frame(film, at), model.card.confidence, gaze=gaze)
        seen.alarms.extend((at, each.hits[-1].box) for each in sightings)
        at += BURST_S if confirmer.suspicious or not gaze.settled else film.step_s
    return seen


def _frame(film: Film, at: float) -> Frame:
    return Frame(film.picture(at), START + timedelta(seconds=at), at, 1, film.name)


def all_films(data: Path, split: Split, few: bool) -> Iterable[tuple[str, Film]]:
    """Each film with its group. Hill-road days and backdrops are of one side of the split."""
    yield from (("sequence", film) for film in films.sequences(data))
    yield from (("fog", film) for film in films.fog_days(data, split))
    count = 4 if few else 20
    yield from (("plume", film) for film in films.plumes(data, split, count, SEED))
    yield from (("look-alike", film) for film in films.lookalikes(data, split, 1 if few else 4, SEED))
    yield from (("still", film) for film in films.stills(data, split, 4 if few else 40))


def of_last(k: int, n: int, threshold: float) -> Rule:
    """An alarm when `k` of the last `n` frames have a find at `threshold`; again after `n` frames without."""

    def rule(seen: Seen) -> list[Alarm]:
        alarms, lately, alarmed = [], list[bool](), False
        for at, hits in seen.looks:
            sure = [hit for hit in hits if hit.confidence >= threshold]
            lately = [*lately, bool(sure)][-n:]
            if sum(lately) >= k and sure and (not alarmed or k == n == 1):
                alarms.append((at, sure[0].box))
                alarmed = True
            elif not any(lately):
                alarmed = False
        return alarms

    return rule


def ours(seen: Seen) -> list[Alarm]:
    """The box's own confirmation, in the plain pace."""
    confirmer = Confirmer(ConfirmParams().for_interval(seen.step_s))
    found = []
    for at, hits in seen.looks:
        found += [(at, each.hits[-1].box) for each in confirmer.step(START + timedelta(seconds=at), hits)]
    return found


def with_bursts(seen: Seen) -> list[Alarm]:
    """The same as the box works, where the film can show it."""
    return seen.alarms if seen.group in QUICK else ours(seen)


def judged(seen: Sequence[Seen], rule: Rule) -> dict[str, Any]:
    """What a rule makes of all films."""
    result: dict[str, Any] = {"real": {}, "composite": {}}
    fog = [len(rule(each)) for each in seen if each.group == "fog"]
    result["real"]["fog"] = {"days": len(fog), "false_alarms": sum(fog)}
    for each in seen:
        if each.group == "sequence" and each.onset_s:
            alarms = rule(each)
            after = [at for at, _ in alarms if at >= each.onset_s]
            result["real"][each.name] = {
                "false_alarms_before_onset": len(alarms) - len(after),
                "delay_frames": round((after[0] - each.onset_s) / each.step_s) if after else None,
            }
    for group in ("look-alike", "still"):
        alarms_of = {each.name: len(rule(each)) for each in seen if each.group == group}
        result["composite"][group] = {
            "films": len(alarms_of),
            "false_alarms": sum(alarms_of.values()),
            "of": {name: count for name, count in alarms_of.items() if count},
        }
    result["composite"]["plume"] = _plumes([each for each in seen if each.group == "plume"], rule)
    return result


def _plumes(seen: Sequence[Seen], rule: Rule) -> dict[str, Any]:
    """Found or not, within the film; a backdrop on which something is found there before ignition says nothing."""
    delays: list[float] = []
    false = 0
    fair = [
        each
        for each in seen
        if not any(each.is_plume(hit.box) for at, hits in each.looks if at < (each.onset_s or 0.0) for hit in hits)
    ]
    for each in fair:
        onset = each.onset_s or 0.0
        alarms = rule(each)
        found = [at - onset for at, box in alarms if at >= onset and each.is_plume(box)]
        false += len([at for at, box in alarms if at < onset or not each.is_plume(box)])
        delays += found[:1]
    return {
        "found": Proportion(len(delays), len(fair)).as_json(),
        "mean_delay_s": round(sum(delays) / len(delays), 1) if delays else None,
        "false_alarms": false,
    }


def main(argv: Sequence[str]) -> int:
    """0 when there are at least four times fewer false alarms than in single frames, and no plume fewer is found."""
    parser = argparse.ArgumentParser(prog="straw1530 bench confirm", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with sequences/, negatives/ …")
    parser.add_argument("--split", choices=("validation", "test"), default="test")
    parser.add_argument("--few", action="store_true", help="fewer composites: some minutes less")
    parser.add_argument("--model", type=Path, default=SHIPPED)
    parser.add_argument("--backend", choices=BACKENDS, default="auto")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cache", type=Path, metavar="FILE", help="keep what the model sees, and go on from there")
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args(argv)
    try:
        model = Memory(load_model(args.model, args.backend, args.threads), args.cache)
        seen = []
        for group, film in all_films(args.data, args.split, args.few):
            seen.append(see(model, film, group))
            print(f"{film.name}: {len(seen[-1].looks)} looks", file=sys.stderr)
    except (DetectorError, DatasetError, OSError, ValueError) as error:
        print(f"straw1530 bench confirm: {error}", file=sys.stderr)
        return 2
    rules = {f"{k} of {n}": of_last(k, n, model.card.confidence) for k, n in RULES}
    rules |= {"ours, plain pace": ours, "ours": with_bursts}
    results = {name: judged(seen, rule) for name, rule in rules.items()}
    figures.write(args.json, "confirm", {"model": model.card.sha256, "split": args.split, "rules": results})
    return 0 if _kept(results["1 of 1"], results["ours"]) else 1


def _kept(single: dict[str, Any], own: dict[str, Any]) -> bool:
    def false(result: dict[str, Any], kind: str) -> int:
        return sum(
            each.get("false_alarms", 0) + each.get("false_alarms_before_onset", 0) for each in result[kind].values()
        )

    fewer = all(4 * false(own, kind) <= false(single, kind) for kind in ("real", "composite"))
    found = [result["composite"]["plume"]["found"]["hits"] for result in (own, single)]
    return fewer and found[0] >= found[1]
