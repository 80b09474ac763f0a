"""The one gate into a run directory: which configuration may enter it, and as what.

Whatever trains, queues, scores or exports a run passes it before it writes a byte.
"""

from collections.abc import Mapping
from enum import Enum
from pathlib import Path

from dsva.config import Config, load
from dsva.evaluation.results import Results
from dsva.provenance.starts import noted_inputs
from dsva.run_directory import ASKED, CHECKPOINTS, CONFIG, JOB, LOCK, REFUSED, RESULTS, STARTS
from dsva.runs.identity import FIGURES, FREE, differences
from dsva.yaml_files import read_mapping
from shards.errors import UserError


class DamagedRecordError(UserError):
    """The configuration that a run has noted is gone, cannot be read, or not to its end.

    Attributes:
        reason: with the file.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"{reason}: `dsva train` with the configuration that the run began with writes it anew, and goes on")


class Standing(Enum):
    """What a configuration finds in its run directory."""

    NEW = "nothing"
    BEGUN = "its own run, to be continued"
    COMPLETE = "its own run, with the results of the last step"


def admit(folder: Path, config: Config, inputs: Mapping[str, str] | None = None) -> Standing:
    """Say what a configuration finds in the run directory `folder`; nothing is written.

    Args:
        folder: the run directory; it need not exist.
        config: that wants to train, go on or be scored there.
        inputs: digests of what it trains on, as `Experiment.hashes` gives them; None does not compare them.

    Raises:
        UserError: there is another run, one that was submitted and has not begun, or something else.
    """
    if (folder / CONFIG).is_file() or (folder / STARTS).is_file():
        try:
            refuse_other(folder, recorded(folder), config)
        except DamagedRecordError as damage:
            _compare_otherwise(folder, config, inputs or {}, damage)
        _refuse_other_inputs(folder, inputs or {})
        return Standing.COMPLETE if _complete(folder, config.train.steps) else Standing.BEGUN
    ours = (LOCK, REFUSED, JOB, f".{CONFIG}.writing")  # the last from a start that was killed right away
    if folder.is_dir() and any(entry.name not in ours for entry in folder.iterdir()):
        raise UserError(f"run.dir={folder} is not empty and holds no run: give a new folder")
    if asked := _asked(folder):
        refuse_other(
            folder, asked, config, " that has not begun", f"; or cancel the job that waits for it, and delete {folder / JOB}"
        )
    return Standing.NEW


def recorded(folder: Path) -> Config:
    """Return the configuration that the run in `folder` has noted.

    Raises:
        DamagedRecordError: it is damaged.
    """
    file = folder / CONFIG
    try:
        found, values = load(file), read_mapping(file)
    except UserError as error:
        raise DamagedRecordError(f"the run's record is damaged, {str(error).rpartition(': ')[0]}") from None
    if "seed" not in values.get("run", {}):  # what follows it in the file says nothing of what is computed
        raise DamagedRecordError(f"the run's record is damaged, {file} is cut off before run.seed")
    return found


def refuse_other(folder: Path, before: Config, now: Config, which: str = "", mend: str = "") -> None:
    """Raise a UserError, of a run `which` says and with one `mend` more, unless `now` computes what the run with `before` does."""
    if changed := list(differences(before, now, FREE | FIGURES)):
        was, wanted = (", ".join(f"{key}={values[place]}" for key, *values in changed) for place in (0, 1))
        raise UserError(
            f"run.dir={folder} holds a run{which} with {was}, not {wanted}: give another run.dir, or what it began with{mend}"
        )


def _compare_otherwise(folder: Path, config: Config, inputs: Mapping[str, str], damage: DamagedRecordError) -> None:
    """Compare a configuration with what a job was asked for and with the newest checkpoint, where the record is damaged.

    Raises:
        UserError: it is another run's, or neither of them is there.
    """
    from dsva.runs.checkpoint import newest  # noqa: PLC0415
    from dsva.runs.checkpoint_match import refuse_other as refuse_other_checkpoint  # noqa: PLC0415 (imports torch)

    asked, (found, _) = _asked(folder), newest(folder / CHECKPOINTS)
    if asked:
        refuse_other(folder, asked, config)
    if found and found.state.config:
        refuse_other_checkpoint(found, config, inputs)
    elif not asked:
        raise UserError(
            f"{damage.reason}, and nothing else in {folder} says what the run computes: put {CONFIG} back, or give another run.dir"
        ) from None


def _refuse_other_inputs(folder: Path, inputs: Mapping[str, str]) -> None:
    noted = noted_inputs(folder)
    if noted is None and inputs:  # a run of an earlier version, of which only checkpoints know
        from dsva.runs.checkpoint import newest  # noqa: PLC0415
        from dsva.runs.checkpoint_match import refuse_other_inputs  # noqa: PLC0415 (imports torch)

        found, _ = newest(folder / CHECKPOINTS)
        if found:
            refuse_other_inputs(found, inputs)
    noted = noted or {}
    for key, now in inputs.items():
        if str(noted.get(key, now)) != now:
            raise UserError(
                f"run.dir={folder} holds a run on {key} of digest {str(noted[key])[:12]}, its content now has {now[:12]}: give "
                "what the run began with, or another run.dir"
            )


def _asked(folder: Path) -> Config | None:
    """Return the configuration that a job will begin the run with; None where there is none that a job could read."""
    try:
        return load(folder / ASKED)
    except UserError:
        return None


def _complete(folder: Path, steps: int) -> bool:
    try:
        return Results.read(folder / RESULTS).provenance.checkpoint_step == steps
    except UserError:
        return False
