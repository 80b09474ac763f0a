"""What a Slurm cluster's user waits for: the first step, the way back after a signal, a sweep of a thousand cells.

    python -m benchmarks.slurm_times SHARDS FOLDER [--rounds 3]

Starts the development cluster and runs tiny models on it. Prints markdown tables.
"""

import argparse
import json
import shutil
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import yaml

from benchmarks.dev_cluster import ROOT, dev_cluster, dsva, say
from benchmarks.faults import SMALL
from launch.jobs.folder import JobFolder
from launch.sweep.plan import Manifest, read_sweep
from launch.sweep.state import folder_of

CONFIG = ROOT / "configs" / "aid_25_5.yaml"
ASKED = ["--cluster=slurm", "--cpus-per-task=1", "--time=30"]


def until(condition: Callable[[], object]) -> float:
    """Wait for a condition; return the time at which it held."""
    while not condition():
        time.sleep(0.02)
    return time.monotonic()


def step(run: Path) -> int:
    return int(JobFolder(run).metrics().get("step", 0))


def one_job(run: Path, shards: Path, tasks: int) -> dict[str, float]:
    """Return seconds of the stages of one job on two nodes, or on one."""
    shape = [f"--nodes={min(tasks, 2)}", f"--tasks-per-node={-(-tasks // 2)}"]
    settings = [f"data.shards={shards}", f"run.dir={run}", *SMALL, "run.log_every=1", "train.steps=100000"]
    began = time.monotonic()
    job = dsva("submit", CONFIG, *settings, *ASKED, *shape).split("job ")[1].split(";")[0]
    queued = time.monotonic()
    running = until(lambda: say("squeue", "--noheader", f"--jobs={job}", "--format=%T").strip() == "RUNNING")
    first = until(lambda: step(run) > 0)
    until(lambda: step(run) > 5)
    say("scancel", "--signal=USR2", job)
    signalled = time.monotonic()
    saved = until(lambda: JobFolder(run).step() > 0)
    reached = JobFolder(run).step()
    starts = run / "starts.jsonl"
    again = until(lambda: len(starts.read_text().splitlines()) == 2)
    stepping = until(lambda: step(run) > reached)
    say("scancel", job)
    until(lambda: not say("squeue", "--noheader").strip())
    return {
        "`dsva submit`, checks included": queued - began,
        "queued to running": running - queued,
        "running to first step": first - running,
        "signal to saved": saved - signalled,
        "signal to requeued and started": again - signalled,
        "signal to the next step": stepping - signalled,
    }


def thousand(folder: Path, shards: Path) -> list[tuple[str, str]]:
    """Queue 1,000 cells on a partition that starts none; return what it took and how it looks."""
    sweep = read_sweep(ROOT / "configs" / "sweeps" / "aid.yaml")
    splits = {name: sweep.splits[name] for name in ("25_5", "20_10")}
    file = folder / "thousand.yaml"
    file.write_text(yaml.safe_dump(sweep.model_copy(update={"splits": splits, "seeds": tuple(range(250))}).model_dump(mode="json")))
    say("scontrol", "update", "PartitionName=main", "State=DOWN")
    began = time.monotonic()
    dsva("sweep", "start", file, folder / "thousand", f"data.shards={shards}", *SMALL)
    started = time.monotonic() - began
    lines = say("squeue", "--noheader", "--format=%i").split()
    cells = Manifest.read(folder / "thousand").cells
    metrics = "".join(json.dumps({"step": n, "images_per_second": 99.5, "loss/total": 1.25}) + "\n" for n in range(10, 3001, 10))
    for cell in cells[:600]:
        job = folder_of(folder / "thousand", cell)
        job.write("heartbeat.json", generation=1, beat=9, state="ended", start="1-0", host="node1", pid=1)
        job.write("done.json", generation=1, start="1-0", scores={"proto": [0.5, 0.25], "main": [0.5, 0.25]})
        (job.run / "metrics.jsonl").write_text(metrics)
    looks = []
    for _ in range(5):
        began = time.monotonic()
        shown = dsva("sweep", "status", folder / "thousand")
        looks.append(time.monotonic() - began)
    say("scancel", f"--user={Path.home().owner()}")
    return [
        ("`dsva sweep start`, s", f"{started:.1f}"),
        ("lines that `squeue` shows", f"{len(lines)}: `{lines[0]}`"),
        ("`dsva sweep status`, s, median of 5", f"{statistics.median(looks):.2f}"),
        ("what it says first", f"`{shown.splitlines()[0].split(': ', 1)[1]}`"),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shards", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    given.folder.mkdir(parents=True)
    shards = given.shards.absolute()
    with dev_cluster():
        rounds = {
            tasks: [one_job(given.folder / f"{tasks}-{number}", shards, tasks) for number in range(given.rounds)]
            for tasks in (1, 4)
        }
        rows = thousand(given.folder, shards)
    print("| seconds, median | 1 process | 2 nodes x 2 processes |\n|:--|--:|--:|")
    for name in rounds[1][0]:
        medians = [statistics.median(found[name] for found in rounds[tasks]) for tasks in (1, 4)]
        print(f"| {name} | {medians[0]:.1f} | {medians[1]:.1f} |")
    print("\n| 1,000 cells | |\n|:--|:--|")
    for name, value in rows:
        print(f"| {name} | {value} |")
    shutil.rmtree(given.folder)


if __name__ == "__main__":
    main()
