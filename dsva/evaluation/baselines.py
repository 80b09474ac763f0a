"""Baselines beside every result: simple ways to the same figures, on the same images and candidates."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dsva.evaluation.linear_baselines import METHODS, fitted
from dsva.evaluation.metrics import Decisions, decide
from dsva.evaluation.rank_batches import Between, shared
from dsva.model.backbone import build_backbone
from dsva.model.dsva import DSVA
from dsva.model.prompts import PROMPTS, TextTower
from dsva.model.scores import class_rows
from dsva.pixels import eval_pixels
from dsva.processes.ranks import Ranks
from dsva.protocol.experiment import Experiment
from shards.hashing import BASELINE, hashes
from shards.order import Ids

MAX_TRAIN = 50_000  # training images that the linear maps are fitted to at most, chosen by hashes
MIN_DEVIATION = 1e-6  # a feature that does not vary says nothing


def baselines(experiment: Experiment, model: DSVA, ranks: Ranks, between: Between = lambda: None) -> dict[str, Decisions]:
    """Decide on every test image without what the run trained: linear maps on frozen features, and text prompts.

    The features are the mean tokens of the backbone as it was before training, or, where it began with random weights,
    as training left it.

    Args:
        experiment: of the run.
        model: trained, on the device of `ranks`.
        ranks: every one calls this and gets the same.
        between: see `dsva.evaluation.rank_batches`.

    Returns:
        By baseline, decisions in the order of the sample ids; `text prompts` only where the backbone has a text tower.
    """
    config, sets = experiment.config, experiment.sets
    test = np.sort(np.concatenate([sets.seen_test, sets.unseen_test]))
    train = np.sort(sets.train[np.argsort(hashes(BASELINE, sets.train), kind="stable")[:MAX_TRAIN]])
    pretrained = config.model.backbone != "random"
    backbone = build_backbone(config.model, config.data.image_size).to(ranks.device) if pretrained else model.backbone
    backbone.eval()

    def tokens(pixels: Tensor) -> Tensor:
        return backbone(pixel_values=pixels).last_hidden_state.float().mean(1)  # type: ignore[no-any-return]

    features = standardised(*(_gathered(experiment, tokens, ids, ranks, between) for ids in (train, test)))
    found = linear(experiment, *features, sets.labels[train], sets.labels[test])
    tower = TextTower.of(config.model.backbone, ranks.device) if pretrained else None
    if tower:
        classes = tower.classes(sets.classes)
        images = _gathered(experiment, tower.images, test, ranks, between).astype(np.float64)
        found[PROMPTS] = decide(images @ classes.T, sets.labels[test], sets.n_seen)
    return found


def linear(
    experiment: Experiment, train: NDArray[np.float64], test: NDArray[np.float64], train_labels: Ids, test_labels: Ids
) -> dict[str, Decisions]:
    """Fit the linear maps to training features [N, D] and decide on test features [M, D]; rows as for cosine scores.

    Scores are in units of their deviation over training images and seen classes: their own scale hangs on the strengths that
    were chosen, and a gamma would not carry over from a validation run that chose others.
    """
    sets = experiment.sets
    strengths = torch.from_numpy(experiment.table.rows(sets.classes))
    cosine = experiment.config.scores.model_copy(update={"kind": "cosine"})
    values = class_rows(strengths, sets.n_seen, cosine)
    rows = values.compared(values.values).double().numpy()
    found = {}
    for method, (_, score, _) in METHODS.items():
        weights, _ = fitted(method, train, train_labels, rows[: sets.n_seen])
        unit = max(float(score(train, weights, rows[: sets.n_seen]).std()), MIN_DEVIATION)
        found[method] = decide(score(test, weights, rows) / unit, test_labels, sets.n_seen)
    return found


def standardised(train: NDArray[np.float32], test: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scale features by the mean and deviation of the training images."""
    mean, deviation = train.mean(0, dtype=np.float64), train.std(0, dtype=np.float64)
    scale = np.where(deviation > MIN_DEVIATION, 1 / np.maximum(deviation, MIN_DEVIATION), 0)
    return (train - mean) * scale, (test - mean) * scale


@torch.no_grad()
def _gathered(
    experiment: Experiment, embed: Callable[[Tensor], Tensor], ids: Ids, ranks: Ranks, between: Between
) -> NDArray[np.float32]:
    """Return what `embed` makes of the images, in the order of `ids` (ascending), on every rank; ranks share the work."""
    config, mine = experiment.config, []
    for batch in shared(experiment, ids, ranks, between):
        pixels = eval_pixels(torch.from_numpy(batch.images).to(ranks.device), config.data)
        with torch.autocast(ranks.device.type, torch.bfloat16, enabled=config.train.precision == "bf16"):
            mine.append((batch.ids, embed(pixels).float().cpu().numpy()))
    gathered = [part for parts in ranks.all_gather(mine) for part in parts]
    placed = np.argsort(np.concatenate([part for part, _ in gathered]))
    features: NDArray[np.float32] = np.concatenate([values for _, values in gathered])[placed]
    return features
