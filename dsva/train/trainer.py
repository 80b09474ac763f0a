"""One process's side of a training run: model, data, optimizer, and what is done with them."""

import time
from collections.abc import Iterator
from statistics import fmean
from typing import Any

import torch
import xxhash
from rich.console import Console
from torch import Tensor

from dsva.experiment import Experiment
from dsva.model.losses import Losses
from dsva.pixels import training_pixels
from dsva.ranks import Ranks
from dsva.train.checkpoint import EMA, MODEL, OPTIMIZER, Checkpoint, backbone_sha256, newest
from dsva.train.ema import Ema
from dsva.train.engine import make_deterministic
from dsva.train.metrics import Stopwatch
from dsva.train.optimizer import BACKBONE, NORM, set_learning_rate
from dsva.train.record import CHECKPOINTS
from dsva.train.saving import Saver
from dsva.train.schedule import factor
from dsva.train.zero import build_engine
from dsva.zeroshot.evaluate import evaluate
from dsva.zeroshot.results import measure
from dsva.zeroshot.scores import Decisions
from shards.decode import Pixels
from shards.errors import UserError
from shards.loader import Batch, Loader, common_side
from shards.order import Episodes, Order, ShuffledEpochs, part

SCORE = "validation/score"  # by which checkpoints are compared


