"""The AID sweep on a real Slurm, with faults injected at random until it has finished, against the undisturbed sweep.

    python -m benchmarks.faults SHARDS FOLDER [--seed 0] [--pause 8] [section.key=value ...]

Starts the development cluster, queues the 12 cells of configs/sweeps/aid.yaml (short, a tiny model), and lets every few
seconds something happen to one that runs: its process is killed, its node crashes, stands still or loses its agent, the
job is requeued, preempted, warned, cut to a minute, or Slurm's controller is killed. Nobody helps the sweep. Then the
table, every line of metrics and every weight are compared with those of a sweep that ran in one process.
"""

import argparse
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import yaml
from safetensors.torch import load_file

from benchmarks.dev_cluster import DEV, ROOT, dev_cluster, dsva, say
from launch.jobs.folder import JobFolder
from launch.sweep.keeper import keepers
from launch.sweep.plan import Manifest, read_sweep
from launch.sweep.state import State, folder_of, states
from shards.errors import UserError

SMALL = ["model.width=16", "model.layers=1", "model.heads=2", "model.mlp=16", "model.patch=16", "data.image_size=32"]
SMALL += ["data.resize=32", "data.batch_size=8", "data.workers=1", "data.prefetch=1", "train.steps=3000"]
SMALL += ["run.log_every=10", "run.checkpoint_every=50"]
AWAY = {"crash": 20, "agent": 20, "freeze": 22, "controller": 5}  # seconds until a part of the cluster is back


@dataclass
class Fault:
    """What was done to a cell, when, and how many starts it had had."""

    kind: str
    cell: str
    moment: float
    starts: int


@dataclass
class Saboteur:
    """Does something to a running cell, and mends the cluster, never the sweep."""

    chance: random.Random
    folder: Path
    done: list[Fault] = field(default_factory=list)
    repairs: list[tuple[float, tuple[object, ...]]] = field(default_factory=list)

    def mend(self, everything: bool = False) -> None:
        """Bring back what has been away for long enough."""
        due = [repair for repair in self.repairs if everything or repair[0] <= time.monotonic()]
        for repair in due:
            self.repairs.remove(repair)
            say(*repair[1])
        # Slurm drains a node that comes back with remains of a job; an administrator looks, and puts it to work again.
        for node in said("sinfo", "--noheader", "--Node", "--partition=main", "--states=drain", "--format=%N").split():
            said("scontrol", "update", f"NodeName={node}", "State=RESUME")

    def strike(self, state: State) -> None:
        """Choose a fault for a running cell, and let it happen."""
        job = str((folder_of(self.folder, state.cell).read("submitted.json") or {})["job"])
        node = said("squeue", "--noheader", f"--jobs={job}", "--format=%N").strip()
        kinds = ["kill", "requeue"]
        away = {command[-1] for _, command in self.repairs}
        if node and node not in away:
            kinds += ["crash", "agent", "freeze", "preempt", "warning", "minute"]
        if "start" not in away:
            kinds.append("controller")
        kind = self.chance.choice(kinds)
        starts = len(list(folder_of(self.folder, state.cell).path.glob("generation-*.json")))
        if self._act(kind, job, node):
            self.done.append(Fault(kind, state.cell.name, time.time(), starts))
            print(f"{time.strftime('%X')} {kind:10} {state.cell.name} at step {state.step} on {node}", flush=True)

    def _act(self, kind: str, job: str, node: str) -> bool:
        commands: dict[str, tuple[object, ...]] = {
            "requeue": ("scontrol", "requeue", job),
            "warning": ("scancel", "--signal=USR2", job),
            "minute": ("scontrol", "update", f"JobId={job}", "TimeLimit=1"),
            "crash": (DEV / "node", "crash", node),
            "agent": (DEV / "node", "agent", node),
            "freeze": (DEV / "node", "freeze", node),
            "preempt": (
                "sbatch",
                "--partition=high",
                f"--nodelist={node}",
                "--exclusive",
                "--output=/dev/null",
                "--wrap",
                "sleep 2",
            ),
            "controller": (DEV / "controller", "crash"),
        }
        if kind == "kill":
            return kill_process(job)
        if not succeeds(*commands[kind]):  # the job has ended in between
            return False
        if kind in AWAY:
            back = time.monotonic() + AWAY[kind]
            verb = "thaw" if kind == "freeze" else "start"
            self.repairs.append((back, (DEV / "controller", "start") if kind == "controller" else (DEV / "node", verb, node)))
        return True


def said(*command: object) -> str:
    """Return what a command printed, nothing where Slurm's controller is away or the job has gone."""
    try:
        return subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ""


def succeeds(*command: object) -> bool:
    """Run a command; say whether it succeeded."""
    try:
        return subprocess.run([str(part) for part in command], capture_output=True, timeout=20, check=False).returncode == 0
    except subprocess.TimeoutExpired:  # Slurm is about to change the job, and asks to be asked again
        return False


def kill_process(job: str) -> bool:
    """Kill the process of an array's task, wherever it is in its work; False if it has none at this moment."""
    array, task = job.split("_")
    wanted = {f"SLURM_ARRAY_JOB_ID={array}".encode(), f"SLURM_ARRAY_TASK_ID={task}".encode(), b"SLURM_STEP_ID=0"}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if wanted <= set((path / "environ").read_bytes().split(b"\0")):
                os.kill(int(path.name), signal.SIGKILL)
                return True
        except OSError:
            continue
    return False


