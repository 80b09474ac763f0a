"""What programs call: `import dsva` has these names, and imports what each needs when it is called."""

import math
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from dsva.config import Config, HeadName
from dsva.config import load as load_config
from dsva.exit_codes import signal_of
from dsva.run_directory import RESULTS
from dsva.train.stopping import StoppedError
from shards.errors import UserError
from shards.index import ShardSet

if TYPE_CHECKING:
    from dsva.evaluation.results import Results
    from dsva.inference.model import Model

# Imports of torch and what needs it stay inside the functions, so that `import dsva` costs nothing.
# ruff: noqa: PLC0415


def open_set(path: Path | str) -> ShardSet:
    """Open a shard set that `dsva pack` wrote: its classes, and key, label and size of each of its images.

    Raises:
        UserError: not a shard set, damaged, or made by a newer version.
    """
    return ShardSet.open(path)


def load(
    path: Path | str,
    *,
    head: HeadName = "proto",
    classes: Sequence[str] = (),
    new: Sequence[str] = (),
    rows: Path | str | None = None,
    clip: str | None = None,
    gamma: float | None = None,
) -> "Model":
    """Load a trained model: a run directory, or a folder that `dsva checkpoint export` wrote.

    A run's model answers as `dsva predict` does. An exported one does where the run trained in float32 on images that are squares
    of data.resize, or not all of one size: the folder does not tell more. It holds no gamma, so its scores of seen classes are
    not comparable with those of unseen ones unless `gamma` is given.

    Args:
        path: of the folder.
        head: which of the two heads decides, `proto` or `main`.
        classes: the candidates: classes by name, or `seen` or `unseen` for those of the run; none takes all of the run, or,
            where there are new ones, no other.
        new: classes as `Name` or `Name: description`, see `dsva predict --new`; a run's model only.
        rows: file of further classes, see `dsva predict --rows`; a run's model only.
        clip: CLIP model that reads the descriptions of `new`.
        gamma: subtracted from the scores of classes seen in training; none takes the run's.

    Raises:
        UserError: neither of the two, a part of it is missing or damaged, or a class that it does not know.
    """
    import torch

    from dsva.inference.model import Model
    from dsva.inference.viewer import New, Viewer
    from dsva.model.exported import CONFIG

    if head not in get_args(HeadName):
        raise UserError(f"head={head!r} is no head: give proto or main")
    if gamma is not None and not (isinstance(gamma, int | float) and math.isfinite(gamma)):
        raise UserError(f"gamma={gamma!r} is no finite number: correct it, or leave it out")
    folder, classes, new = Path(path), _names("classes", classes), _names("new", new)
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder: give a run directory, or a model that `dsva checkpoint export` wrote")
    with torch.random.fork_rng(devices=[]):  # weights begin as random numbers, on the CPU
        if not (folder / CONFIG).is_file():
            return Model.of_run(Viewer.open(folder, head, classes, New(Path(rows) if rows else None, new, clip), gamma))
        if new or rows or clip:
            raise UserError(f"{folder} is an exported model, which sorts into its own classes only: load the run for new ones")
        return Model.exported(folder, head, classes, gamma)


def _names(what: str, given: Sequence[str]) -> tuple[str, ...]:
    """Return names as they are meant: a single one may be given by itself."""
    names = (given,) if isinstance(given, str) else tuple(given)
    if wrong := [name for name in names if not isinstance(name, str) or not name]:
        raise UserError(f"{what}: {wrong[0]!r} is no name: give texts")
    return names


def fit(config: Config | Path | str, overrides: Sequence[str] = (), *, from_scratch: bool = False) -> "Results":
    """Train, or continue, a run and score it, as `dsva train` does.

    In the main thread, a signal that would stop `dsva train` has the run saved; then the program's own handler gets it:
    Ctrl-C raises KeyboardInterrupt. Afterwards the environment, the signal handlers and torch's settings are as before. A run that
    hangs ends the process; `faults.hang_seconds=0` leaves it.

    Args:
        config: a YAML file, or a configuration.
        overrides: values of the file to change, as `section.key=value`.
        from_scratch: set aside what the run has written so far, and begin anew.

    Returns:
        The results of the finished run; `results.provenance.run_dir` is its directory.

    Raises:
        UserError: anything that is wrong with what was given, before the first step; or bad steps without end.
        StoppedError: the program's own handler of the signal came back; the same call continues the run.
    """
    from dsva.train.run import run

    if isinstance(config, Config):
        if overrides:
            raise UserError(f"overrides {' '.join(overrides)} are for a file: change the configuration that is given")
    else:
        config = load_config(config, overrides)
    if stopped := signal_of(run(config, from_scratch)):
        signal.raise_signal(stopped)
        raise StoppedError(stopped)
    return read_results(config.run.dir)


def read_results(path: Path | str) -> "Results":
    """Read the results of a scored run: its directory, or a results.json.

    Raises:
        UserError: none are there, or not of this version.
    """
    from dsva.evaluation.results import Results

    path = Path(path)
    return Results.read(path if path.is_file() else path / RESULTS)
