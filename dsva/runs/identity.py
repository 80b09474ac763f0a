"""What tells runs apart: which values of a configuration are what a run computes, and which only how it is carried out.

Two configurations are of the same run for its directory if they differ in `FREE` and `FIGURES` only (`dsva.runs.gate`), for its
checkpoints in `OPEN` only (`dsva.runs.checkpoint_match`); for a sweep they are the same cell if they differ in `SAME_CELL` only
(`launch.sweep.plan`).
"""

from collections.abc import Iterator
from typing import Any

from dsva.config import Config
from dsva.settings import absolute

Key = tuple[str, str]
# What may differ between starts of one run: it changes how the run is carried out, not what it computes.
# Of the inputs, their content is known: they may have been moved.
FREE: set[Key] = {("data", "shards"), ("classes", "attributes"), ("classes", "splits"), ("run", "dir")}
FREE |= {("data", "workers"), ("data", "prefetch"), ("run", "log_every"), ("run", "keep")}
FREE |= {("run", "checkpoint_every"), ("run", "keep_every"), ("run", "async_save")}
FREE |= {("train", "engine"), ("train", "deepspeed"), ("train", "accumulation"), ("model", "gradient_checkpointing")}
FREE |= {("eval", "batch_size"), ("validation", "every"), ("faults", "hang_seconds")}
# These change nothing that is learnt, but the figures: a run that is complete is scored with others by `dsva eval`.
FIGURES: set[Key] = {("eval", "gamma"), ("eval", "validation_run")}
# What the backbone held is in a checkpoint's weights, or was left out of it and has a hash there.
OPEN = FREE | FIGURES | {("model", "backbone")}
# Accumulation and gradient checkpointing may change while a run goes on; a sweep may vary them.
SAME_CELL = FREE - {("train", "accumulation"), ("model", "gradient_checkpointing")}


def differences(before: Config, now: Config, but: set[Key]) -> Iterator[tuple[str, Any, Any]]:
    """Yield (dotted key, value before, value now) of all that differs but for some keys; a path is where it leads to from here."""
    old, new = before.model_dump(mode="json"), now.model_dump(mode="json")
    there, here = (absolute(config).model_dump(mode="json") for config in (before, now))
    for section, values in new.items():
        for key, value in values.items():
            if (section, key) not in but and there[section][key] != here[section][key]:
                yield f"{section}.{key}", old[section][key], value
