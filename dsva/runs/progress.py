"""How far a run has come, told apart from its checkpoints, so that it never begins anew by accident."""

import json
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from dsva.files import read_lines, write_atomically
from dsva.run_directory import BAD_STEPS, BEFORE, CHECKPOINTS, DECISIONS, METRICS, PAGE, RESULTS, SAVED, STARTS, TABLES, TENSORBOARD
from dsva.runs.checkpoint import Checkpoint
from dsva.runs.checkpoint_format import BEST, PREFIX, folder_name, stored

# What a run writes while it trains and when it is scored; `saved.json` goes last, so that half a move is noticed.
WRITTEN = (RESULTS, TABLES, DECISIONS, PAGE, TENSORBOARD, METRICS, BAD_STEPS, CHECKPOINTS, SAVED)


def note_saved(run: Path, step: int) -> None:
    """Leave word that the newest checkpoint is of `step`; where that finds no room, the older word stays."""
    with suppress(OSError):
        write_atomically(run / SAVED, json.dumps({"step": step}) + "\n")


def saved(run: Path) -> int:
    """Return the step of the newest checkpoint that was noted; 0 where none was, 1 where the note cannot be read."""
    return _last_step(run / SAVED) or int((run / SAVED).is_file())


def gone(run: Path) -> list[str]:
    """Return a sentence if a checkpoint was noted that is newer than all that are there, complete or not."""
    there, noted = max((named.step for named in stored(run / CHECKPOINTS)), default=0), saved(run)
    sentence = f"{run} had saved step {noted}, but {run / CHECKPOINTS} holds nothing newer than step {there}"
    return [sentence] if noted > there else []


def lost(run: Path) -> bool:
    """Tell whether a run without a complete checkpoint has had one."""
    named = any(stored(run / CHECKPOINTS, prefix) for prefix in (PREFIX, BEST))
    begun = [line for line in read_lines(run / STARTS)[-1:] if line.get("step")]
    return bool(saved(run) or named or begun) or (run / RESULTS).is_file()


def how_to_go_on(run: Path, damaged: Sequence[str], spare: Checkpoint | None) -> str:
    """Return the sentence for a run that has lost its checkpoints.

    Args:
        run: its directory.
        damaged: a sentence for each checkpoint that cannot be used.
        spare: a complete checkpoint that is only kept as the best, if there is one.
    """
    step, reasons = max(_last_step(run / METRICS), saved(run)), "; ".join(damaged) or f"{run / CHECKPOINTS} holds none"
    copy = f"cp -r {spare.path} {spare.path.with_name(folder_name(PREFIX, spare.step))}" if spare else ""
    offered = f", or go on from the best one, which is whole, after `{copy}`" if spare else ""
    return (
        f"{run} was at step {step} and has no complete checkpoint left ({reasons}): put one back{offered}, or give `dsva train` "
        "the option --from-scratch, which begins anew and keeps aside what is there"
    )


def set_aside(run: Path) -> Path | None:
    """Move all that the run has written in its training so far into a new folder in it; return that, None if there was nothing."""
    found = [run / name for name in WRITTEN if os.path.lexists(run / name)]
    if not found:
        return None
    taken = [int(path.name.removeprefix(BEFORE)) for path in run.glob(f"{BEFORE}*") if re.fullmatch(BEFORE + "[0-9]{4}", path.name)]
    target = run / f"{BEFORE}{max(taken, default=0) + 1:04d}"
    target.mkdir()
    for path in (*run.glob("*.png"), *found):
        path.rename(target / path.name)
    return target


def _last_step(file: Path) -> int:
    return max((line["step"] for line in read_lines(file) if isinstance(line.get("step"), int)), default=0)
