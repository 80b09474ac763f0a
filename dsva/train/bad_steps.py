"""Steps whose loss or gradient is not finite: left out within a budget, then the run goes back and passes their batches over.

All ranks see the same gradient, so all decide alike. What bad steps have done to a run's course is part of its checkpoints;
the rest is a function of (seed, step, course), so a run that is continued meets them again as it did before.
"""

import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dsva.config import FaultsConfig
from dsva.files import NoRoomError, append_line
from dsva.run_directory import BAD_STEPS
from dsva.runs.course import Course
from shards.errors import UserError

NAMED = 3  # images in a message; the file names all
log = logging.getLogger(__name__)


class GoBackError(Exception):
    """The budget of bad steps is spent: go on from a checkpoint before the first of them.

    Attributes:
        course: at that moment.
        failed: the last bad step.
    """

    def __init__(self, course: Course, failed: int) -> None:
        super().__init__(f"too many bad steps up to {failed}")
        self.course, self.failed = course, failed


class BadSteps:
    """Counts bad steps and tells of them; every rank has one, rank 0 writes and speaks.

    Attributes:
        course: what bad steps have done so far.
    """

    def __init__(self, config: FaultsConfig, course: Course, run: Path, rank: int) -> None:
        self._config, self.course, self._run, self._rank = config, course, run, rank

    def skip(self, step: int, keys: Sequence[str]) -> None:
        """Count `step`, which was not applied, with the images of its batch.

        Raises:
            GoBackError: the budget is spent.
            UserError: it is spent, and the run has gone back often enough.
        """
        config = self._config
        recent = (*(before for before in self.course.skipped if before > step - config.skip_window), step)
        self.course = replace(self.course, skipped=recent)
        self._tell(step, keys)
        if len(recent) <= config.skip_budget:
            return
        if self.course.rollbacks < config.rollbacks:
            raise GoBackError(self.course, step)
        raise UserError(
            f"the loss or its gradient was not finite in {len(recent)} of the last {config.skip_window} steps, up to "
            f"step {step + 1}, after going back {self.course.rollbacks} times: lower optimizer.lr and optimizer.backbone_lr, raise "
            f"optimizer.warmup_steps, or look at the images that {self._run / BAD_STEPS} names"
        )

    def _tell(self, step: int, keys: Sequence[str]) -> None:
        if self._rank:
            return
        more = f" and {len(keys) - NAMED} more" if len(keys) > NAMED else ""
        log.warning(
            f"the loss or its gradient is not finite at step {step + 1}, which is left out "
            f"({len(self.course.skipped)} of at most {self._config.skip_budget} within {self._config.skip_window} steps); "
            f"its images: {', '.join(keys[:NAMED])}{more}, all in {self._run / BAD_STEPS}"
        )
        note(self._run, step=step + 1, shift=self.course.shift, images=list(keys))


def note(run: Path, **facts: Any) -> None:
    """Add a line to the record of bad steps; where there is no room for it, a warning is all that is left of it."""
    try:
        append_line(run / BAD_STEPS, {"time": datetime.now(UTC).isoformat(timespec="seconds"), **facts})
    except NoRoomError as error:
        log.warning("%s, so this is not on record: %s", error.reason, json.dumps(facts))