def disturb(folder: Path, chance: random.Random, pause: float) -> list[Fault]:
    """Inject faults until every cell has ended and nothing waits to look after it."""
    saboteur, manifest = Saboteur(chance, folder), Manifest.read(folder)
    following = time.monotonic()
    while True:
        time.sleep(0.5)
        saboteur.mend()
        try:
            found, waiting = states(folder, manifest), keepers(folder)
        except UserError:  # Slurm's controller is away
            continue
        running = [state for state in found if state.name == "RUNNING"]
        if not running and not waiting and all(state.name in ("COMPLETE", "FAILED") for state in found):
            saboteur.mend(everything=True)
            return saboteur.done
        if (
            running
            and time.monotonic() > following
            and not any(command[0] == DEV / "controller" for _, command in saboteur.repairs)
        ):
            saboteur.strike(chance.choice(running))
            following = time.monotonic() + chance.expovariate(1 / pause)


def differences(one: Path, other: Path) -> list[str]:
    """Say what differs between two runs: weights of the last checkpoint, lines of metrics."""
    said = []
    newest = [max((run / "checkpoints").glob("step-*")) for run in (one, other)]
    files = [sorted(path.glob("*.safetensors")) for path in newest]
    tensors = [{name: tensor for file in found for name, tensor in load_file(file).items()} for found in files]
    if tensors[0].keys() != tensors[1].keys() or not all(tensors[0][name].equal(tensors[1][name]) for name in tensors[0]):
        said.append("weights")
    lines = [[json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()] for run in (one, other)]
    kept = [[(line["step"], line["loss/total"], line["batch"]) for line in found] for found in lines]
    # A run that is told to stop logs the step it stops at, too; no other line is more, less, or twice there.
    regular = {step for step, *_ in kept[1]}
    stops = [json.loads(line)["step"] for line in (one / "starts.jsonl").read_text().splitlines()]
    more = [step for step, *_ in kept[0] if step not in regular and step not in stops]
    return said + ["metrics"] * bool(more or [line for line in kept[0] if line[0] in regular] != kept[1])


def again(folder: Path, fault: Fault) -> float | None:
    """Return the seconds from a fault to the cell's next start; None where it had none."""
    job = JobFolder(folder / "cells" / fault.cell)
    following = job.read(f"generation-{fault.starts + 1:06d}.json")
    return max(0.0, datetime.fromisoformat(following["time"]).timestamp() - fault.moment) if following else None


def report(folder: Path, faults: list[Fault]) -> None:
    print("\n| fault | times | cells that had to start again | seconds until then, median |\n|:--|--:|--:|--:|")
    for kind, times in sorted(Counter(fault.kind for fault in faults).items()):
        waits = [wait for fault in faults if fault.kind == kind and (wait := again(folder, fault)) is not None]
        print(f"| {kind} | {times} | {len(waits)} | {statistics.median(waits) if waits else 0:.0f} |")


def sweep_file(folder: Path) -> Path:
    """Write the AID sweep with one cell a node, and patience: here a cell may crash often before its next checkpoint."""
    sweep = read_sweep(ROOT / "configs" / "sweeps" / "aid.yaml")
    cluster = sweep.cluster.model_copy(update={"cpus_per_task": 4, "signal_seconds": 10, "time": "60", "max_crashes": 10})
    file = folder / "sweep.yaml"
    file.write_text(yaml.safe_dump(sweep.model_copy(update={"cluster": cluster}).model_dump(mode="json")))
    return file


def timed(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shards", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pause", type=float, default=8.0, help="mean seconds between faults")
    parser.add_argument("overrides", nargs="*")
    given = parser.parse_intermixed_args()
    disturbed, undisturbed = given.folder / "disturbed", given.folder / "undisturbed"
    given.folder.mkdir(parents=True)
    file, settings = sweep_file(given.folder), [f"data.shards={given.shards}", *SMALL, *given.overrides]
    faults: list[Fault] = []
    with dev_cluster():
        dsva("sweep", "start", file, disturbed, *settings, "--partition=low")
        seconds = timed(lambda: faults.extend(disturb(disturbed, random.Random(given.seed), given.pause)))
        print(dsva("sweep", "status", disturbed, "--all"))
    calm = timed(lambda: dsva("sweep", "start", file, undisturbed, *settings, "--cluster=debug"))
    report(disturbed, faults)
    cells = Manifest.read(disturbed).cells
    starts = sum(len((disturbed / "cells" / cell.name / "starts.jsonl").read_text().splitlines()) for cell in cells)
    print(
        f"\n{len(faults)} faults in {seconds:.0f} s, {starts} starts of {len(cells)} cells; undisturbed, one process: {calm:.0f} s"
    )
    wrong = {
        cell.name: found
        for cell in cells
        if (found := differences(disturbed / "cells" / cell.name, undisturbed / "cells" / cell.name))
    }
    tables = [dsva("sweep", "table", folder, "--as=markdown") for folder in (disturbed, undisturbed)]
    print(f"{tables[0]}\nthe same table undisturbed: {tables[0] == tables[1]}; cells that differ in a bit: {wrong or 'none'}")
    sys.exit(0 if tables[0] == tables[1] and not wrong else 1)


if __name__ == "__main__":
    main()