def sample_order(experiment: Experiment) -> Order:
    """Return the order of the training images: class-balanced episodes or shuffled epochs, over the seen classes only."""
    data, sets, seed = experiment.config.data, experiment.sets, experiment.config.run.seed
    if data.ways:
        return Episodes(sets.train, sets.labels[sets.train], data.ways, data.batch_size // data.ways, seed)
    return ShuffledEpochs(sets.train, data.batch_size, seed, experiment.shards.records["shard"][sets.train], data.block_shards)


class Trainer:
    """Steps, logs, saves and restores.

    Attributes:
        engine: the wrapped model and optimizer.
        start: steps that were taken before this process began.
    """

    def __init__(self, experiment: Experiment, ranks: Ranks, console: Console) -> None:
        config = experiment.config
        self._experiment, self._config, self._ranks = experiment, config, ranks
        make_deterministic(config.run.seed)
        self._folder = config.run.dir / CHECKPOINTS
        checkpoint = self._newest(console)
        model = experiment.build_model()
        # What never moves and can be had again is not saved.
        self._frozen = config.train.heads_only_steps >= config.train.steps and config.model.backbone != "random"
        self._left_out = {"backbone": config.model.backbone, "sha256": backbone_sha256(model)} if self._frozen else None
        if checkpoint:
            checkpoint.restore_weights(model, mean=False)
        self.engine = build_engine(model, config, ranks)
        self._ema = Ema(self.engine, config.train.ema) if config.train.ema else None
        if checkpoint:
            self.engine.restore_moments(checkpoint.tensors(OPTIMIZER))
        if checkpoint and self._ema:
            self._ema.restore(checkpoint.tensors(EMA))
        self.start = checkpoint.step if checkpoint else 0
        self.saver = Saver(self._folder, ranks, config.run, console)
        seen_rows = experiment.class_rows(ranks.device).part(slice(experiment.sets.n_seen))
        self._losses = Losses(seen_rows, config.loss, config.model.region_weight)
        self._order = sample_order(experiment)
        self._watch = Stopwatch()
        self._finite = torch.ones((), dtype=torch.bool, device=ranks.device)

    def batches(self) -> Iterator[Batch]:
        """Yield this rank's part of every step that is still to be taken, and count the time it was waited for."""
        data, ranks = self._config.data, self._ranks
        side = common_side(self._experiment.shards, data.resize)
        loader = Loader(
            self._experiment.shards,
            self._order,
            side,
            ranks.rank,
            ranks.world_size,
            data.workers,
            data.prefetch,
            self._pixel_buffer,
        )
        batches = loader.batches(self.start, self._config.train.steps)
        while True:
            asked = time.perf_counter()
            batch = next(batches, None)
            if batch is None:
                return
            self._watch.waited(time.perf_counter() - asked, len(batch.ids))
            yield batch

    def step(self, batch: Batch) -> dict[str, Tensor]:
        """Take one optimizer step; return this rank's share of each loss term, and the gradient's norm."""
        config, engine = self._config, self.engine
        if config.optimizer.reset_moments and batch.step % config.optimizer.epoch_steps == 0:
            engine.forget_moments()
        heads_only = self._heads_only(batch.step)
        frozen = (NORM,) if heads_only and not config.optimizer.train_head_norm else ()
        idle = (BACKBONE,) if heads_only else ()
        set_learning_rate(engine.optimizer, factor(batch.step, config.optimizer, config.train), frozen, idle)
        pieces = [part(len(batch.ids), i, config.train.accumulation) for i in range(config.train.accumulation)]
        terms: dict[str, Tensor] = {}
        for piece in pieces:
            with engine.accumulating(last=piece is pieces[-1]):
                for name, value in self._accumulate(batch, piece).items():
                    terms[name] = terms.get(name, 0) + value
        norm = engine.apply()
        self._finite &= norm.isfinite()
        if self._ema:
            self._ema.update(batch.step)
        return {**{f"loss/{name}": value for name, value in terms.items()}, "gradient_norm": norm}

    def _heads_only(self, step: int) -> bool:
        return step < self._config.train.heads_only_steps

    def _accumulate(self, batch: Batch, piece: slice) -> dict[str, Tensor]:
        config, device = self._config, self._ranks.device
        heads_only = self._heads_only(batch.step)
        images = torch.from_numpy(batch.images[piece]).to(device, non_blocking=True)
        labels = torch.from_numpy(self._experiment.sets.labels[batch.ids[piece]]).to(device)
        pixels = training_pixels(images, config.data, config.run.seed, batch.step, batch.positions[piece])
        outputs = self.engine.model(pixels, regions=config.model.regions and not heads_only, backbone_grad=not heads_only)
        terms = self._losses(outputs, labels, share=len(labels) / config.data.batch_size, fine_tuning=not heads_only)
        self.engine.backward(terms["total"])
        return {name: value.detach() for name, value in terms.items()}

    def metrics(self, batch: Batch, terms: dict[str, Tensor]) -> dict[str, Any]:
        """Return what is logged of a step; every rank calls this at the same steps.

        Raises:
            UserError: the gradients are not finite any more.
        """
        ranks, groups = self._ranks, self.engine.optimizer.param_groups
        names = [name for name in terms if name.startswith("loss/")]
        totals = ranks.total(torch.stack([terms[name] for name in names])).tolist()
        values: dict[str, Any] = dict(zip(names, totals, strict=True))
        self._refuse_if_not_finite(batch.step + 1)
        values["gradient_norm"] = float(terms["gradient_norm"])
        values |= {f"lr/{group['part']}": group["lr"] for group in groups if group["part"] != "norm"}
        values |= self._watch.read(ranks.world_size, ranks.device)
        # A fingerprint of the global batch: two runs that agree here saw the same images in the same order.
        values["batch"] = xxhash.xxh3_64_hexdigest(self._order.batch(batch.step).tobytes())
        return values

    def _refuse_if_not_finite(self, step: int) -> None:
        # Looked at when something is written only, since the host has to wait for the device to know.
        if not self._finite:
            raise UserError(
                f"the loss or its gradient is not finite at step {step} or shortly before: lower optimizer.lr and "
                f"optimizer.backbone_lr, or raise optimizer.warmup_steps; {self._folder} keeps the last good checkpoint"
            )

    def evaluate(self) -> dict[str, Decisions]:
        """Decide on all test images, with the running mean of the weights where there is one; every rank calls this."""
        with self.engine.evaluated(self._ema) as model:
            return evaluate(self._experiment, model, self._ranks)

    def validate(self) -> dict[str, float]:
        """Return the figures of a validation run's classes, H at its best gamma, and their mean; every rank calls this."""
        values = {}
        for head, decisions in self.evaluate().items():
            measured = measure(decisions, self._experiment.sets.classes, 0.0, "validation")
            values[f"validation/{head}/zsl"] = measured.zsl
            if measured.gzsl:
                values[f"validation/{head}/harmonic"] = measured.gzsl.best_harmonic
        return values | {SCORE: fmean(values.values())}

    def save(self, step: int, score: float | None = None) -> bool:
        """Save everything that `step` steps have led to; every rank calls this.

        Args:
            step: optimizer steps taken.
            score: on the validation classes, where they were looked at.

        Returns:
            Whether there was room for it.

        Raises:
            UserError: the gradients are not finite any more.
        """
        self._refuse_if_not_finite(step)
        engine = self._config.train.engine
        facts = {"inputs": self._experiment.hashes(), "world_size": self._ranks.world_size, "engine": engine}
        return self.saver.save(step, self._tensors(), {**facts, "left_out": self._left_out}, score)

    def _pixel_buffer(self, shape: tuple[int, ...]) -> Pixels:
        # Pinned where it goes to a GPU, so that copies do not wait.
        pixels: Pixels = torch.empty(shape, dtype=torch.uint8, pin_memory=self._ranks.device.type == "cuda").numpy()
        return pixels

    def _tensors(self) -> Iterator[tuple[str, Tensor]]:
        sources = {MODEL: self.engine.weights(), OPTIMIZER: self.engine.moments()}
        if self._ema:
            sources[EMA] = self._ema.weights()
        for kind, tensors in sources.items():
            for name, tensor in tensors:
                if not (self._frozen and name.startswith(f"{BACKBONE}.")):
                    yield f"{kind}/{name}", tensor

    def _newest(self, console: Console) -> Checkpoint | None:
        # Rank 0 reads and hashes it for all, which then agree on it.
        checkpoint, damaged = self._ranks.first(newest(self._folder) if self._ranks.rank == 0 else None)
        if self._ranks.rank == 0:
            for sentence in damaged:
                console.print(f"[bold yellow]warning:[/] {sentence}")
            console.print(f"continuing from {checkpoint.path}" if checkpoint else "starting from step 0")
        if checkpoint is not None:
            checkpoint.refuse_other(self._experiment.hashes())
        found: Checkpoint | None = checkpoint
        return found
