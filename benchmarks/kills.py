"""kill -9 at random moments of a run, on one process and on several: what is left is compared with an undisturbed run, bit by bit.

    python -m benchmarks.kills FOLDER [--kills 100] [--processes 1,2] [--engines ddp] [--seed 0]

All processes of a start are killed at one random moment: while it starts, in a step, in a save, in the final scoring. The table
counts differences in weights, moments, figures and losses; the exit code is 1 if there is one.
"""

import argparse
import json
import random
import signal
import sys
import time
from pathlib import Path

import torch

from tests.helpers.noise import Noise, noise
from tests.helpers.process_groups import Group, GroupServer
from tests.helpers.runs import column, finished, metrics, results

OVERRIDES = ["train.ema=0.9", "data.min_scale=0.6", "data.batch_size=16", "run.keep=2", "run.checkpoint_every=2"]
STEPS_A_KILL = 8
LONGEST = 1.0  # seconds after its first output that a start may live; most live far less


def command(data: Noise, run: Path, steps: int, engine: str) -> list[str]:
    """Return the arguments of the run."""
    return ["train", str(data.config), f"run.dir={run}", f"train.steps={steps}", f"train.engine={engine}", *OVERRIDES]


def disturbed(server: GroupServer, processes: int, arguments: list[str], run: Path, kills: int, rng: random.Random) -> int:
    """Kill a run so often at random moments, then let it end; return how many kills met it before its end."""
    met = 0
    for _ in range(kills):
        group = server.group(processes, *arguments)
        before, end = len(metrics(run)), time.monotonic() + 60
        if rng.random() < 0.8:  # else while it starts
            while len(metrics(run)) <= before and group.ranks[0].running and time.monotonic() < end:
                time.sleep(0.002)
        group.ranks[0].pause(rng.uniform(0, LONGEST) ** 3 / LONGEST**2)
        met += kill(group)
    server.group(processes, *arguments).succeed()
    return met


def kill(group: Group) -> bool:
    """Kill all processes of a start; return whether one had not ended."""
    running = [rank for rank in group.ranks if rank.running]
    for rank in running:
        rank.kill()
    codes = group.wait()
    assert all(code in (0, -signal.SIGKILL) or len(codes) > 1 for code in codes), [rank.output for rank in group.ranks]
    return bool(running)


def differences(run: Path, whole: Path) -> list[str]:
    """Return the names of what two runs do not have in common."""
    ours, theirs = finished(run), finished(whole)
    found = [name for name in ours.keys() | theirs.keys() if name not in ours or name not in theirs]
    found += [name for name in ours.keys() & theirs.keys() if not torch.equal(ours[name], theirs[name])]
    found += [name for name in ("step", "batch", "loss/total") if column(run, name) != column(whole, name)]
    return found + ["results.json"] * (json.dumps(results(run)) != json.dumps(results(whole)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="new folder for runs")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--processes", default="1,2")
    parser.add_argument("--engines", default="ddp")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True)
    server, data = GroupServer(arguments.folder), noise(arguments.folder / "noise")
    print("| engine | processes | kills | differences | seconds |\n|:--|--:|--:|--:|--:|", flush=True)
    different = False
    for engine in arguments.engines.split(","):
        for processes in map(int, arguments.processes.split(",")):
            steps, begun = STEPS_A_KILL * arguments.kills, time.monotonic()
            runs = [arguments.folder / f"{engine}-{processes}-{kind}" for kind in ("whole", "killed")]
            server.group(processes, *command(data, runs[0], steps, engine)).succeed()
            rng = random.Random(f"{arguments.seed} {engine} {processes}")
            met = disturbed(server, processes, command(data, runs[1], steps, engine), runs[1], arguments.kills, rng)
            found = differences(runs[1], runs[0])
            different |= bool(found)
            print(f"| {engine} | {processes} | {met} | {len(found)} | {time.monotonic() - begun:.0f} |", *found[:5], flush=True)
    server.close()
    sys.exit(different)


if __name__ == "__main__":
    main()
