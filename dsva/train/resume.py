"""Where a run goes on: at its newest checkpoint, or, after too many bad steps, at one before them."""

import logging
from collections.abc import Mapping
from pathlib import Path

from dsva.config import Config
from dsva.processes.ranks import Ranks
from dsva.run_directory import CHECKPOINTS
from dsva.runs.checkpoint import Checkpoint, Chosen, best, newest
from dsva.runs.checkpoint_format import stored
from dsva.runs.checkpoint_match import refuse_other
from dsva.runs.course import Course
from dsva.runs.folders import discard, tidy
from dsva.runs.progress import gone, how_to_go_on, lost, note_saved
from dsva.train.bad_steps import GoBackError, note
from shards.errors import UserError

log = logging.getLogger(__name__)


def find_start(
    config: Config, ranks: Ranks, inputs: Mapping[str, str], back: GoBackError | None
) -> tuple[Checkpoint | None, Course]:
    """Return the checkpoint to go on from, none for step 0, and the run's course there; every rank calls this.

    Args:
        config: of the run.
        ranks: rank 0 reads and hashes for all, which then agree on it.
        inputs: digests of what the run is trained on.
        back: why the run goes back, if it does.

    Raises:
        UserError: the checkpoint is of another run, or was trained on other inputs, or the run has lost its checkpoints.
    """
    found: Checkpoint | None = None
    said: list[str] = []

    def find() -> None:
        nonlocal found, said
        tidy(config.run.dir / CHECKPOINTS)
        found, said = _find(config, back)
        if found is None and back is None and lost(config.run.dir):
            raise UserError(how_to_go_on(config.run.dir, said, best(config.run.dir / CHECKPOINTS)[0]))
        if found is not None:
            refuse_other(found, config, inputs)
            said += found.notes
        if back is None:
            said += gone(config.run.dir)

    ranks.on_rank_0(find)
    found = ranks.broadcast(found)
    step = found.step if found else 0
    course = back.course.back_at(step, back.failed) if back else found.state.course if found else Course()
    if ranks.rank == 0:
        for sentence in said:
            log.warning(sentence)
        if back:
            passed = back.failed + 1
            log.warning("too many bad steps: going back to step %d, and on with the batches after those of step %d", step, passed)
            note_saved(config.run.dir, step)
            _drop_newer(config.run.dir / CHECKPOINTS, step)
            note(config.run.dir, went_back_to=step, shift=course.shift)
        log.info(f"continuing from {found.path}" if found else "starting from step 0")
    return found, course


def _find(config: Config, back: GoBackError | None) -> Chosen:
    folder, every = config.run.dir / CHECKPOINTS, config.run.checkpoint_every
    if back is None:
        return newest(folder)
    # Not those in between that a signal or a good score has led to: going back must lead to the same run with them or without.
    sound = back.course.sound(back.failed, config.faults.skip_window)
    return newest(folder, among=lambda step: step <= sound and step % every == 0)


def _drop_newer(folder: Path, step: int) -> None:
    for checkpoint in stored(folder):
        if checkpoint.step > step:
            discard(checkpoint.path)
