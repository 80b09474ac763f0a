"""Saves a checkpoint, and is killed at a chosen moment: a program of its own, since a process with threads must not fork.

python killed_save.py CONFIG FOLDER    saves once for every change of the disk that a save makes, is killed before it, checks
                                       that the newest checkpoint is the one before or the new one, and prints their number
"""

import os
import shutil
import signal
import sys
from io import StringIO
from pathlib import Path

from rich.console import Console

from dsva.config import load
from dsva.experiment import Experiment
from dsva.ranks import Ranks
from dsva.train.checkpoint import newest
from dsva.train.phases import Phases
from dsva.train.trainer import Trainer

EVENTS = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "open")


def die_before(event: int, folder: Path) -> None:
    """Let this process be killed before its change number `event` of what lies in `folder`."""
    left = event

    def hook(name: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        # shutil.rmtree removes by names relative to an open folder.
        if name in EVENTS and (str(arguments[0]).startswith(str(folder)) or not str(arguments[0]).startswith("/")):
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def sweep(config: Path, folder: Path) -> int:
    """Return after how many changes of the disk a save was killed."""
    ranks = Ranks()
    experiment = Experiment.open(load(config, [f"run.dir={folder / 'RUN'}", "run.keep=1"]))
    trainer = Trainer(experiment, ranks, Console(file=StringIO()), Phases(ranks.device))
    batches = trainer.batches()
    trainer.step(next(batches))
    batches.close()  # type: ignore[attr-defined]
    trainer.save(1)
    shutil.copytree(folder / "RUN", folder / "BEFORE")
    event, killed, found = 0, True, []
    while killed:
        child = os.fork()
        if child == 0:
            die_before(event, folder)
            trainer.save(2)
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert code in (0, -signal.SIGKILL), code
        checkpoint, damaged = newest(folder / "RUN" / "checkpoints")
        assert checkpoint, f"no checkpoint is left after {event} changes"
        assert not damaged, damaged
        found.append(checkpoint.step)
        trainer.save(2)  # what the crash has left is in nobody's way
        assert [path.name for path in (folder / "RUN" / "checkpoints").iterdir()] == ["step-00000002"]
        shutil.rmtree(folder / "RUN")
        shutil.copytree(folder / "BEFORE", folder / "RUN")
        killed, event = code != 0, event + 1
    assert found == sorted(found)
    assert set(found) == {1, 2}
    return event - 1


if __name__ == "__main__":
    print(sweep(Path(sys.argv[1]), Path(sys.argv[2])))
