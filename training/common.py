"""Shared by all recipes: a training loop with a time budget, EMA, cosine schedule, resume and log.

Random numbers are drawn from a generator seeded by (seed, step), so a resumed run draws the same
numbers as an uninterrupted one and no generator state has to be stored.
"""

from __future__ import annotations

import argparse
import copy
import json
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn

from core.sources import state_dicts
from core.sources.checksums import file_sha256, shipped_sums

log = logging.getLogger("training")

WEIGHTS = Path(__file__).resolve().parent.parent / "weights"
GUIDE = "training/DATA.md describes its contents"

#: (model, generator of this step) -> scalar loss
LossFn = Callable[[nn.Module, np.random.Generator], torch.Tensor]


@dataclass(frozen=True)
class LoopConfig:
    """How long and how fast to train.

    `minutes` is CPU time of this process (wall time on a GPU); `steps`, when given, replaces it,
    which makes a run repeatable bit by bit.
    """

    minutes: float = 10.0
    steps: int | None = None
    lr: float = 1e-3
    plain_lr: float = 0.2  # of lr, for parameters that Muon leaves to AdamW
    learned_lr: float = 0.04  # of lr, with Muon, for parts that were trained before
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.0
    warmup_steps: int = 100
    final_lr: float = 0.01  # of lr
    ema: float = 0.999
    clip: float = 1.0  # largest norm of the gradient
    bf16: bool | None = None  # None: if the CPU supports it, see `fast_bf16`
    seed: int = 0
    save_seconds: float = 60.0


def fast_bf16(device: torch.device) -> bool:
    """Whether `device` multiplies natively in bfloat16. A CPU that only emulates it is ten times
    slower than with fp32; all CPUs that PyTorch lists for it are fast."""
    if device.type == "cpu":
        return bool(torch.cpu.get_capabilities().get("avx512_bf16"))
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


def cosine(progress: float, final: float) -> float:
    """Factor on the learning rate: 1 at progress 0, `final` at progress 1."""
    progress = min(max(progress, 0.0), 1.0)
    return final + (1.0 - final) * 0.5 * (1.0 + math.cos(math.pi * progress))


@torch.no_grad()
def update_ema(ema: nn.Module, model: nn.Module, decay: float, step: int) -> None:
    """ema <- decay * ema + (1 - decay) * model, with a shorter memory in the first steps."""
    decay = min(decay, (1.0 + step) / (10.0 + step))
    mean: list[torch.Tensor] = list(ema.parameters())
    torch._foreach_lerp_(mean, list[torch.Tensor](model.parameters()), 1.0 - decay)
    for target, source in zip(ema.buffers(), model.buffers(), strict=True):
        target.copy_(source)


def descend(
    loss: torch.Tensor, model: nn.Module, optimizer: torch.optim.Optimizer, clip: float
) -> None:
    """One step down the gradient of `loss`, whose norm is at most `clip`."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), clip)
    optimizer.step()


def save_state(state: dict[str, Any], path: Path) -> None:
    """Write atomically: an interruption keeps the previous file."""
    partial = path.with_name(f"{path.name}.part")
    torch.save(state, partial)
    partial.replace(path)


class Trainer:
    """Trains `model` by a loss function and keeps `ema`, the average that gets exported.

    `folder` receives `last.pt` (everything needed to resume) and `log.jsonl` (one line per save);
    if it already holds a `last.pt`, the run resumes from it.
    """

    def __init__(self, model: nn.Module, config: LoopConfig, folder: Path) -> None:
        self.model, self.config, self.folder = model, config, folder
        self.ema = copy.deepcopy(model).eval().requires_grad_(False)
        trained = [p for p in model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            trained, config.lr, betas=config.betas, weight_decay=config.weight_decay
        )
        self.device = next(model.parameters()).device
        self.bf16 = fast_bf16(self.device) if config.bf16 is None else config.bf16
        self.clock = time.process_time if self.device.type == "cpu" else time.monotonic
        self.step, self.seconds = 0, 0.0
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / "last.pt").exists():
            self.load()

    @property
    def progress(self) -> float:
        """Share of the budget already spent, 0 to 1."""
        if self.config.steps is not None:
            return self.step / self.config.steps
        return self.seconds / (60.0 * self.config.minutes)

    def fit(self, loss_of: LossFn, until_step: int | None = None) -> None:
        """Train until the budget is spent (or until `until_step`), saving periodically.

        Does nothing if the resumed run has already spent the budget.
        """
        started, before = self.clock(), self.seconds
        saved, losses, first = self.seconds, list[float](), self.step
        while self.progress < 1.0 and (until_step is None or self.step < until_step):
            losses.append(self._step(loss_of))
            self.seconds = before + self.clock() - started
            if self.seconds - saved >= self.config.save_seconds:
                saved = self.seconds
                self._record(losses)
                losses.clear()
                self.save()
        if losses:
            self._record(losses)
        if self.step > first:
            self.save()

    def _step(self, loss_of: LossFn) -> float:
        config = self.config
        rng = np.random.default_rng([config.seed, self.step])
        torch.manual_seed(int(rng.integers(2**31)))
        rate = config.lr * cosine(self.progress, config.final_lr)
        rate *= min(1.0, (self.step + 1) / config.warmup_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.model.train()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            loss = loss_of(self.model, rng)
        descend(loss, self.model, self.optimizer, config.clip)
        self.step += 1
        update_ema(self.ema, self.model, config.ema, self.step)
        return float(loss.detach())

    def _record(self, losses: list[float]) -> None:
        line = {
            "step": self.step,
            "minutes": round(self.seconds / 60.0, 2),
            "loss": round(float(np.mean(losses)), 5),
            "lr": self.optimizer.param_groups[0]["lr"],
        }
        log.info("%s %s", self.folder.name, line)
        with (self.folder / "log.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")

    def save(self) -> None:
        """Write `last.pt` atomically: an interruption keeps the previous one."""
        state = {
            "model": self.model.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
        }
        save_state(state, self.folder / "last.pt")

    def load(self) -> None:
        """Resume from `last.pt`."""
        state = torch.load(self.folder / "last.pt", map_location=self.device, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.ema.load_state_dict(state["ema"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.seconds = state["step"], state["seconds"]
        log.info("%s: resuming at step %d", self.folder.name, self.step)


def arguments(description: str, minutes: float) -> argparse.ArgumentParser:
    """The options of all recipes: data, minutes, runs, threads, seed."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder with the training pictures")
    parser.add_argument("--benchmarks", type=Path, help="folder with pictures never to train on")
    parser.add_argument("--evaluate", action="store_true", help="measure a starter, train nothing")
    parser.add_argument(
        "--weights", type=Path, help="file to measure; the shipped starter if left out"
    )
    parser.add_argument("--minutes", type=float, default=minutes, help="CPU minutes to train")
    parser.add_argument("--steps", type=int, help="steps to train, instead of minutes: repeatable")
    parser.add_argument("--lr", type=float, help="first learning rate; the recipe's if left out")
    parser.add_argument(
        "--ship",
        action="store_true",
        help="replace the starter in weights/ instead of filling runs",
    )
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where runs are kept")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    return parser


