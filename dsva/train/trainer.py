"""One process's side of a training run: model, data, optimizer, and what is done with them."""

import math
import time
from collections.abc import Callable, Iterator
from statistics import fmean
from typing import Any

import torch
import xxhash
from torch import Tensor

from dsva.cost import Shape, peak_flops
from dsva.evaluation.evaluate import evaluate
from dsva.evaluation.metrics import Decisions
from dsva.evaluation.results import measure
from dsva.model.losses import Losses
from dsva.pixels import training_pixels
from dsva.processes.ranks import Ranks
from dsva.protocol.experiment import Experiment
from dsva.runs.checkpoint import EMA, MODEL, OPTIMIZER
from dsva.runs.checkpoint_match import refuse_unfit, whose
from dsva.train.bad_steps import BadSteps, GoBackError
from dsva.train.ema import Ema
from dsva.train.engine import make_deterministic
from dsva.train.engine_choice import build_engine
from dsva.train.metrics_log import Stopwatch
from dsva.train.optimizer import BACKBONE, NORM, set_learning_rate
from dsva.train.phases import Phases
from dsva.train.resume import find_start
from dsva.train.saving import Saver
from dsva.train.schedule import learning_rate_factor
from dsva.train.stragglers import slowest
from dsva.usage import Power, device_name
from shards.decode import Pixels
from shards.loader import Batch, Loader, common_side
from shards.order import Episodes, Order, Shifted, ShuffledEpochs, part

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
        owes_validation: whether the validation after the last of those was cut short by a signal.
        saver: of its checkpoints.
        phases: what this process is doing.
    """

    def __init__(self, experiment: Experiment, ranks: Ranks, phases: Phases, back: GoBackError | None = None) -> None:
        """Begin where the run's newest checkpoint left off, or go back to an earlier one.

        Args:
            experiment: the data side of the run.
            ranks: all processes; each has a trainer and calls it alike.
            phases: is told what this process is doing.
            back: why the run goes back, if it does.

        Raises:
            UserError: the checkpoint does not fit the experiment.
        """
        config = experiment.config
        self._experiment, self._config, self._ranks = experiment, config, ranks
        make_deterministic(config.run.seed)
        checkpoint, course = find_start(config, ranks, experiment.hashes(), back)
        model = experiment.build_model()
        # What never moves and can be had again is not saved.
        self._frozen = config.train.heads_only_steps >= config.train.steps and config.model.backbone != "random"
        self._whose = whose(config, experiment.hashes(), ranks.world_size, model if self._frozen else None)
        if checkpoint:
            refuse_unfit(checkpoint, config, model)
            checkpoint.restore_weights(model, mean=False)
        self.engine = build_engine(model, config, ranks)
        self._parameters = [p for p in self.engine.plain.parameters() if p.requires_grad]
        self._ema = Ema(self.engine, config.train.ema) if config.train.ema else None
        if checkpoint:
            self.engine.restore_moments(checkpoint.tensors(OPTIMIZER))
        if checkpoint and self._ema:
            self._ema.restore(checkpoint.tensors(EMA))
        self.start, self.owes_validation = (checkpoint.step, checkpoint.state.owes_validation) if checkpoint else (0, False)
        self.saver = Saver(config.run.dir, ranks, config.run)
        seen_rows = experiment.class_rows(ranks.device).part(slice(experiment.sets.n_seen))
        self._losses = Losses(seen_rows, config.loss, config.model.region_weight)
        self._order = Shifted(sample_order(experiment), course.shift)
        self._bad = BadSteps(config.faults, course, config.run.dir, ranks.rank)
        self._watch, self.phases, self._power = Stopwatch(), phases, Power(ranks.device)
        self._shape = Shape.of(config, len(experiment.table.names))

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
        for step in range(self.start, self._config.train.steps):
            self.phases.measure((step + 1) % self._config.run.log_every == 0 or step + 1 == self._config.train.steps)
            self.phases.enter("data")
            asked = time.perf_counter()
            batch = next(batches)
            self._watch.waited(time.perf_counter() - asked, len(batch.ids))
            yield batch

    def step(self, batch: Batch) -> dict[str, Tensor]:
        """Take one optimizer step; return this rank's share of each loss term, and the gradient's norm.

        A step whose loss or gradient is not finite on any rank changes nothing on all of them.

        Raises:
            GoBackError: there were too many such steps.
            UserError: the same, and the run has gone back often enough.
        """
        config, engine = self._config, self.engine
        if config.optimizer.reset_moments and batch.step % config.optimizer.epoch_steps == 0:
            engine.forget_moments()
        heads_only = self._heads_only(batch.step)
        frozen = (NORM,) if heads_only and not config.optimizer.train_head_norm else ()
        idle = (BACKBONE,) if heads_only else ()
        set_learning_rate(engine.optimizer, learning_rate_factor(batch.step, config.optimizer, config.train), frozen, idle)
        pieces = [part(len(batch.ids), i, config.train.accumulation) for i in range(config.train.accumulation)]
        terms: dict[str, Tensor] = {}
        for piece in pieces:
            with engine.accumulating(last=piece is pieces[-1]):
                for name, value in self._accumulate(batch, piece).items():
                    terms[name] = terms.get(name, 0) + value
        self.phases.enter("update")
        norm = engine.apply()
        self.phases.enter("agreement")
        if not norm.isfinite():
            self._bad.skip(batch.step, [self._experiment.shards.key(int(sample)) for sample in self._order.batch(batch.step)])
        elif self._ema:
            self._ema.update(batch.step)
        return {**{f"loss/{name}": value for name, value in terms.items()}, "gradient_norm": norm}

    def _heads_only(self, step: int) -> bool:
        return step < self._config.train.heads_only_steps

    def _accumulate(self, batch: Batch, piece: slice) -> dict[str, Tensor]:
        config, device = self._config, self._ranks.device
        self.phases.enter("forward")
        heads_only = self._heads_only(batch.step)
        images = torch.from_numpy(batch.images[piece]).to(device, non_blocking=True)
        labels = torch.from_numpy(self._experiment.sets.labels[batch.ids[piece]]).to(device)
        pixels = training_pixels(images, config.data, config.run.seed, batch.step, batch.positions[piece])
        outputs = self.engine.model(pixels, regions=config.model.regions and not heads_only, backbone_grad=not heads_only)
        terms = self._losses(outputs, labels, share=len(labels) / config.data.batch_size, fine_tuning=not heads_only)
        self.phases.enter("backward")
        with self.phases.last_gradient(self._parameters):
            self.engine.backward(terms["total"])
        return {name: value.detach() for name, value in terms.items()}

    def metrics(self, batch: Batch, terms: dict[str, Tensor]) -> dict[str, Any]:
        """Return what is logged of a step, figures that are not finite left out; every rank calls this at the same steps."""
        ranks, groups = self._ranks, self.engine.optimizer.param_groups
        names = [name for name in terms if name.startswith("loss/")]
        totals = ranks.all_sum(torch.stack([terms[name] for name in names])).tolist()
        values: dict[str, Any] = dict(zip(names, totals, strict=True))
        values["gradient_norm"] = float(terms["gradient_norm"])
        values = {name: value for name, value in values.items() if math.isfinite(value)}
        values |= {f"lr/{group['part']}": group["lr"] for group in groups if group["part"] != "norm"}
        values |= self._watch.read(ranks.world_size, ranks.device)
        values |= self._spending(values["images_per_second"], self._heads_only(batch.step))
        # A fingerprint of the global batch: two runs that agree here saw the same images in the same order.
        values["batch"] = xxhash.xxh3_64_hexdigest(self._order.batch(batch.step).tobytes())
        return values

    def _spending(self, images_per_second: float, heads_only: bool) -> dict[str, float]:
        """Return TFLOP/s of one process, their share of its device's peak, all devices' power, and the slowest ranks."""
        a_step = self._shape.step_flops(self._config.model.regions, heads_only)
        flops = images_per_second / self._ranks.world_size * a_step
        values = {"tflops": flops / 1e12}
        if peak := peak_flops(device_name(self._ranks.device)):
            values["mfu"] = flops / peak
        gathered = self._ranks.all_gather((self.phases.seconds(), self._power.watts()))
        if all(spent for spent, _ in gathered):
            values |= slowest([spent for spent, _ in gathered])
        if all(watts is not None for _, watts in gathered):
            values["watts"] = sum(watts for _, watts in gathered)
        return values

    def evaluate(self, between: Callable[[], object]) -> dict[str, Decisions]:
        """Decide on all test images, with the running mean of the weights where there is one; every rank calls this.

        `between` is called before each batch, by all ranks equally often; what it raises ends the evaluation.
        """
        with self.phases.during("validation"), self.engine.evaluated(self._ema) as model:
            return evaluate(self._experiment, model, self._ranks, between)

    def validate(self, between: Callable[[], object]) -> dict[str, float]:
        """Return the figures of a validation run's classes, H at its best gamma, and their mean; every rank calls this."""
        values = {}
        for head, decisions in self.evaluate(between).items():
            measured = measure(decisions, self._experiment.sets.classes, 0.0, "validation")
            values[f"validation/{head}/zsl"] = measured.zsl
            if measured.gzsl:
                values[f"validation/{head}/harmonic"] = measured.gzsl.best_harmonic
        return values | {SCORE: fmean(values.values())}

    def save(self, step: int, score: float | None = None, owes_validation: bool = False) -> bool:
        """Save everything that `step` steps have led to; every rank calls this.

        Args:
            step: optimizer steps taken.
            score: on the validation classes, where they were looked at.
            owes_validation: whether they are still to be looked at after this step.

        Returns:
            Whether there was room for it.
        """
        course, window = self._bad.course, self._config.faults.skip_window
        now = {"step": step, "score": score, "owes_validation": owes_validation, "course": course}
        with self.phases.during("save"):
            return self.saver.save(self._whose.model_copy(update=now), self._tensors(), course.sound(step, window))

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
