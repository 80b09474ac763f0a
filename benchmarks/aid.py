"""Zero-shot figures on AID: every class split and seed from random weights, honest and with gamma from a validation run.

Usage: python -m benchmarks.aid SHARDS RUNS [--splits 25_5 20_10 15_15] [--seeds 0 1 2]

Finished runs are not trained again. Prints a markdown table of mean and standard deviation over seeds.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def train(split: str, run: Path, shards: Path, *overrides: str) -> dict[str, Any]:
    if not (run / "results.json").is_file():
        places = [f"data.shards={shards}", f"run.dir={run}"]
        command = [sys.executable, "-m", "launch", "train", f"configs/aid_{split}.yaml", *places, *overrides]
        subprocess.run(command, cwd=ROOT, check=True)
    return dict(json.loads((run / "results.json").read_text()))


def training_seconds(run: Path) -> float:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    steps = [line for line in lines if "images_per_second" in line]
    batch, last = 64, 0
    seconds = 0.0
    for line in steps:
        seconds += (line["step"] - last) * batch / line["images_per_second"]
        last = line["step"]
    return seconds


def figures(results: dict[str, Any], head: str) -> list[float]:
    gzsl = results["heads"][head]["gzsl"]
    return [results["heads"][head]["zsl"], gzsl["seen"], gzsl["unseen"], gzsl["harmonic"], gzsl["ausuc"]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shards", type=Path)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--splits", nargs="+", default=["25_5", "20_10", "15_15"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    given = parser.parse_args()
    shards, runs = given.shards.resolve(), given.runs.resolve()
    rows, seconds = [], []
    for split in given.splits:
        validation = runs / f"{split}-validation"
        train(split, validation, shards, "validation.partition=0")
        found = []
        for seed in given.seeds:
            run = runs / f"{split}-{seed}"
            found.append(train(split, run, shards, f"run.seed={seed}", f"eval.validation_run={validation}"))
            seconds.append(training_seconds(run))
        for head in ("proto", "main"):
            columns = zip(*(figures(results, head) for results in found), strict=True)
            cells = [f"{100 * statistics.mean(c):.1f} ± {100 * statistics.pstdev(c):.1f}" for c in columns]
            rows.append(f"| {split} | {head} | " + " | ".join(cells) + f" | {100 * found[0]['chance']['zsl']:.1f} |")
    print(f"\nseeds {given.seeds}, percent, mean ± standard deviation; training {min(seconds):.0f} to {max(seconds):.0f} s a run\n")
    print("| split | head | ZSL | S | U | H | AUSUC | chance ZSL |\n|:--|:--|--:|--:|--:|--:|--:|--:|")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
