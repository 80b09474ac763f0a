"""Where a run goes on: at its newest checkpoint, or, after too many bad steps, at one before them."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from dsva.config import Config
from dsva.ranks import Ranks
from dsva.train.bad_steps import Course, GoBackError, note
from dsva.train.checkpoint import Checkpoint, newest, stored
from dsva.train.gate import CHECKPOINTS


def beginning(
    config: Config, ranks: Ranks, inputs: Mapping[str, str], back: GoBackError | None, console: Console
) -> tuple[Checkpoint | None, Course]:
    """Return the checkpoint to go on from, none for step 0, and the run's course there; every rank calls this.

    Args:
        config: of the run.
        ranks: rank 0 reads and hashes for all, which then agree on it.
        inputs: digests of what the run is trained on.
        back: why the run goes back, if it does.
        console: is told of it.

    Raises:
        UserError: the checkpoint was trained on other inputs.
    """
    found: Checkpoint | None
    found, damaged = ranks.first(_find(config, back) if ranks.rank == 0 else None)
    if found is not None:
        found.refuse_other(inputs)
    step = found.step if found else 0
    course = back.course.back_at(step, back.failed) if back else Course.of(found.state() if found else {})
    if ranks.rank == 0:
        for sentence in damaged:
            console.print(f"[bold yellow]warning:[/] {escape(sentence)}")
        if back:
            console.print(
                f"[bold red]warning:[/] too many bad steps: going back to step {step}, and on with the batches "
                f"after those of step {back.failed + 1}"
            )
            _drop_newer(config.run.dir / CHECKPOINTS, step)
            note(config.run.dir, console, went_back_to=step, shift=course.shift)
        console.print(f"continuing from {found.path}" if found else "starting from step 0", markup=False, soft_wrap=True)
    return found, course


def _find(config: Config, back: GoBackError | None) -> tuple[Checkpoint | None, list[str]]:
    folder, every = config.run.dir / CHECKPOINTS, config.run.checkpoint_every
    if back is None:
        return newest(folder)
    # Not those in between that a signal or a good score has led to: going back must lead to the same run with them or without.
    sound = back.course.sound(back.failed, config.faults.skip_window)
    return newest(folder, among=lambda step: step <= sound and step % every == 0)


def _drop_newer(folder: Path, step: int) -> None:
    for checkpoint in stored(folder):
        if checkpoint.step > step:
            shutil.rmtree(checkpoint.path)
