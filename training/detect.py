"""Train both detectors: `python -m training.detect --data DIR --minutes 40`.

The trunk stays as it is: `training.detectors_maps` stores its maps of `DIR/voc` once, and the
detectors learn on those. First the convolutional one learns alone; then the RT-DETR's decoder joins
on the same pyramid. The rate is constant, and falls to nothing at the end. A run that is given more
minutes goes on from `steady.pt`, before the fall.

`--start FOLDER` begins a run from the two starters in FOLDER. Both then learn from the first step,
and the rate only falls: while it is high the decoder stays much worse than it is at the end.

`--evaluate` scores the exported files on the held-out pictures, from the pictures themselves.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from core.nets import detector
from core.sources import state_dicts
from training import common, detectors_export, detectors_judge, detectors_maps
from training import detectors_data as data
from training import detectors_net as net
from training.common import LoopConfig, descend, log, save_state, update_ema
from training.muon import muon

PLAIN = (
    "enc_score_head",
    "class_embed",
    "layers.2.weight",
    "sampling_offsets",
    "attention_weights",
)


@dataclass(frozen=True)
class Config:
    """When what begins, as shares of the run; and the sizes of a step."""

    decoder_from: float = 0.3
    fall_from: float = 0.92
    mosaics: float = 0.0  # share of the pictures that are put together from several
    batch: int = 16
    lr: float = 0.006
    plain: float = 0.2  # share of the rate for what Muon does not train
    clip: float = 5.0
    ema: float = 0.995
    measure_every: float = 3.0  # minutes


#: Of a run that begins from starters.
GOING_ON = Config(decoder_from=0.0, fall_from=0.0, lr=0.003, ema=0.998)


class Run:
    """A run that resumes: `last.pt` after every half minute, `best.pt` by the sum of both AP50."""

    def __init__(self, options: argparse.Namespace, config: Config, folder: Path) -> None:
        self.options, self.config, self.folder = options, config, folder
        torch.manual_seed(options.seed)
        self.model, self.ema = _lean(), _lean()
        net.initialise(self.model)
        self.ema.load_state_dict(self.model.state_dict())
        self.ema.eval().requires_grad_(False)
        self.cnn, _ = net.dense_of(self.model)
        loop = LoopConfig(lr=config.lr, plain_lr=config.plain, weight_decay=0.01)
        self.optimizer = muon(self.model, loop, PLAIN)
        self.step, self.minutes, self.decoding, self.best = 0, 0.0, False, 0.0
        if options.start is not None:
            self._begin_from(options.start)
        self.resume()

    def _begin_from(self, starters: Path) -> None:
        full, many = (
            state_dicts.read(starters / f"{key}.safetensors")
            for key in (detectors_export.KEYS["rt-detr"], detectors_export.KEYS["cnn"])
        )
        basis = torch.load(self.folder / "basis.pt", weights_only=True)
        state = detectors_export.lean(full, many, basis)
        own = {name: state[name] for name in self.model.state_dict()}
        self.model.load_state_dict(own)
        self.ema.load_state_dict(own)
        self.decoding = True

    @property
    def progress(self) -> float:
        """Share of the budget already spent, 0 to 1."""
        if self.options.steps is not None:
            return float(self.step / self.options.steps)
        return float(self.minutes / self.options.minutes)

    def rate(self) -> float:
        """The learning rate of the next step."""
        fall = min(1.0, (1.0 - self.progress) / (1.0 - self.config.fall_from))
        return self.config.lr * fall * min(1.0, (self.step + 1) / 200)

    def one_step(self, sampler: data.Sampler) -> dict[str, float]:
        """Learn from one batch; the parts of its loss."""
        config = self.config
        if self.progress >= config.decoder_from and not self.decoding:
            self._begin_decoder()
        rng = np.random.default_rng([self.options.seed, self.step])
        maps, targets = sampler.batch(config.batch, config.mosaics, rng)
        for group in self.optimizer.param_groups:
            group["lr"], group["fallback_lr_scale"] = self.rate(), config.plain
        self.model.train()
        loss, parts = net.step_loss(self.model, self.cnn, maps, targets, self.decoding)
        descend(loss, self.model, self.optimizer, config.clip)
        self.step += 1
        update_ema(self.ema, self.model, config.ema, self.step)
        return parts

    def _begin_decoder(self) -> None:
        net.begin_decoder(self.model)
        self.decoding = True
        state = {k: v for k, v in self.model.state_dict().items() if "decoder." in k}
        self.ema.load_state_dict(self.ema.state_dict() | state)

    def fit(self, sampler: data.Sampler, test: data.View, held: list[int]) -> None:
        """Train until the budget is spent; measure on the held-out pictures now and then."""
        shown = measured = self.minutes
        sums: list[dict[str, float]] = []
        while self.progress < 1.0:
            begun = time.process_time()
            sums.append(self.one_step(sampler))
            self.minutes += (time.process_time() - begun) / 60
            over = self.progress >= 1.0
            if self.minutes - shown < 0.5 and not over:
                continue
            shown = self.minutes
            line: dict[str, Any] = {"step": self.step, "minutes": round(self.minutes, 2)}
            for part in sums[-1]:  # the decoder's parts begin later
                line[part] = round(float(np.mean([s[part] for s in sums if part in s])), 4)
            sums.clear()
            if held and (over or self.minutes - measured >= self.config.measure_every):
                measured = self.minutes
                line |= self._measure(test, held)
            log.info("%s", json.dumps(line))
            with (self.folder / "log.jsonl").open("a") as file:
                file.write(json.dumps(line) + "\n")
            self.save("last.pt")
            if self.progress < self.config.fall_from:
                self.save("steady.pt")

    def _measure(self, test: data.View, held: list[int]) -> dict[str, float]:
        found = net.evaluate(self.ema, test, held, self.decoding)
        if sum(found.values()) > self.best:
            self.best = sum(found.values())
            self.save("best.pt")
        return found

    def save(self, name: str) -> None:
        """Write all that is needed to resume."""
        state = {key: getattr(self, key) for key in ("step", "minutes", "decoding", "best")}
        for key in ("model", "ema", "optimizer"):
            state[key] = getattr(self, key).state_dict()
        save_state(state, self.folder / name)

    def resume(self) -> None:
        """Go on from `last.pt`; with more minutes than the fall began at, from `steady.pt`."""
        paths = [self.folder / name for name in ("last.pt", "steady.pt")]
        for path in [path for path in paths if path.exists()]:
            state = torch.load(path, weights_only=True)
            self.step, self.minutes = state["step"], state["minutes"]
            self.decoding, self.best = state["decoding"], state["best"]
            for key in ("model", "ema", "optimizer"):
                getattr(self, key).load_state_dict(state[key])
            if self.progress >= 1.0 or self.progress < self.config.fall_from:
                log.info("resuming at step %d", self.step)
                return


def _lean() -> Any:
    model = net.lean(detector.build(detector.config(data.CLASSES), data.HEAD, data.REST))
    return model.to(memory_format=torch.channels_last)


def main() -> None:
    """Train and export, or measure the exported starters."""
    parser = common.arguments(__doc__ or "", 40.0)
    parser.add_argument("--start", type=Path, help="folder of two starters to begin from")
    options = common.read_options(parser)
    folder, pictures = options.runs / "detect", options.data / "voc"
    if not any((pictures / "JPEGImages").glob("*.jpg")):
        raise SystemExit(f"No pictures in {pictures / 'JPEGImages'}: see training/DATA.md.")
    files = [common.measured_file(options, key) for key in detectors_export.KEYS.values()]
    if not options.evaluate:
        detectors_maps.store(pictures, folder)
        config = GOING_ON if options.start else Config()
        run = Run(options, replace(config, lr=options.lr or config.lr), folder)
        view, names, rows = data.load(folder / "cache", "A")
        held = [i for i in rows if data.held_out(names[i])]
        run.fit(data.Sampler([(view, sorted({*rows} - {*held}))]), view, held)
        basis = torch.load(folder / "basis.pt", weights_only=True)
        target = common.destination(options, next(iter(detectors_export.KEYS.values()))).parent
        files = list(detectors_export.export(run.ema.state_dict(), basis, target).values())
        for file in files:
            common.deliver(file)
    for file in [options.weights] if options.weights else files:
        value, count = detectors_judge.ap50(file, pictures)
        log.info("%s AP50 %.3f on %d held-out pictures", file.name, value, count)


if __name__ == "__main__":
    main()
