"""Something happens to the checkpoints of a small run: every command that reads them uses what the run wrote, or says why not.

    python -m benchmarks.checkpoint_fuzz FOLDER [--changes 500] [--first 0]

Trains a run on pictures of noise. For each change (see tests/helpers/checkpoint_changes.py) every command runs on a changed copy of
it, in a process of its own. Counted as faults: a traceback, an exit code that is neither 0 nor 2, a command that hangs, and
weights that are not those of the run's newest checkpoint without a warning.
"""

import argparse
import json
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from shards.files import file_sha256
from tests.helpers.checkpoint_changes import change
from tests.helpers.fork_server import ForkServer
from tests.helpers.noise import Noise, noise

STEPS = 6
SETTINGS = [f"train.steps={STEPS}", "train.ema=0.9", "run.checkpoint_every=2", "run.keep=9", "data.workers=1"]
SETTINGS += ["validation.partition=0", "validation.every=2"]


def commands(run: Path, data: Noise) -> Iterator[tuple[list[str], Path, str]]:
    """Yield what is run, the file that then tells the weights, and the key of that; the last one changes the run."""
    image = str(next((data.root / "DATA" / "class_0").iterdir()))
    here = run.parent
    yield ["checkpoint", "ls", str(run)], here / "none", ""
    yield ["checkpoint", "verify", str(run)], here / "none", ""
    yield ["checkpoint", "export", str(run), str(here / "model")], here / "model" / "config.json", "source"
    yield ["predict", str(run), image, "--out", str(here / "made.json")], here / "made.json", ""
    yield ["explain", str(run), image, "--out", str(here / "why")], here / "why" / "explanations.json", ""
    yield ["report", str(run), "--images", "2"], run / "results.json", "provenance"
    yield ["eval", str(run)], run / "results.json", "provenance"
    yield ["train", str(data.config), f"run.dir={run}", *SETTINGS], run / "results.json", "provenance"


def fault(code: int, output: str, file: Path, key: str, known: dict[str, int]) -> str:
    """Return what is wrong with what a command did; empty if nothing."""
    if "Traceback" in output:
        return "traceback"
    if code not in (0, 2):
        return f"exit code {code}"
    if code == 2 and "error: " not in output:
        return "refused without a sentence"
    if code or not file.is_file():
        return ""
    told = json.loads(file.read_text())
    step = known.get((told[key] if key else told)["checkpoint_sha256"])
    if step is None:
        return "weights that the run has not written"
    return "" if step == STEPS or "warning: " in output else f"step {step} in silence"


def main() -> None:
    """Train, change, look."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--changes", type=int, default=500)
    parser.add_argument("--first", type=int, default=0)
    given = parser.parse_args()
    given.folder.mkdir(parents=True)
    data, outputs = noise(given.folder / "noise"), given.folder / "outputs"
    outputs.mkdir()
    server, whole = ForkServer(outputs), given.folder / "whole"
    code, output = server.run("train", data.config, f"run.dir={whole}", *SETTINGS)
    assert code == 0, output
    known = {file_sha256(path / "COMPLETE"): int(path.name[-8:]) for path in (whole / "checkpoints").iterdir()}
    done, codes, faults, started = 0, Counter[str](), [], time.monotonic()
    for seed in range(given.first, given.first + given.changes):
        run = given.folder / "changed" / "RUN"
        shutil.copytree(whole, run)
        what = change(seed, run / "checkpoints")
        for command, file, key in commands(run, data):
            code, output = server.run(*command)
            codes[f"{command[0]} {command[1] if command[0] == 'checkpoint' else ''}".strip() + f": {code}"] += 1
            if said := fault(code, output, file, key, known):
                faults.append((seed, what, command[:2], said, output[-2000:]))
                print(f"change {seed}, {what}: {' '.join(command[:2])}: {said}\n{output[-2000:]}", flush=True)
        shutil.rmtree(run.parent)
        done += 1
        if done % 25 == 0:
            print(f"{done} changes", flush=True)
    server.close()
    print(f"{done} changes, {sum(codes.values())} commands, {len(faults)} faults, {time.monotonic() - started:.0f} s")
    for name, number in sorted(codes.items()):
        print(f"  {name}: {number}")


if __name__ == "__main__":
    main()