def read_options(parser: argparse.ArgumentParser, measured_on: str = "data") -> argparse.Namespace:
    """Parse and check the command line; set up threads and logging.

    Args:
        measured_on: "data" or "benchmarks", the folder that `--evaluate` needs.
    """
    options = parser.parse_args()
    needed = measured_on if options.evaluate else "data"
    if getattr(options, needed) is None:
        parser.error(f"--{needed} is needed, a folder with pictures: {GUIDE}")
    prepare(options.threads)
    return options


def measured_file(options: argparse.Namespace, key: str) -> Path:
    """The starter file that `--evaluate` measures."""
    return options.weights or WEIGHTS / f"{key}.safetensors"


def destination(options: argparse.Namespace, key: str) -> Path:
    """Where a trained starter is saved: in the runs folder, or in place of the shipped one."""
    folder: Path = WEIGHTS if options.ship else options.runs
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{key}.safetensors"


def deliver(path: Path) -> None:
    """Log the path of a new starter; if there is a `SHA256SUMS` beside it, update its line.

    A shipped starter with a different checksum would count as damaged.
    """
    sums = path.with_name("SHA256SUMS")
    if not sums.is_file():
        log.info("written; try it with VISION_HUB_CHECKPOINTS=%s make run", path)
        return
    known = shipped_sums(sums) | {path.name: file_sha256(path)}
    lines = [f"{digest}  {name}\n" for name, digest in sorted(known.items())]
    sums.write_text("".join(lines), "utf-8")
    log.info("%s is replaced: update its card and run `make test`", path.name)


def mean_weights(first: Path, second: Path, share: float = 0.5) -> state_dicts.StateDict:
    """(1 - share) * first + share * second, weight by weight, of two starter files.

    Raises:
        ValueError: the networks have different weights.
    """
    a, b = state_dicts.read(first), state_dicts.read(second)
    if {k: v.shape for k, v in a.items()} != {k: v.shape for k, v in b.items()}:
        raise ValueError(f"{first.name} and {second.name} are different networks.")
    return {  # counters are not floats
        name: torch.lerp(value.float(), b[name].float(), share).to(value.dtype)
        for name, value in a.items()
    }


def measured(scores: Callable[[], dict[str, float]], needed: bool) -> None:
    """Log the scores; after a training run, missing data only cause a warning.

    Raises:
        SystemExit: data are missing, and the scores are `needed`.
    """
    try:
        found = scores()
    except SystemExit as missing:
        if needed:
            raise
        log.warning("not measured: %s", missing)
        return
    log.info("measured: %s", {name: round(value, 4) for name, value in found.items()})


ConfigT = TypeVar("ConfigT")


def with_budget(config: ConfigT, options: argparse.Namespace) -> ConfigT:
    """`config` with the minutes or steps and the seed of the command line in its `loop`."""
    whole: Any = config
    return replace(whole, loop=budgeted(whole.loop, options))


def budgeted(loop: LoopConfig, options: argparse.Namespace) -> LoopConfig:
    """`loop` with the minutes or steps, the learning rate and the seed of the command line."""
    lr = options.lr or loop.lr
    return replace(loop, minutes=options.minutes, steps=options.steps, lr=lr, seed=options.seed)


def prepare(threads: int) -> None:
    """Threads of torch, and log lines with the time of day on the terminal."""
    torch.set_num_threads(threads)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
