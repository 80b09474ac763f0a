"""Which checkpoints stay: the newest, every nth, and the best, which follows from the scores in those that lie there."""

import logging
from pathlib import Path

from dsva.config import RunConfig
from dsva.files import on_full_disk
from dsva.provenance.starts import kept_for_good
from dsva.runs.checkpoint import best
from dsva.runs.checkpoint_format import BEST, COMPLETE, PREFIX, DamagedError, described, folder_name, stored
from dsva.runs.folders import begin, beside, discard, link, publish, remove

UNKNOWN = float("inf")  # the score of one that cannot be read, and might have been any
log = logging.getLogger(__name__)


class Keeper:
    """Looks after the folder of a run's checkpoints; rank 0 has one."""

    def __init__(self, folder: Path, config: RunConfig) -> None:
        self._folder, self._config = folder, config

    def best_there(self) -> tuple[float, int]:
        """Return the best score of the checkpoints that lie there, and its step, set apart if a crash came before that."""
        found, damaged = best(self._folder)
        for sentence in damaged:
            log.warning(sentence)
        if found is None or found.state.score is None:
            return float("-inf"), 0
        if found.path.name.startswith(BEST) or self._set_apart(found.step):
            self._drop_worse(found.state.score, found.step)
        return found.state.score, found.step

    def keep(self, best: tuple[float, int], newest: int, sound: int) -> None:
        """Set the best checkpoint apart, and remove those that need not be kept.

        Args:
            best: its score, minus infinity if there is none, and its step.
            newest: the step that was just saved; what says to be newer is none of this run's, or damaged, and is left alone.
            sound: the last step that the run could go back to.
        """
        score, step = best
        apart = score == float("-inf") or _score(self._folder / folder_name(BEST, step)) == score
        if not apart and (apart := self._set_apart(step)):
            self._drop_worse(score, step)
        keep, every = self._config.keep, self._config.checkpoint_every
        there = [named for named in stored(self._folder) if named.step <= newest]
        # The newest that the run would go back to after bad steps is kept besides.
        target = next((old.step for old in there if old.step <= sound and old.step % every == 0), None)
        for old in there[keep:]:
            only = old.step == step and not apart
            if old.step != target and not only and not self._for_good(old.step):
                log.debug("%s is not kept", old.path)
                discard(old.path)

    def _for_good(self, step: int) -> bool:
        # A later start that no longer says so takes back nothing.
        every = self._config.keep_every
        return bool(every and step % every == 0) or kept_for_good(self._folder.parent, step)

    def _set_apart(self, step: int) -> bool:
        """Give the checkpoint of `step` a second name, under which it stays; tell whether that could be done."""
        source, target = (self._folder / folder_name(prefix, step) for prefix in (PREFIX, BEST))
        try:
            failure = on_full_disk(lambda: _link(source, target))
        except DamagedError as error:
            failure = str(error)
        if failure:
            remove(beside(target))
            log.warning(
                "the best checkpoint, %s, could not be kept as %s, too (%s): look at the disk", source, target.name, failure
            )
        return not failure

    def _drop_worse(self, score: float, step: int) -> None:
        for other in stored(self._folder, BEST):
            if other.step != step and _score(other.path) <= score:
                discard(other.path)


def _link(source: Path, target: Path) -> None:
    complete, _ = described(source)
    begin(target)
    link((*complete.files, COMPLETE), source, beside(target))
    publish(target)


def _score(path: Path) -> float:
    try:
        score = described(path)[1].score
    except DamagedError:
        return UNKNOWN
    return UNKNOWN if score is None else score
