"""Saves checkpoints and is killed before every change of the disk: a program of its own, as a process with threads must not fork.

python -m tests.helpers.killed_save FOLDER    prints a JSON object: by scenario, how many changes the disk saw, before how many
                                              of them a process was killed, and in how many cases the run did not go on as
                                              if nothing had been
"""

import errno
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from dsva.config import Config
from dsva.processes.ranks import Ranks
from dsva.run_directory import CHECKPOINTS
from dsva.runs.checkpoint import MODEL, best, newest
from dsva.runs.checkpoint_match import whose
from dsva.runs.folders import tidy
from dsva.runs.progress import lost, set_aside
from dsva.train.resume import find_start
from dsva.train.saving import Saver
from tests.helpers.runs import tensors

EVENTS = ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "shutil.copyfile")
INPUTS = {"data.shards": "digest"}
Save = tuple[int, float | None]  # a step, and its score


@dataclass(frozen=True)
class Scenario:
    """Saves that went before, the one that is killed, and one that follows; `without` names a call that the system refuses."""

    before: tuple[Save, ...]
    save: Save
    after: Save
    keep: int = 1
    keep_every: int = 0
    without: str = ""


SCENARIOS = {
    "the first save": Scenario((), (1, None), (2, None)),
    "the next one, an old one goes": Scenario(((1, None),), (2, None), (3, None)),
    "every third is kept for good": Scenario(((3, None), (4, None)), (5, None), (6, None), keep=2, keep_every=3),
    "a new best": Scenario(((1, 0.5),), (2, 0.6), (3, None)),
    "not the best": Scenario(((1, 0.5),), (2, 0.4), (3, None)),
    "the same step again, now with its score": Scenario(((1, 0.5), (2, None)), (2, 0.6), (3, None)),
    "the same again, without an exchange of names": Scenario(((1, 0.5), (2, None)), (2, 0.6), (3, None), without="exchange"),
    "a new best, without hard links": Scenario(((1, 0.5),), (2, 0.6), (3, None), without="os.link"),
}


def refuse(*_: object) -> None:
    raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))


@contextmanager
def system(without: str) -> Iterator[None]:
    """Let the system refuse a call."""
    with ExitStack() as stack:
        if without:
            stack.enter_context(patch("dsva.runs.folders._exchange" if without == "exchange" else without, refuse))
        yield


def configuration(run: Path, scenario: Scenario) -> Config:
    settings = {"dir": run, "keep": scenario.keep, "keep_every": scenario.keep_every, "checkpoint_every": 1}
    return Config.model_validate({"run": settings, "train": {"steps": 10}})


def go_on(run: Path, scenario: Scenario, saves: tuple[Save, ...]) -> int:
    """Do as a process that is started does: see where the run stands, and save what is not yet saved; return where it stood."""
    config = configuration(run, scenario)
    found, _ = find_start(config, Ranks(), INPUTS, None)
    saver = Saver(run, Ranks(), config.run)
    for step, score in saves:
        if not found or found.step < step or (found.step == step and found.state.score is None is not score):
            state = whose(config, INPUTS, 1, None).model_copy(update={"step": step, "score": score})
            saver.save(state, [(f"{MODEL}/w", torch.full((50,), float(step))), (f"{MODEL}/b", torch.tensor(float(step)))])
    return found.step if found else 0


def die_before(event: int, folder: Path) -> None:
    """Let this process be killed before its change number `event` of what lies in `folder`."""
    left = event

    def count() -> None:
        nonlocal left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def hook(name: str, arguments: tuple[Any, ...]) -> None:
        reads = name == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR)
        # shutil.rmtree removes by names relative to an open folder.
        if name in EVENTS and not reads and (str(arguments[0]).startswith(str(folder)) or not str(arguments[0]).startswith("/")):
            count()

    fsync = os.fsync

    def counted(number: int) -> None:
        count()
        fsync(number)

    patch("os.fsync", counted).start()
    sys.addaudithook(hook)


def killed(event: int, folder: Path, work: Callable[[], object]) -> bool:
    """Do the work in a process that is killed before its change number `event`; tell whether it came so far."""
    child = os.fork()
    if child == 0:
        die_before(event, folder)
        work()
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, -signal.SIGKILL), code
    return code != 0


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def sound(run: Path, scenario: Scenario) -> bool:
    """Tell whether what a kill has left holds the checkpoint before or the new one, whole, and the best of those."""
    folder = run / CHECKPOINTS
    if scenario.without == "exchange":  # two renames: between them, only the process that goes on can put things right
        tidy(folder)
    found, damaged = newest(folder)
    known = {0: None, **dict(scenario.before)}
    if found and (found.step, found.state.score) == scenario.save:
        known |= dict([scenario.save])
    scores = {step: score for step, score in known.items() if score is not None}
    top, _ = best(folder)
    whole = all(set(tensors(one.path)[f"{MODEL}/w"].tolist()) == {float(one.step)} for one in (found, top) if one)
    wanted = max(scores, key=lambda step: (scores[step], -step), default=0)
    return not damaged and whole and (found.step if found else 0) == max(known) and (top.step if top else 0) == wanted


def sweep(scenario: Scenario, root: Path) -> dict[str, int]:
    """Kill the scenario's save before each change of the disk, go on, and compare with a run that nothing disturbed."""
    run, start, changes, differences = root / "RUN", root / "START", 0, 0
    with system(scenario.without):
        go_on(run, scenario, scenario.before)
        shutil.copytree(run, start) if run.exists() else start.mkdir()
        go_on(run, scenario, (scenario.save, scenario.after))
        undisturbed = content(run)
        while True:
            shutil.rmtree(run)
            shutil.copytree(start, run)
            if not killed(changes, root, lambda: go_on(run, scenario, (scenario.save,))):
                return {"operations": changes, "kills": changes, "differences": differences}
            good = sound(run, scenario)
            go_on(run, scenario, (scenario.save, scenario.after))
            differences += not (good and content(run) == undisturbed)
            changes += 1


def sweep_anew(root: Path) -> dict[str, int]:
    """Kill a find_start anew before each change of the disk: all that was written is there, and nothing begins in silence."""
    run, start, changes, differences = root / "RUN", root / "START", 0, 0
    go_on(run, SCENARIOS["a new best"], ((1, 0.5), (2, 0.6)))
    for name in ("metrics.jsonl", "results.json", "picture.png"):
        (run / name).write_text(name)
    shutil.copytree(run, start)
    files = sorted(content(start).values())
    while True:
        shutil.rmtree(run)
        shutil.copytree(start, run)
        if not killed(changes, root, lambda: set_aside(run)):
            return {"operations": changes, "kills": changes, "differences": differences}
        good = sorted(content(run).values()) == files and lost(run)
        set_aside(run)
        differences += not (good and sorted(content(run).values()) == files and not lost(run))
        changes += 1


def table(root: Path) -> dict[str, Any]:
    """Return operations, kills and differences of every scenario."""
    found = {}
    for number, (name, scenario) in enumerate(SCENARIOS.items()):
        (root / str(number)).mkdir()
        found[name] = sweep(scenario, root / str(number))
    (root / "anew").mkdir()
    return {**found, "find_start anew": sweep_anew(root / "anew")}


if __name__ == "__main__":
    print(json.dumps(table(Path(sys.argv[1]))))
