"""From a sweep file to cells: splits x protocols x values x seeds, each a resolved configuration with an identity."""

import hashlib
import itertools
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from dsva.config import Config, HeadName, load
from dsva.files import write_atomically
from dsva.json_files import read_model
from dsva.runs.identity import SAME_CELL
from dsva.settings import RelativeToFile, Section, absolute, read
from launch.slurm.batch import ClusterConfig
from launch.submission.estimate import Estimate
from launch.submission.start import Checked, check
from shards.errors import UserError
from shards.files import file_sha256

MANIFEST = "manifest.json"


class Variant(Section):
    """One split or protocol: what it changes."""

    config: RelativeToFile | None = None
    """Configuration to begin with, relative to the sweep file; none takes the sweep's own."""
    set: dict[str, Any] = Field(default_factory=dict)
    """Values by dotted key."""


class Exceptional(Section):
    """What one split changes under one protocol only."""

    split: str
    """Name of the split."""
    protocol: str
    """Name of the protocol."""
    set: dict[str, Any]
    """Values by dotted key."""


class SweepConfig(Section):
    """A sweep file, configs/sweeps/*.yaml."""

    config: RelativeToFile | None = None
    """Configuration to begin with, relative to the sweep file."""
    set: dict[str, Any] = Field(default_factory=dict)
    """Values of every cell, by dotted key."""
    splits: dict[str, Variant]
    """Class splits by name."""
    protocols: dict[str, Variant]
    """Protocols by name, such as ZSL and GZSL."""
    seeds: tuple[int, ...] = (0,)
    """Values of run.seed."""
    vary: dict[str, tuple[Any, ...]] = Field(default_factory=dict)
    """Further keys, with the values that each takes."""
    exceptions: tuple[Exceptional, ...] = ()
    """What single cells change beside."""
    head: HeadName = "proto"
    """Head whose figures the table shows."""
    published: dict[str, dict[str, dict[str, float]]] = Field(default_factory=dict)
    """Figures to show beside, in percent, by split, protocol and column."""
    cluster: ClusterConfig = ClusterConfig()
    """What each cell asks of Slurm."""
    at_once: int = Field(default=16, ge=1)
    """Cells that run at the same time."""


class Cell(BaseModel):
    """One run of a sweep; `identity` hashes what it computes and on which images."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    split: str
    protocol: str
    seed: int
    varied: dict[str, Any]
    steps: int
    batch_size: int
    identity: str

    @property
    def row(self) -> tuple[str, str, str]:
        """Split, protocol and varied values: cells that differ only in their seed share a row of the table."""
        return self.split, self.protocol, ", ".join(f"{key}={value}" for key, value in self.varied.items())


@dataclass(frozen=True)
class Planned:
    """A cell that was checked, with its resolved configuration, what is known of its inputs, and what it will take."""

    cell: Cell
    config: Config
    checked: Checked
    estimate: Estimate


class Manifest(BaseModel):
    """The frozen list of cells of a sweep."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1] = 1
    sweep: SweepConfig
    overrides: tuple[str, ...]
    cells: tuple[Cell, ...]

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        """Read the manifest of the sweep in `folder`.

        Raises:
            UserError: there is none, or it is not one of ours.
        """
        if not (folder / MANIFEST).is_file():
            raise UserError(f"{folder} holds no sweep (it has no {MANIFEST}): give the folder that `dsva sweep start` wrote")
        return read_model(folder / MANIFEST, cls, "put it back, or start the sweep again in a new folder")[0]

    def write(self, folder: Path) -> None:
        """Write the manifest in one step."""
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / MANIFEST, self.model_dump_json(indent=1) + "\n")


def read_sweep(file: Path) -> SweepConfig:
    """Read a sweep file.

    Raises:
        UserError: unreadable, unknown key, or a value out of range.
    """
    return read(SweepConfig, file)


def expand(sweep: SweepConfig, overrides: Sequence[str], folder: Path) -> list[Planned]:
    """Return every cell with its resolved, checked configuration; nothing is written.

    Args:
        sweep: what to expand.
        overrides: `section.key=value`, for every cell.
        folder: of the sweep; run directories lie below it.

    Raises:
        UserError: the first thing that is wrong with any cell.
    """
    checks: dict[str, Checked] = {}
    found: list[Planned] = []
    for values in _combinations(sweep):
        split, protocol, seed, varied = values
        config = _configuration(sweep, values, overrides)
        inputs = json.dumps([config.model_dump(mode="json", exclude={"run", "model", "loss", "optimizer"})], sort_keys=True)
        if inputs not in checks:  # seeds and the like change nothing that is checked
            checks[inputs] = check(config, sweep.cluster.processes)
        checked = checks[inputs]
        identity = _identity(config, checked.inputs["data.shards"])
        name = "-".join(re.sub(r"[^\w.+]+", "_", str(part)) for part in (split, protocol, *varied.values(), f"seed{seed}"))
        name = f"{name}-{identity[:8]}"
        config = config.model_copy(update={"run": config.run.model_copy(update={"dir": folder.absolute() / "cells" / name})})
        sizes = {"steps": config.train.steps, "batch_size": config.data.batch_size}
        cell = Cell(name=name, split=split, protocol=protocol, seed=seed, varied=varied, identity=identity, **sizes)
        found.append(Planned(cell, config, checked, Estimate.of(config, checked.attributes, sweep.cluster)))
    if len({planned.cell.identity for planned in found}) < len(found):
        raise UserError(
            "two cells of the sweep compute the same: their values, or the overrides, make no difference; leave one out"
        )
    return found


Values = tuple[str, str, int, dict[str, Any]]


def _combinations(sweep: SweepConfig) -> Iterator[Values]:
    keys = list(sweep.vary)
    for split, protocol, *rest in itertools.product(sweep.splits, sweep.protocols, *sweep.vary.values(), sweep.seeds):
        yield split, protocol, rest[-1], dict(zip(keys, rest[:-1], strict=True))


def _configuration(sweep: SweepConfig, values: Values, overrides: Sequence[str]) -> Config:
    split, protocol, seed, varied = values
    changes = {**sweep.set, **sweep.splits[split].set, **sweep.protocols[protocol].set}
    for exception in sweep.exceptions:
        if (exception.split, exception.protocol) == (split, protocol):
            changes |= exception.set
    changes |= {**varied, "run.seed": seed}
    base = sweep.protocols[protocol].config or sweep.splits[split].config or sweep.config
    if base is None:
        raise UserError(f"the sweep names no `config` for split {split}, protocol {protocol}: add one to the sweep file")
    return absolute(load(base, [*(f"{key}={json.dumps(value)}" for key, value in changes.items()), *overrides]))


def _identity(config: Config, digest: str) -> str:
    """Hash what is computed: the configuration without what may differ between starts, and the contents of its files."""
    values = config.model_dump(mode="json")
    files = {key: values["classes"][key] for key in ("attributes", "splits")}
    for section, key in {*SAME_CELL, *(("classes", key) for key in files)}:
        values[section].pop(key)
    contents = {key: file_sha256(Path(path)) for key, path in files.items() if path}
    text = json.dumps([values, contents, digest], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
